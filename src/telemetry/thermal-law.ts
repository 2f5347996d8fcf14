import type { FlagCause } from './thermal-flags.js';

/*
 * The laws that the thermal governor follows, each a function from rates to rates; thermal.ts tells which one when.
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
 * floor and the requested rate, does not grow while the rate rests or is still below it, and never stands above what the machine achieves.
 *
 * The numbers were chosen in simulation (test/support/thermal-plant.ts) over time constants of 45 … 600 s and gains
 * of 4 … 60 °C; docs/heat.md shows what comes out. Anti-windup by clamping and the filtered lead are textbook: Åström
 * and Hägglund, "Advanced PID Control" (ISA 2006), chapter 3.
 */

export type ThermalCause = 'hard_limit' | 'soft_limit' | 'firmware_throttled' | 'sensor_lost' | FlagCause;

/** Rates are natural logarithms of Hz; times in ms. */
export interface Rates {
  /** The rate that seems sustainable. */
  readonly integral: number;
  /** Where the rate is headed; `applied` follows in steps. */
  readonly command: number;
  readonly applied: number;
  readonly loweredAtMs: number;
  readonly hardAtMs: number;
}

/** Between what the rate may be at this step, and what time it is. */
export interface Span {
  readonly low: number;
  /** The wish. */
  readonly high: number;
  /** What the firmware's flags leave of it. */
  readonly top: number;
  readonly nowMs: number;
  readonly dtMs: number;
}

/** Where a law leads. */
export interface Move {
  readonly rates: Rates;
  /** Why the rate is low, where it is and nothing else is known. */
  readonly cause: ThermalCause;
  /** The law took the rate down, or holds it down. */
  readonly isLowered: boolean;
}

/** Temperatures smoothed over a shorter and a longer time, °C; their difference tells how fast it rises. */
export interface Filter {
  readonly fast: number;
  readonly slow: number;
}

/** Below the limit, so that noise and ripple stay there for the most part. */
export const MARGIN_C = 0.25;
/** Time constants of the filters of the temperature; their difference tells how fast it rises. */
export const FAST_MS = 20_000;
export const SLOW_MS = 60_000;
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
export const REST_MS = 12 * 60_000;
const SHORT_REST_MS = 15_000;
/** So far below the target the rest begins to get shorter, and is shortest. */
const COOLER_C = 4;
const COOL_C = 10;
/** After the hard limit the sustainable rate is taken for half of what it seemed, once in this time. */
const HARD_AGAIN_MS = 5 * 60_000;
/** Without readings the rate halves in this time: where the firmware would tell of heat, and where nothing would. */
const BLIND_HALVING_MS = { slowly: 10 * 60_000, fast: 40_000 };

/** Takes over another wish. */
export function followWish(
  { integral, command, applied, loweredAtMs, hardAtMs, requested }: Rates & { requested: number },
  { high, low }: Span,
  mayJump: boolean,
): Rates {
  if (high > requested && applied >= requested && mayJump) {
    return { integral: high, command: high, applied: high, loweredAtMs, hardAtMs };
  }
  return {
    integral: clamp(integral, low, high),
    command: clamp(command, low, high),
    applied: clamp(applied, low, high),
    loweredAtMs,
    hardAtMs,
  };
}

/** Takes the rate down to `to`, if it is not there already. */
export function lowerTo(rates: Rates, to: number, nowMs: number): Rates {
  if (to >= rates.applied) return rates;
  return { ...rates, applied: to, command: Math.min(rates.command, to), loweredAtMs: nowMs };
}

export function toTheFloor(rates: Rates, { low, nowMs }: Span, cause: ThermalCause): Move {
  return { rates: { ...rates, command: low, applied: low, loweredAtMs: nowMs }, cause, isLowered: true };
}

/** The floor, and less than before is taken for sustainable. */
export function atHardLimit(rates: Rates, span: Span, achieved: number): Move {
  const { low, nowMs } = span;
  const isNew = nowMs - rates.hardAtMs > HARD_AGAIN_MS;
  const integral = isNew ? Math.max(low, Math.min(rates.integral, achieved) - Math.LN2) : rates.integral;
  return toTheFloor({ ...rates, integral, hardAtMs: nowMs }, span, 'hard_limit');
}

/** The PI controller. `riseC` is the lead; `achieved` the rate that the machine manages, Infinity where it keeps up. */
export function regulate(
  rates: Rates,
  { low, high, top, nowMs, dtMs }: Span,
  heat: { roomC: number; riseC: number; firmwareHot: boolean; achieved: number },
): Move {
  const { roomC, riseC, firmwareHot, achieved } = heat;
  let { integral } = rates;
  if (roomC < 0 && achieved < rates.applied) integral = Math.min(integral, achieved);
  const isRested = nowMs - rates.loweredAtMs >= restMs(roomC) && !firmwareHot;
  const share = Math.min(ROOM_C, beyondDeadBand(roomC - riseC));
  const reach = rates.command + RISE_PER_MS * dtMs;
  // As long as the rate is below what seems sustainable its coolness does not say that more is.
  const mayGrow = isRested && reach >= integral;
  const drift = roomC < 0 ? INTEGRAL_DOWN * roomC : mayGrow ? roomC : 0;
  integral = clamp(integral + drift * INTEGRAL_PER_C_MS * dtMs, low, high);
  const wanted = clamp(integral + GAIN_PER_C * share, low, top);
  const aim = isRested ? wanted : Math.min(wanted, rates.applied);
  const command = Math.min(aim, reach);
  const next = follow({ ...rates, integral, command }, { low, top, nowMs });
  return {
    rates: next,
    cause: firmwareHot ? 'firmware_throttled' : 'soft_limit',
    isLowered: next.applied < rates.applied,
  };
}

/** The applied rate follows the command, in steps that are worth it. */
function follow(rates: Rates, { low, top, nowMs }: { low: number; top: number; nowMs: number }): Rates {
  const { command, applied } = rates;
  if (applied - command >= STEP || command <= low) return lowerTo(rates, command, nowMs);
  if (command - applied >= STEP || command >= top) return { ...rates, applied: command };
  return rates;
}

/** Nothing tells how hot it is, and it was hot. When readings are back they tell at once whether the rate may rise. */
export function sinkBlindly(
  rates: Rates,
  { low, nowMs, dtMs }: Span,
  pace: keyof typeof BLIND_HALVING_MS,
): Move {
  const command = Math.max(low, rates.command - (Math.LN2 * dtMs) / BLIND_HALVING_MS[pace]);
  const isStep = rates.applied - command >= STEP || command <= low;
  const next = isStep ? lowerTo({ ...rates, command }, command, nowMs) : { ...rates, command };
  return {
    rates: { ...next, loweredAtMs: rates.loweredAtMs },
    cause: 'sensor_lost',
    isLowered: next.applied < rates.applied,
  };
}

/** Nothing is known but flags, and they are calm. */
export function rise(rates: Rates, { top, dtMs }: Span): Move {
  const applied = Math.min(top, rates.applied + RISE_PER_MS * dtMs);
  return { rates: { ...rates, command: applied, applied }, cause: 'soft_limit', isLowered: false };
}

/** How much hotter it will be in a moment if it goes on rising like this. */
export function leadC({ fast, slow }: Filter): number {
  return (LEAD_MS * Math.max(0, fast - slow)) / (SLOW_MS - FAST_MS);
}

function restMs(roomC: number): number {
  const coolness = clamp((roomC - COOLER_C) / (COOL_C - COOLER_C), 0, 1);
  return REST_MS * (SHORT_REST_MS / REST_MS) ** coolness;
}

function beyondDeadBand(celsius: number): number {
  return Math.sign(celsius) * Math.max(0, Math.abs(celsius) - DEAD_BAND_C);
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
