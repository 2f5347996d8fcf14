import { flagCeiling, type FirmwareFlags, type FlagCause, type FlagState } from './thermal-flags.js';
import { acceptReading, noReading, type ReadingState } from './thermal-reading.js';

/*
 * The thermal governor: how often to infer so that the processor stays below its soft limit. Pure: readings, time and
 * settings in, a rate and a reason out.
 *
 * The law is a PI controller of the logarithm of the rate, with a lead on a rising temperature:
 *
 *   ln rate = I + P(e − lead)      e = soft limit − 0.25 °C − filtered temperature;  dI/dt = e / Ti, faster downwards
 *
 * Why the logarithm: below full load the power, and with it the steady temperature T, is linear in the rate r,
 * T = T_idle + k·r, and k differs a hundredfold between boards and models. But dT/d(ln r) = k·r = T − T_idle: in
 * the logarithm the gain is the distance from the idle temperature to the limit, 5 … 50 °C whatever board or model.
 * At full load the gain is zero; see `achievedHz`.
 *
 * Why it does not oscillate: steps smaller than 5 % are not taken, and a rate that was lowered rests for 12 minutes
 * before it is raised again, so that it turns at most ten times an hour. Only where it is much cooler than the limit
 * (something else has changed) the rest is short. Lowering never waits. Why it does not wind up: I stays between the
 * floor and the requested rate, does not grow while the rate rests, and never stands above what the machine achieves.
 *
 * The numbers were chosen in simulation (test/support/thermal-plant.ts) over time constants of 45 … 600 s and gains
 * of 4 … 60 °C; docs/heat.md shows what comes out. Anti-windup by clamping and the filtered lead are textbook: Åström
 * and Hägglund, "Advanced PID Control" (ISA 2006), chapter 3.
 */

/** Whether the service slows itself down, and why: `throttle` of `B/state`. */
export interface Throttle {
  active: boolean;
  /** For people; null while not active. */
  reason: string | null;
}

export type ThermalCause = 'hard_limit' | 'soft_limit' | 'firmware_throttled' | 'sensor_lost' | FlagCause;

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
  /** There has been a reading, but none for a minute. */
  blind: boolean;
  /** The reading is a jump that another one soon should confirm. */
  doubtful: boolean;
}

/** What the governor remembers from step to step. Rates are natural logarithms of Hz. */
export interface ThermalState {
  readonly lastMs: number;
  readonly requested: number;
  readonly reading: ReadingState;
  /** Filtered temperatures, °C; null before the first reading. */
  readonly filter: { readonly fast: number; readonly slow: number } | null;
  readonly flags: FlagState;
  /** The rate that seems sustainable. */
  readonly integral: number;
  /** Where the rate is headed; `applied` follows in steps. */
  readonly command: number;
  readonly applied: number;
  readonly loweredAtMs: number;
  readonly hardAtMs: number;
  readonly cause: ThermalCause | null;
}

/** Below the limit, so that noise and ripple stay there for the most part. */
const MARGIN_C = 0.25;
/** Time constants of the filters of the temperature; their difference tells how fast it rises. */
const FAST_MS = 20_000;
const SLOW_MS = 60_000;
const LEAD_MS = 30_000;
/** Of the filtered temperature; the noise of readings stays in it. */
const DEAD_BAND_C = 0.75;
const GAIN_PER_C = 0.12;
/** More room than this does not make the rate rise any faster. */
const ROOM_C = 10;
const INTEGRAL_PER_C_MS = 0.12 / 240_000;
const INTEGRAL_DOWN = 3;
/** The rate rises by at most e^0.5 a minute. */
const RISE_PER_MS = 0.5 / 60_000;
/** ln; smaller steps are not taken. */
const STEP = 0.05;
const REST_MS = 12 * 60_000;
const SHORT_REST_MS = 15_000;
/** So far below the target the rest begins to get shorter, and is shortest. */
const COOLER_C = 4;
const COOL_C = 10;
/** After the hard limit the sustainable rate is taken for half of what it seemed, once in this time. */
const HARD_AGAIN_MS = 5 * 60_000;
/** How far from the soft limit the heat may matter. */
const NEAR_C = 10;
/** As hot as this above the soft limit is it at least when the firmware throttles because of heat. */
const FIRMWARE_HOT_C = 2;
/** A gap in the readings that no filter should bridge. */
const GAP_MS = 30_000;
const BLIND_MS = 60_000;
/** Without readings, in the heat, the rate halves in this time. */
const BLIND_HALVING_MS = 10 * 60_000;
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
 * - Without readings nothing is raised. After a minute without, where the last one was within 10 °C of the soft limit
 *   or the rate was lowered, the rate sinks to the floor, halving every 10 minutes; where it was cool the rate stays
 *   (the firmware's flags still count). Where there never was a reading only the flags count.
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
  const floorHz = Math.min(settings.minRateHz, input.requestedHz);
  const low = Math.log(floorHz);
  const target = settings.softLimitC - MARGIN_C;

  const { state: reading, accepted } = acceptReading(before.reading, input.temperatureC, nowMs);
  const filter = accepted === null ? before.filter : filtered(before, accepted, nowMs, dtMs);
  const lastC = reading.last?.celsius ?? null;
  const ageMs = reading.last === null ? Infinity : nowMs - reading.last.atMs;
  const blind = reading.last !== null && ageMs >= BLIND_MS;

  const { flags } = input;
  const near = lastC === null || blind ? flags?.underVoltage !== true : lastC >= settings.softLimitC - NEAR_C;
  const firmwareHot = ((flags?.throttled ?? false) || (flags?.frequencyCapped ?? false)) && near;
  const ceiling = flagCeiling(before.flags, flags, { heat: firmwareHot, nowMs });
  const top = Math.max(low, high + Math.log(ceiling.share));

  const wasHot = (lastC ?? 0) >= settings.softLimitC - NEAR_C;
  const mayJump = nowMs - before.loweredAtMs >= REST_MS && (lastC ?? 0) < target && !(blind && wasHot);
  let { integral, command, applied } = followWish(before, { high, low, mayJump });
  let { loweredAtMs, hardAtMs } = before;
  let isSinking = false;
  /** Takes the rate down to `to`, if it is not there already. */
  const sink = (to: number) => {
    if (to >= applied) return;
    applied = to;
    command = Math.min(command, to);
    loweredAtMs = nowMs;
    isSinking = true;
  };

  // Degrees below the target; what the firmware says counts where there is no reading, too.
  let room = accepted === null || filter === null ? null : target - filter.fast;
  if (firmwareHot) room = Math.min(room ?? Infinity, -FIRMWARE_HOT_C);
  let cause: ThermalCause = firmwareHot ? 'firmware_throttled' : 'soft_limit';

  if (accepted !== null && accepted >= settings.hardLimitC) {
    if (nowMs - hardAtMs > HARD_AGAIN_MS) {
      integral = Math.max(low, Math.min(integral, logOf(input.achievedHz)) - Math.LN2);
    }
    hardAtMs = nowMs;
    sink(low);
    command = low;
    loweredAtMs = nowMs;
    isSinking = true;
    cause = 'hard_limit';
  } else if (room !== null) {
    if (room < 0 && logOf(input.achievedHz) < applied) integral = Math.min(integral, logOf(input.achievedHz));
    const rested = nowMs - loweredAtMs >= restMs(room) && !firmwareHot;
    const drift = room < 0 ? INTEGRAL_DOWN * room : rested ? room : 0;
    integral = clamp(integral + drift * INTEGRAL_PER_C_MS * dtMs, low, high);
    const share = Math.min(ROOM_C, beyondDeadBand(room - (filter === null ? 0 : leadC(filter))));
    let wanted = clamp(integral + GAIN_PER_C * share, low, top);
    if (!rested) wanted = Math.min(wanted, applied);
    command = Math.min(wanted, command + RISE_PER_MS * dtMs);
    if (applied - command >= STEP || command <= low) sink(command);
    else if (command - applied >= STEP || command >= top) applied = command;
  } else if (blind && (wasHot || before.applied < before.requested)) {
    command = Math.max(low, command - (Math.LN2 * dtMs) / BLIND_HALVING_MS);
    if (applied - command >= STEP || command <= low) sink(command);
    // When the sensor is back it tells at once whether the rate may rise.
    loweredAtMs = before.loweredAtMs;
    cause = 'sensor_lost';
  } else if (lastC === null) {
    // Nothing but flags to go by.
    command = applied = Math.min(top, applied + RISE_PER_MS * dtMs);
  }
  sink(top);

  const isLowered = applied < high;
  // Exactly what was set where it is at one of the ends.
  const effectiveHz =
    applied <= low
      ? floorHz
      : isLowered
        ? roundRate(Math.exp(applied), floorHz, input.requestedHz)
        : input.requestedHz;
  const isActive = effectiveHz < input.requestedHz;
  // What lowered the rate last is why it is low: while it rests and rises it keeps its reason.
  const kept = before.cause === 'sensor_lost' && accepted !== null ? null : before.cause;
  let nowCause = isSinking || kept === null ? cause : kept;
  if (ceiling.cause !== null && applied >= top) nowCause = ceiling.cause;
  return {
    state: {
      lastMs: nowMs,
      requested: high,
      reading,
      filter,
      flags: ceiling.state,
      integral,
      command,
      applied,
      loweredAtMs,
      hardAtMs,
      cause: isLowered ? nowCause : null,
    },
    decision: {
      effectiveHz,
      throttle: {
        active: isActive,
        reason: isActive ? reasonOf(nowCause, settings) : null,
      },
      cause: isActive ? nowCause : null,
      blind,
      doubtful: reading.doubtful !== null && accepted === null,
    },
  };
}

/** Takes over another wish. */
function followWish(
  { integral, command, applied, requested }: ThermalState,
  { high, low, mayJump }: { high: number; low: number; mayJump: boolean },
): { integral: number; command: number; applied: number } {
  if (high > requested && applied >= requested && mayJump) {
    return { integral: high, command: high, applied: high };
  }
  return {
    integral: clamp(integral, low, high),
    command: clamp(command, low, high),
    applied: clamp(applied, low, high),
  };
}

function filtered(
  { filter, reading }: ThermalState,
  celsius: number,
  nowMs: number,
  dtMs: number,
): { fast: number; slow: number } {
  const gap = nowMs - (reading.last?.atMs ?? -Infinity) > GAP_MS;
  // A jump that was confirmed is not to be smoothed away.
  if (filter === null || gap || reading.doubtful !== null) return { fast: celsius, slow: celsius };
  const towards = (from: number, tauMs: number) => from + (celsius - from) * (1 - Math.exp(-dtMs / tauMs));
  return { fast: towards(filter.fast, FAST_MS), slow: towards(filter.slow, SLOW_MS) };
}

/** How much hotter it will be in a moment if it goes on rising like this. */
function leadC({ fast, slow }: { fast: number; slow: number }): number {
  return (LEAD_MS * Math.max(0, fast - slow)) / (SLOW_MS - FAST_MS);
}

function restMs(roomC: number): number {
  const coolness = clamp((roomC - COOLER_C) / (COOL_C - COOLER_C), 0, 1);
  return REST_MS * (SHORT_REST_MS / REST_MS) ** coolness;
}

function beyondDeadBand(celsius: number): number {
  return Math.sign(celsius) * Math.max(0, Math.abs(celsius) - DEAD_BAND_C);
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function logOf(hz: number | null): number {
  return hz !== null && hz > 0 ? Math.log(hz) : Infinity;
}

/** Three digits are enough for people. */
function roundRate(hz: number, floorHz: number, requestedHz: number): number {
  return clamp(Number(hz.toPrecision(3)), floorHz, requestedHz);
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
      return 'the temperature sensor stopped answering while the processor was hot';
  }
}
