import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { SoakHour } from './soak.js';

/* The soak of one network, and what is said of it. */

export interface SoakOptions {
  name: string;
  windowSeconds: number;
  hours: number;
  /** Stop after so many minutes. */
  minutes: number;
  compareEvery: number;
  /** Called with each line for people as it comes. */
  tell: (line: string) => void;
}

export interface Soaked {
  name: string;
  /** Why the network is no stream, or what ended it; null where neither is. */
  reason: string | null;
  hours: SoakHour[];
  /** What is not as it must be, sentences. */
  faults: string[];
}

/** The two forms must agree so well, in every window that is compared, in proportion to an output's largest number. */
const MAX_OFF = 1e-5;
/** From the end of the first hour to that of the last one, memory must not grow by more. */
const MAX_GROWTH_MB = 20;

/** Runs the soak in a process of its own, and says each hour of sound as it is over. */
export async function soakApart(options: SoakOptions): Promise<Soaked> {
  const { name, windowSeconds, hours, minutes, compareEvery, tell } = options;
  const script = join(import.meta.dirname, 'soak-process.js');
  const args = [name, windowSeconds, hours, minutes, compareEvery].map(String);
  const child = spawn(process.execPath, ['--expose-gc', script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<string | null>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? null : `it ended with ${signal ?? code}`));
  });
  const seen: SoakHour[] = [];
  let reason: string | null = null;
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line) as SoakHour | { reason: string };
    if ('reason' in said) reason = said.reason;
    else {
      seen.push(said);
      tell(hourText(name, said));
    }
  }
  reason = (await ended) ?? reason;
  return { name, reason, hours: seen, faults: faultsOf(seen) };
}

export function hourText(name: string, hour: SoakHour): string {
  const { hours, hops, hopMs, compared, worst, worstScore, residentMb, heapMb, buffersMb } = hour;
  return [
    `${name}  ${hours.toFixed(2).padStart(6)} h`,
    `${hops} hops of ${hopMs.toFixed(1)} ms`,
    `${compared} compared: at most ${worst.toExponential(1)} off (scores ${worstScore.toExponential(1)})`,
    `memory ${residentMb.toFixed(0)} MB, heap ${heapMb.toFixed(1)}, buffers ${buffersMb.toFixed(1)}`,
  ].join('; ');
}

/** What is wrong with hours of a stream: a difference, numbers that are none, memory that grows, a stream that began anew. */
export function faultsOf(hours: readonly SoakHour[]): string[] {
  const [first, last] = [hours[0], hours.at(-1)];
  if (first === undefined || last === undefined) return ['nothing was computed'];
  const faults: string[] = [];
  const worst = Math.max(...hours.map((hour) => hour.worst));
  if (!(worst <= MAX_OFF)) faults.push(`an output was ${worst.toExponential(1)} off`);
  const notFinite = hours.reduce((sum, hour) => sum + hour.notFinite, 0);
  if (notFinite > 0) faults.push(`${notFinite} outputs were no finite numbers`);
  for (const [what, of] of [
    ['memory', (hour: SoakHour) => hour.residentMb],
    ['heap', (hour: SoakHour) => hour.heapMb],
    ['buffers', (hour: SoakHour) => hour.buffersMb],
  ] as const) {
    const grown = of(last) - of(first);
    if (grown > MAX_GROWTH_MB) faults.push(`${what} grew by ${grown.toFixed(0)} MB after the first hour`);
  }
  if (last.beginnings !== 1) faults.push(`the stream was begun ${last.beginnings} times`);
  return faults;
}

/** One paragraph for people. */
export function summaryOf({ name, reason, hours, faults }: Soaked): string {
  const [first, last] = [hours[0], hours.at(-1)];
  if (first === undefined || last === undefined) return `${name}: ${reason ?? 'nothing was computed'}.`;
  const sum = (of: (hour: SoakHour) => number): number => hours.reduce((total, hour) => total + of(hour), 0);
  const most = (of: (hour: SoakHour) => number): number => Math.max(...hours.map(of));
  return [
    `${name}: ${last.hours.toFixed(2)} h of sound, ${sum((hour) => hour.hops)} hops, ${sum((hour) => hour.compared)} compared with the whole window:`,
    `at most ${most((hour) => hour.worst).toExponential(1)} off, ${first.worst.toExponential(1)} in the first hour and ${last.worst.toExponential(1)} in the last one;`,
    `memory ${first.residentMb.toFixed(0)} MB after the first hour and ${last.residentMb.toFixed(0)} MB at the end (most ${most((hour) => hour.residentMb).toFixed(0)}).`,
    ...(reason === null ? [] : [`It did not come to its end: ${reason}.`]),
    ...(faults.length === 0 ? [] : [`Faults: ${faults.join('; ')}.`]),
  ].join(' ');
}
