/** A reading of the chip under load, `t_s` seconds after the load began. */
export interface HeatPoint {
  t_s: number;
  temperature_c: number;
}

/** Where a temperature would end, as far as a short time tells; degrees Celsius. */
export interface Projection {
  about_c: number;
  low_c: number;
  high_c: number;
}

/** The chip itself warms within seconds; what follows is the board, and only that says where it ends. */
const FIRST_RISE_S = 20;
/** After the first rise. Less tells nothing about where the temperature goes. */
const LEAST_SECONDS = 15;
const LEAST_POINTS = 8;

/**
 * Seconds in which a board comes within 1/e of where it ends up: 60 with a fan; 180 for a Raspberry Pi 4 without a
 * heat sink, which reached 80 °C after 177 s of full load (Gareth Halfacree, "Thermal testing Raspberry Pi 4", The
 * MagPi 88), by a model of one body. Heavier ones end later than a minute can show.
 */
const TIME_CONSTANTS_S = { least: 20, most: 240, steps: 24 };
/** The sensors of Raspberry Pis have steps of 0.5 °C. */
const LEAST_VARIANCE = 0.03;
/** How much worse than the best one a fit may be, in variances of a reading: about two standard deviations. */
const AS_GOOD = 4;
/** A board is not one body: a slow tail, or a fan that changes its speed, is outside of every fit. */
const MARGIN_C = 3;
/** So many of the last readings say how warm it is already. */
const LAST = 5;

/**
 * Where the temperature would end under the load that these readings were taken under: a + b·(1 − e^(−t/τ)), fitted
 * by least squares to what follows the first rise, for every τ that is possible. All fits that are about as good as
 * the best one make the range. A board that cools down while it is measured is taken to stay as it is.
 * @returns null where there are too few readings.
 */
export function projectTemperature(all: readonly HeatPoint[]): Projection | null {
  const points = all.filter(({ t_s: t }) => t >= FIRST_RISE_S);
  const span = (points.at(-1)?.t_s ?? 0) - (points[0]?.t_s ?? 0);
  if (points.length < LEAST_POINTS || span < LEAST_SECONDS) return null;
  const { least, most, steps } = TIME_CONSTANTS_S;
  const fits = Array.from({ length: steps + 1 }, (_, step) =>
    fit(points, least * (most / least) ** (step / steps)),
  );
  const best = fits.reduce((found, next) => (next.squares < found.squares ? next : found));
  const variance = Math.max(LEAST_VARIANCE, best.squares / (points.length - 3));
  const ends = fits
    .filter(({ squares }) => squares <= best.squares + AS_GOOD * variance)
    .map(({ end }) => end);
  const last = points.slice(-LAST).map(({ temperature_c: c }) => c);
  const reached = last.reduce((sum, c) => sum + c, 0) / last.length;
  return {
    about_c: best.end,
    // It is as warm as this already.
    low_c: Math.min(best.end, Math.max(reached, Math.min(...ends) - MARGIN_C)),
    high_c: Math.max(...ends) + MARGIN_C,
  };
}

/** The best line for one time constant: where it ends, and the sum of the squares of what it misses. */
function fit(points: readonly HeatPoint[], timeConstant: number): { end: number; squares: number } {
  const rows = points.map(({ t_s: t, temperature_c: y }) => ({ x: 1 - Math.exp(-t / timeConstant), y }));
  const mean = (key: 'x' | 'y') => rows.reduce((sum, row) => sum + row[key], 0) / rows.length;
  const [meanX, meanY] = [mean('x'), mean('y')];
  const sum = (of: (row: { x: number; y: number }) => number) =>
    rows.reduce((total, row) => total + of(row), 0);
  const slope = sum(({ x, y }) => (x - meanX) * (y - meanY)) / sum(({ x }) => (x - meanX) ** 2);
  const warming = Math.max(0, slope);
  return {
    end: meanY + warming * (1 - meanX),
    squares: sum(({ x, y }) => (y - meanY - warming * (x - meanX)) ** 2),
  };
}

/**
 * The temperature under another load of the same processor: above the idle board in proportion to the CPU time used.
 * @param idleC before any load
 * @param loadedC where it would end under `loadedCores` busy cores
 */
export function scaleTemperature(idleC: number, loadedC: number, loadedCores: number, cores: number): number {
  return idleC + Math.max(0, loadedC - idleC) * (cores / loadedCores);
}
