/** A reading of the chip under load, `t_s` seconds after the load began. */
export interface HeatPoint {
  t_s: number;
  temperature_c: number;
}

/**
 * Seconds in which a board comes within 1/e of where it ends up: that of a Raspberry Pi 4 without a heat sink, which
 * reached 80 °C after 177 s of full load (Gareth Halfacree, "Thermal testing Raspberry Pi 4", The MagPi 88), by a
 * model of one body. A board with a fan is faster; for it the projection comes out too high, which is the safe side.
 */
const TIME_CONSTANT_S = 180;
/** Less tells nothing about where the temperature goes. */
const LEAST_SECONDS = 15;
const LEAST_POINTS = 8;

/**
 * Where the temperature would end under the load that these readings were taken under: a + b·(1 − e^(−t/τ)), fitted
 * by least squares. `a` takes the first jump of the chip itself, the rest is the slow warming of the board; a
 * board that cools down while it is measured is taken to stay as it is.
 * @returns degrees Celsius; null where there are too few readings.
 */
export function projectTemperature(points: readonly HeatPoint[]): number | null {
  const span = (points.at(-1)?.t_s ?? 0) - (points[0]?.t_s ?? 0);
  if (points.length < LEAST_POINTS || span < LEAST_SECONDS) return null;
  const rows = points.map(({ t_s: t, temperature_c: y }) => ({ x: 1 - Math.exp(-t / TIME_CONSTANT_S), y }));
  const mean = (key: 'x' | 'y') => rows.reduce((sum, row) => sum + row[key], 0) / rows.length;
  const [meanX, meanY] = [mean('x'), mean('y')];
  const sum = (of: (row: { x: number; y: number }) => number) => rows.reduce((total, row) => total + of(row), 0);
  const slope = sum(({ x, y }) => (x - meanX) * (y - meanY)) / sum(({ x }) => (x - meanX) ** 2);
  const warming = Math.max(0, slope);
  return meanY - warming * meanX + warming;
}

/**
 * The temperature under another load of the same processor: above the idle board in proportion to the CPU time used.
 * @param idleC before any load
 * @param loadedC where it would end under `loadedCores` busy cores
 */
export function scaleTemperature(idleC: number, loadedC: number, loadedCores: number, cores: number): number {
  return idleC + Math.max(0, loadedC - idleC) * (cores / loadedCores);
}
