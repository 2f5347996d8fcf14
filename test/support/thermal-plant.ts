import type { FirmwareFlags } from '../../src/telemetry/thermal-flags.js';
import {
  startThermal,
  stepThermal,
  type ThermalDecision,
  type ThermalSettings,
} from '../../src/telemetry/thermal.js';
import { createRandom } from './random.js';

/*
 * A board as a body of one temperature: C dT/dt = P − (T − T_ambient) / R, with the power between idle and full load
 * in proportion to how long of each second inference keeps all cores busy. And the governor in closed loop with it.
 */

export interface Plant {
  /** °C per watt, chip to air. */
  resistance: number;
  /** Seconds, resistance times heat capacity. */
  timeConstant: number;
  idleWatts: number;
  fullWatts: number;
}

/**
 * Raspberry Pi 4 without a heat sink.
 * - Power: 2.1 W idle and 6.41 W under stress-ng and glxgears with the firmware of late 2019 (Gareth Halfacree,
 *   "Thermal testing Raspberry Pi 4", The MagPi 88 and raspberrypi.com, 2019; the two figures as repeated by
 *   zeusbtc.com, "Raspberry Pi 4 firmware update").
 * - Resistance: with the firmware of its first weeks an idle board was 33.7 °C above the room (Martin Rowan, "Raspberry
 *   Pi 4 – Power & Temperature at Idle", 2019: 11.6 °C, or 53 %, above a 3 B+). Halfacree counts "over half a watt"
 *   more for that firmware, which makes 12 °C/W.
 * - Time constant: assumed. First-order from idle at 23 °C it takes 180 s to 80 °C at full load, a few minutes as
 *   published tests have it; but a chip jumps by some 10 °C at once and then follows its board, so real ones are both
 *   faster and slower.
 */
export const bareRaspberryPi4: Plant = {
  resistance: 12,
  timeConstant: 180,
  idleWatts: 2.1,
  fullWatts: 6.41,
};

/**
 * Raspberry Pi 5 with the Active Cooler.
 * - Power: 3.3 W idle and 9.8 W under stress with 4 GB; 2.4 and 8.9 W with 2 GB (Jeff Geerling, as reported by
 *   avalanchenoticias.com.br, "O novo Raspberry Pi 5 com 2 GB de RAM", 2024). An early meter showed 1.8 and 7.9 W and
 *   was doubted (geerlingguy/sbc-reviews, issue 21).
 * - Resistance and time constant: in a room of 20 °C 40.0 °C idle; 55.4, 58.2, 59.8 °C after 1, 2, 3 minutes of
 *   `stress -c 4` (j-baba, a comparison of CPU temperatures, qiita.com/j-baba/items/08475f1d066d23e188eb). With 9.8 W
 *   that fits 4.1 °C/W and 45 s. Idle, with the fan off, it is more (6 °C/W), which is left out.
 */
export const cooledRaspberryPi5: Plant = {
  resistance: 4.1,
  timeConstant: 45,
  idleWatts: 3.3,
  fullWatts: 9.8,
};

/** What the firmware makes of the temperature: how fast the cores may be, and what it says of it. */
export interface Firmware {
  /** Share of the full clock. */
  clock: number;
  flags: FirmwareFlags | null;
}

/**
 * From 80 °C on the clock goes down in steps (1500, 1000, 750, 600 MHz: Roy Longbottom, "Raspberry Pi 4B Stress
 * Tests", 2019), here in a line to 0.4 at 85 °C, and the bit of the soft limit is set; the two others follow at 85 °C
 * (alwye/get_throttled, issue 4).
 */
export function raspberryPiFirmware(celsius: number): Firmware {
  const isSlow = celsius >= 85;
  return {
    clock: 1 - 0.6 * Math.min(1, Math.max(0, (celsius - 80) / 5)),
    flags: {
      underVoltage: false,
      frequencyCapped: isSlow,
      throttled: isSlow,
      softTemperatureLimit: celsius >= 80,
    },
  };
}

export interface Scenario {
  plant: Plant;
  settings: ThermalSettings;
  requestedHz: number;
  /** Seconds of all cores that one inference takes. */
  inferenceSeconds: number;
  /** Where that changes with the network. */
  inferenceSecondsAt?: (seconds: number) => number;
  hours: number;
  ambientC: (seconds: number) => number;
  /** What the sensor says of a temperature; the temperature itself by default. */
  sensor?: (celsius: number, seconds: number, random: () => number) => number | null;
  /** What the firmware does at this temperature; by default nothing slows the cores down, and there are no flags. */
  firmware?: (celsius: number, seconds: number) => Firmware;
  /** Other moments are taken out of the figures by giving them no segment. */
  segment?: (seconds: number) => string | null;
  /** Whether a turn at this time counts; those of the hour after a change of the ambient do not. */
  steady?: (seconds: number) => boolean;
  seed?: number;
  /** °C that are not reached, where that is more than the hard limit; docs/heat.md says why. */
  boundC?: number;
}

export interface Figures {
  /** Of the temperature itself, once `settleSeconds` are over. */
  maxC: number;
  segments: Map<string, { meanHz: number; bestHz: number; meanC: number }>;
  /** How often the rate changes direction in any 60 minutes, at the most, in steady state. */
  turnsPerHour: number;
  stepsPerHour: number;
  /** Share of the time in which the rate was lowered. */
  throttledShare: number;
  reasons: Set<string>;
}

/** Cold start: the temperature of these first minutes does not count. */
export const SETTLE_SECONDS = 600;

export const defaults: ThermalSettings = { softLimitC: 75, hardLimitC: 82, minRateHz: 0.1 };

/** A reading with an error spread evenly over ±`celsius`, in the millidegrees of the kernel. */
export const noisy =
  (celsius: number) =>
  (truth: number, _seconds: number, random: () => number): number =>
    Math.round((truth + (2 * random() - 1) * celsius) * 1000) / 1000;

/** Between two readings, as in the service. */
const STEP_SECONDS = 5;

/** The steady temperature at a rate, with the cores at this share of their clock. */
export function steadyC(
  { plant, inferenceSeconds }: Scenario,
  ambientC: number,
  rateHz: number,
  clock = 1,
): number {
  const share = Math.min(clock, rateHz * inferenceSeconds);
  return ambientC + plant.resistance * (plant.idleWatts + (plant.fullWatts - plant.idleWatts) * share);
}

/** The highest constant rate that would stay at or below the soft limit, within what may be set. */
export function bestConstantHz(scenario: Scenario, ambientC: number): number {
  const { plant, settings, requestedHz, inferenceSeconds } = scenario;
  const floorHz = Math.min(settings.minRateHz, requestedHz);
  if (steadyC(scenario, ambientC, requestedHz) <= settings.softLimitC) return requestedHz;
  const watts = (settings.softLimitC - ambientC) / plant.resistance - plant.idleWatts;
  const share = watts / (plant.fullWatts - plant.idleWatts);
  return Math.max(floorHz, share / inferenceSeconds);
}

/** A board that runs through the scenario with the governor, from the temperature of the idle board. */
export function simulate(
  scenario: Scenario,
  onStep: (step: { seconds: number; celsius: number; decision: ThermalDecision }) => void = () => undefined,
): Figures {
  const { plant, settings, requestedHz, ambientC } = scenario;
  const dt = STEP_SECONDS;
  const random = createRandom(scenario.seed ?? 1);
  const sensor = scenario.sensor ?? ((celsius: number) => celsius);
  const segmentOf = scenario.segment ?? (() => 'all');
  let state = startThermal(requestedHz, 0);
  let celsius = steadyC(scenario, ambientC(0), 0);
  let rateHz = requestedHz;
  let direction = 0;
  let [maxC, throttled, steps, changes] = [-Infinity, 0, 0, 0];
  const turns: number[] = [];
  const isSteady = scenario.steady ?? (() => true);
  const sums = new Map<string, { n: number; hz: number; bestHz: number; celsius: number }>();
  const reasons = new Set<string>();
  for (let seconds = 0; seconds < scenario.hours * 3600; seconds += dt) {
    const inferenceSeconds = scenario.inferenceSecondsAt?.(seconds) ?? scenario.inferenceSeconds;
    const load = { ...scenario, inferenceSeconds };
    const firmware = scenario.firmware?.(celsius, seconds);
    const clock = firmware?.clock ?? 1;
    const canHz = clock / inferenceSeconds;
    const next = stepThermal(
      state,
      {
        nowMs: seconds * 1000,
        requestedHz,
        temperatureC: sensor(celsius, seconds, random),
        flags: firmware?.flags ?? null,
        achievedHz: rateHz > canHz ? canHz : null,
      },
      settings,
    );
    state = next.state;
    onStep({ seconds, celsius, decision: next.decision });
    const { effectiveHz, throttle } = next.decision;
    if (effectiveHz !== rateHz) {
      const now = Math.sign(effectiveHz - rateHz);
      if (direction !== 0 && now !== direction && isSteady(seconds)) turns.push(seconds);
      direction = now;
      rateHz = effectiveHz;
      changes += 1;
    }
    if (throttle.active) throttled += 1;
    if (throttle.reason !== null) reasons.add(throttle.reason);
    steps += 1;

    const end = steadyC(load, ambientC(seconds), rateHz, clock);
    celsius = end + (celsius - end) * Math.exp(-dt / plant.timeConstant);
    if (seconds >= SETTLE_SECONDS) maxC = Math.max(maxC, celsius);
    const segment = segmentOf(seconds);
    if (segment !== null) {
      const sum = sums.get(segment) ?? { n: 0, hz: 0, bestHz: 0, celsius: 0 };
      sum.n += 1;
      sum.hz += Math.min(rateHz, canHz);
      sum.bestHz += Math.min(bestConstantHz(load, ambientC(seconds)), 1 / inferenceSeconds);
      sum.celsius += celsius;
      sums.set(segment, sum);
    }
  }
  return {
    maxC,
    segments: new Map(
      [...sums].map(([name, sum]) => [
        name,
        { meanHz: sum.hz / sum.n, bestHz: sum.bestHz / sum.n, meanC: sum.celsius / sum.n },
      ]),
    ),
    turnsPerHour: Math.max(
      0,
      ...turns.map((from, index) => turns.slice(index).filter((turn) => turn < from + 3600).length),
    ),
    stepsPerHour: changes / scenario.hours,
    throttledShare: throttled / steps,
    reasons,
  };
}
