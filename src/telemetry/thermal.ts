import { flagCeiling, flagsTellOfHeat, type FirmwareFlags, type FlagState } from './thermal-flags.js';
import {
  atHardLimit,
  clamp,
  FAST_MS,
  followWish,
  leadC,
  lowerTo,
  MARGIN_C,
  regulate,
  REST_MS,
  rise,
  sinkBlindly,
  SLOW_MS,
  toTheFloor,
  type Filter,
  type Move,
  type Rates,
  type Span,
  type ThermalCause,
} from './thermal-law.js';
import { acceptReading, isJump, noReading, type ReadingState } from './thermal-reading.js';

/*
 * The thermal governor: how often to infer so that the processor stays below its soft limit. Pure: readings, time and
 * settings in, a rate and a reason out. thermal-law.ts tells the law.
 */

/** Whether the service slows itself down, and why: `throttle` of `B/state`. */
export interface Throttle {
  active: boolean;
  /** For people; null while not active. */
  reason: string | null;
}

export interface ThermalSettings {
  softLimitC: number;
  /** Above the soft one. */
  hardLimitC: number;
  /** Hz; heat takes the rate no lower. */
  minRateHz: number;
}

export interface ThermalInput {
  /** Milliseconds of a clock that does not run backwards. */
  nowMs: number;
  /** What the user wishes, Hz. */
  requestedHz: number;
  /** °C; null where there is no reading. */
  temperatureC: number | null;
  /** Null where there are none. */
  flags: FirmwareFlags | null;
  /** Hz that the machine manages where that is less than asked for; null where it keeps up, or nothing is known. */
  achievedHz: number | null;
}

export interface ThermalDecision {
  /** Hz, never above the requested rate, and never below the floor or the requested rate, whichever is lower. */
  effectiveHz: number;
  throttle: Throttle;
  cause: ThermalCause | null;
  /** There has been a reading, but none to be believed for a minute. */
  blind: boolean;
  /** The reading is a new jump, and another one soon should tell whether it was a glitch. */
  doubtful: boolean;
}

/** What the governor remembers from step to step. */
export interface ThermalState extends Rates {
  readonly lastMs: number;
  /** Natural logarithm of Hz, like all rates in here. */
  readonly requested: number;
  readonly reading: ReadingState;
  /** Null before the first reading. */
  readonly filter: Filter | null;
  readonly flags: FlagState;
  readonly cause: ThermalCause | null;
}

/** How far from the soft limit the heat may matter. */
const NEAR_C = 10;
/** As hot as this above the soft limit is it at least when the firmware throttles because of heat. */
const FIRMWARE_HOT_C = 2;
/** A gap in the readings that no filter should bridge. */
const GAP_MS = 30_000;
const BLIND_MS = 60_000;
/** So long after the last reading, where it was hot, the flags are the thermometer, or the rate sinks without one. */
const LOST_MS = 20_000;
/** A longer step is no measure of what happened in it: the machine slept. */
const LONGEST_STEP_MS = 60_000;

export function startThermal(requestedHz: number, nowMs: number): ThermalState {
  const requested = Math.log(requestedHz);
  return {
    lastMs: nowMs,
    requested,
    reading: noReading,
    filter: null,
    flags: {},
    integral: requested,
    command: requested,
    applied: requested,
    loweredAtMs: -Infinity,
    hardAtMs: -Infinity,
    cause: null,
  };
}

/**
 * One step; call it every few seconds, and with the last reading when the requested rate has changed.
 *
 * - At the hard limit the rate goes to the floor at once, and rests there.
 * - The firmware throttling because of heat counts as a temperature over the soft limit; other flags put a ceiling on
 *   the rate (thermal-flags.ts).
 * - Without readings nothing is raised that heat has lowered. After a minute without, where the last one was within
 *   10 °C of the soft limit or heat had lowered the rate, the rate sinks to the floor, halving every 10 minutes; where
 *   it was cool only the flags count, as where there never was a reading. A firmware that slows the cores down
 *   meanwhile is the only thermometer left: the floor at once. Where it would not tell in time (no flags, or a hard
 *   limit below 80 °C) and it was hot, the rate sinks from 20 s on, halving every 40.
 * - A lower wish is followed at once; a higher one at once where the rate was not lowered lately, else as it cools.
 *   A change of the model needs nothing: the rate is where it was, and the law finds the new one.
 */
export function stepThermal(
  before: ThermalState,
  input: ThermalInput,
  settings: ThermalSettings,
): { state: ThermalState; decision: ThermalDecision } {
  const nowMs = Math.max(input.nowMs, before.lastMs);
  const dtMs = Math.min(nowMs - before.lastMs, LONGEST_STEP_MS);
  const high = Math.log(input.requestedHz);
  const low = Math.log(Math.min(settings.minRateHz, input.requestedHz));
  const sight = look(before, input, settings, nowMs);
  const ceiling = flagCeiling(before.flags, input.flags, { heat: sight.firmwareHot, nowMs });
  const span = { low, high, top: Math.max(low, high + Math.log(ceiling.share)), nowMs, dtMs };

  const from = followWish(before, span, sight.mayJump);
  const move = choose(from, sight, { span, before, input });
  const rates = lowerTo(move.rates, span.top, nowMs);

  const effectiveHz = rateHz(rates.applied, input.requestedHz, settings.minRateHz);
  const isActive = effectiveHz < input.requestedHz;
  let cause = causeOf(before.cause, move, { isReadAgain: sight.accepted !== null });
  if (ceiling.cause !== null && rates.applied >= span.top) cause = ceiling.cause;
  return {
    state: {
      lastMs: nowMs,
      requested: high,
      reading: sight.reading,
      filter: sight.filter,
      flags: ceiling.state,
      ...rates,
      cause: rates.applied < high ? cause : null,
    },
    decision: {
      effectiveHz,
      throttle: { active: isActive, reason: isActive ? reasonOf(cause, settings) : null },
      cause: isActive ? cause : null,
      blind: sight.isBlind,
      doubtful: sight.reading.doubt?.sinceMs === nowMs,
    },
  };
}

/** What is known of the heat at a step. */
interface Sight {
  reading: ReadingState;
  /** The reading of this step, °C, where there is one that is believed. */
  accepted: number | null;
  filter: Filter | null;
  hasReading: boolean;
  isBlind: boolean;
  /** The last reading was near the soft limit. */
  wasHot: boolean;
  /** Hot, and long enough without a reading to go by other signs. */
  isLost: boolean;
  /** The flags would tell of heat before the hard limit is reached. */
  isWarned: boolean;
  isAtHardLimit: boolean;
  /** The firmware slows the cores down because of heat. */
  firmwareHot: boolean;
  /** Degrees below the target; null where nothing tells. */
  roomC: number | null;
  /** A higher wish may be followed at once. */
  mayJump: boolean;
}

function look(
  before: ThermalState,
  { temperatureC, flags }: ThermalInput,
  { softLimitC, hardLimitC }: ThermalSettings,
  nowMs: number,
): Sight {
  const { state: reading, accepted } = acceptReading(before.reading, temperatureC, nowMs);
  const filter = accepted === null ? before.filter : filtered(before, accepted, nowMs);
  const { last } = reading;
  const ageMs = last === null ? 0 : nowMs - last.atMs;
  const isBlind = ageMs >= BLIND_MS;
  const wasHot = last !== null && last.celsius >= softLimitC - NEAR_C;
  const isLost = isBlind || (wasHot && ageMs >= LOST_MS);
  const target = softLimitC - MARGIN_C;

  // Slowed down while it is cool, or while the supply is weak, is no sign of heat.
  const mayBeHeat = last === null || isLost ? flags?.underVoltage !== true : wasHot;
  const isSlowed = flags?.throttled === true || flags?.frequencyCapped === true;
  const firmwareHot = (isSlowed && mayBeHeat) || (isLost && flags?.softTemperatureLimit === true);
  let roomC = accepted === null || filter === null ? null : target - filter.fast;
  if (firmwareHot) roomC = Math.min(roomC ?? Infinity, -FIRMWARE_HOT_C);
  return {
    reading,
    accepted,
    filter,
    hasReading: last !== null,
    isBlind,
    wasHot,
    isLost,
    // A firmware that reads the same sensor is deceived by it, too.
    isWarned: reading.doubt === null && flagsTellOfHeat(flags, hardLimitC),
    isAtHardLimit: accepted !== null && accepted >= hardLimitC,
    firmwareHot,
    roomC,
    mayJump: nowMs - before.loweredAtMs >= REST_MS && (last?.celsius ?? 0) < target && !(isBlind && wasHot),
  };
}

/** Which of the laws is to be followed, and where it leads. */
function choose(
  from: Rates,
  sight: Sight,
  { span, before, input }: { span: Span; before: ThermalState; input: ThermalInput },
): Move {
  const achieved = logOf(input.achievedHz);
  if (sight.isAtHardLimit) return atHardLimit(from, span, achieved);
  if (sight.isLost && sight.firmwareHot) return toTheFloor(from, span, 'firmware_throttled');
  if (sight.roomC !== null) {
    const { roomC, firmwareHot, filter } = sight;
    return regulate(from, span, { roomC, firmwareHot, achieved, riseC: filter === null ? 0 : leadC(filter) });
  }
  const isHot = sight.wasHot || (before.cause !== null && causesOfHeat.has(before.cause));
  const isSinking = sight.isWarned ? sight.isBlind : sight.isLost;
  if (isSinking && isHot) return sinkBlindly(from, span, sight.isWarned ? 'slowly' : 'fast');
  // The flags alone tell; where they told of heat the rate rests, or it would swing with them.
  const rests = before.cause === 'firmware_throttled' && span.nowMs - before.loweredAtMs < REST_MS;
  if (!rests && (sight.isBlind || !sight.hasReading)) return rise(from, span);
  return { rates: from, cause: 'soft_limit', isLowered: false };
}

/** Causes that a temperature was behind, and without a temperature still may be. */
const causesOfHeat: ReadonlySet<ThermalCause> = new Set(['hard_limit', 'soft_limit', 'sensor_lost']);

/** What lowered the rate last is why it is low: while it rests and rises it keeps its reason. */
function causeOf(
  before: ThermalCause | null,
  { cause, isLowered }: Move,
  { isReadAgain }: { isReadAgain: boolean },
): ThermalCause {
  const kept = before === 'sensor_lost' && isReadAgain ? null : before;
  return isLowered || kept === null ? cause : kept;
}

/** Exactly what was set where it is at one of the ends; three digits, for people, between them. */
function rateHz(applied: number, requestedHz: number, minRateHz: number): number {
  const floorHz = Math.min(minRateHz, requestedHz);
  if (applied <= Math.log(floorHz)) return floorHz;
  if (applied >= Math.log(requestedHz)) return requestedHz;
  return clamp(Number(Math.exp(applied).toPrecision(3)), floorHz, requestedHz);
}

function filtered({ filter, reading: { last } }: ThermalState, celsius: number, nowMs: number): Filter {
  const dtMs = nowMs - (last?.atMs ?? -Infinity);
  // A jump that was believed is not to be smoothed away.
  if (filter === null || last === null || dtMs > GAP_MS || isJump(last.celsius, celsius)) {
    return { fast: celsius, slow: celsius };
  }
  const towards = (from: number, tauMs: number) => from + (celsius - from) * (1 - Math.exp(-dtMs / tauMs));
  return { fast: towards(filter.fast, FAST_MS), slow: towards(filter.slow, SLOW_MS) };
}

function logOf(hz: number | null): number {
  return hz !== null && hz > 0 ? Math.log(hz) : Infinity;
}

function reasonOf(cause: ThermalCause, { softLimitC, hardLimitC }: ThermalSettings): string {
  switch (cause) {
    case 'hard_limit':
      return `the processor reached its hard limit of ${hardLimitC} °C`;
    case 'soft_limit':
      return `the processor is near its limit of ${softLimitC} °C`;
    case 'firmware_throttled':
      return 'the firmware throttles the processor because of heat';
    case 'frequency_capped':
      return 'the firmware caps the processor’s frequency';
    case 'firmware_soft_limit':
      return 'the firmware’s soft temperature limit is active';
    case 'under_voltage':
      return 'the supply voltage is too low: use a stronger power supply or a better cable';
    case 'sensor_lost':
      return 'the temperature sensor stopped giving sensible readings while the processor was hot';
  }
}
