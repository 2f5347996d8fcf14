import type { FirmwareFlags } from '../../src/telemetry/thermal-flags.js';
import {
  startThermal,
  stepThermal,
  type ThermalDecision,
  type ThermalSettings,
} from '../../src/telemetry/thermal.js';

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
 * Raspberry Pi 4 without a heat sink. Idle and full power and the time to 80 °C (2.1 W, 6.41 W, 177 s under stress-ng)
 * are recalled from Gareth Halfacree, "Thermal testing Raspberry Pi 4", The MagPi 88, and were not looked up again.
 * The resistance is chosen: with it and a room of 23 °C they give a time constant of 180 s, and the idle temperatures
 * that Martin Rowan reports ("Raspberry Pi 4 – Power & Temperature at Idle", 2019) come out at 13 °C/W.
 */
export const bareRaspberryPi4: Plant = {
  resistance: 12,
  timeConstant: 180,
  idleWatts: 2.1,
  fullWatts: 6.41,
};

/**
 * Raspberry Pi 5 with the Active Cooler. Temperatures in a room of 20 °C: 40.0 °C idle, 55.4, 58.2 and 59.8 °C after 1, 2
 * and 3 minutes of `stress -c 4` (j-baba, comparison of CPU temperatures, Qiita). The power is uncertain: 7.9 W under
 * Geekbench (geerlingguy/sbc-reviews, issue 21, where a reader doubts the meter), and 3 W idle is assumed. With these it
 * is 5 °C/W and about 60 s; idle, with the fan off, it is more (6.7 °C/W).
 */
export const cooledRaspberryPi5: Plant = {
  resistance: 5,
  timeConstant: 60,
  idleWatts: 3,
  fullWatts: 7.9,
};

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
  flags?: (celsius: number, seconds: number) => FirmwareFlags | null;
  /** Other moments are taken out of the figures by giving them no segment. */
  segment?: (seconds: number) => string | null;
  /** Whether a turn at this time counts; those of the hour after a change of the ambient do not. */
  steady?: (seconds: number) => boolean;
  seed?: number;
  intervalSeconds?: number;
}

export interface Figures {
  /** Of the temperature itself, once `settleSeconds` are over. */
  maxC: number;
  maxFirstMinutesC: number;
  segments: Map<string, { meanHz: number; bestHz: number; meanC: number }>;
  /** How often the rate changes direction in any 60 minutes, at the most, in steady state. */
  turnsPerHour: number;
  stepsPerHour: number;
  /** Share of the time in which the rate was lowered. */
  throttledShare: number;
  reasons: Set<string>;
}

/** Cold start: what happens in these first minutes is told apart. */
export const SETTLE_SECONDS = 600;

export const defaults: ThermalSettings = { softLimitC: 75, hardLimitC: 82, minRateHz: 0.1 };

/** A reading with an error spread evenly over ±`celsius`, in the millidegrees of the kernel. */
export const noisy =
  (celsius: number) =>
  (truth: number, _seconds: number, random: () => number): number =>
    Math.round((truth + (2 * random() - 1) * celsius) * 1000) / 1000;

/** The steady temperature at a rate. */
export function steadyC({ plant, inferenceSeconds }: Scenario, ambientC: number, rateHz: number): number {
  const share = Math.min(1, rateHz * inferenceSeconds);
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
  const dt = scenario.intervalSeconds ?? 5;
  const random = mulberry32(scenario.seed ?? 1);
  const sensor = scenario.sensor ?? ((celsius: number) => celsius);
  const segmentOf = scenario.segment ?? (() => 'all');
  let state = startThermal(requestedHz, 0);
  let celsius = steadyC(scenario, ambientC(0), 0);
  let rateHz = requestedHz;
  let direction = 0;
  let [maxC, maxFirstMinutesC, throttled, steps, changes] = [-Infinity, -Infinity, 0, 0, 0];
  const turns: number[] = [];
  const isSteady = scenario.steady ?? (() => true);
  const sums = new Map<string, { n: number; hz: number; bestHz: number; celsius: number }>();
  const reasons = new Set<string>();
  for (let seconds = 0; seconds < scenario.hours * 3600; seconds += dt) {
    const inferenceSeconds = scenario.inferenceSecondsAt?.(seconds) ?? scenario.inferenceSeconds;
    const load = { ...scenario, inferenceSeconds };
    const canHz = 1 / inferenceSeconds;
    const next = stepThermal(
      state,
      {
        nowMs: seconds * 1000,
        requestedHz,
        temperatureC: sensor(celsius, seconds, random),
        flags: scenario.flags?.(celsius, seconds) ?? null,
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

    const end = steadyC(load, ambientC(seconds), rateHz);
    celsius = end + (celsius - end) * Math.exp(-dt / plant.timeConstant);
    if (seconds < SETTLE_SECONDS) maxFirstMinutesC = Math.max(maxFirstMinutesC, celsius);
    else maxC = Math.max(maxC, celsius);
    const segment = segmentOf(seconds);
    if (segment !== null) {
      const sum = sums.get(segment) ?? { n: 0, hz: 0, bestHz: 0, celsius: 0 };
      sum.n += 1;
      sum.hz += Math.min(rateHz, canHz);
      sum.bestHz += Math.min(bestConstantHz(load, ambientC(seconds)), canHz);
      sum.celsius += celsius;
      sums.set(segment, sum);
    }
  }
  return {
    maxC,
    maxFirstMinutesC,
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

/** Random numbers in 0 … 1 that are the same in every run (mulberry32, Tommy Ettinger). */
function mulberry32(seed: number): () => number {
  let a = seed | 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
