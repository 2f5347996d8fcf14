import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../common/atomic-file.js';
import { readBounded } from '../common/bounded-read.js';
import { processIsAlive } from '../common/errno.js';
import { askHealth } from './health-socket.js';

/** One thing that was looked at. */
export interface HealthCheck {
  name: string;
  ok: boolean;
  /** A sentence for people. */
  detail: string;
}

export interface HealthReport {
  healthy: boolean;
  checks: HealthCheck[];
  /** The sound of each source, by its name; only where there are several. */
  sources?: HealthCheck[] | undefined;
}

/** What the service or its file says, and what follows from whether it answers, the file's age and its process. */
export interface HealthReading extends HealthReport {
  /** Seconds since it was said; null where nothing was said. */
  age: number | null;
}

/** The heartbeat of the running service, `<data_dir>/run/health.json`. */
export interface HealthFile {
  /** Replaces the report; rejects with the error of the file system. */
  write(report: HealthReport): Promise<void>;
  /** On a regular stop. */
  remove(): Promise<void>;
}

/** A heartbeat older than this is none. */
export const staleAfterSeconds = 30;

const checksSchema = z.array(z.object({ name: z.string(), ok: z.boolean(), detail: z.string() }));
const answerSchema = z.object({
  pid: z.number().int().positive(),
  healthy: z.boolean(),
  checks: checksSchema,
  sources: checksSchema.optional(),
});
const fileSchema = answerSchema.extend({ ts: z.iso.datetime() });

function healthPath(dataDir: string): string {
  return join(dataDir, 'run', 'health.json');
}

/** A writer of heartbeats; `now` is in milliseconds since the epoch. */
export function createHealthFile(options: { dataDir: string; pid?: number; now?: () => number }): HealthFile {
  const path = healthPath(options.dataDir);
  const now = options.now ?? Date.now;
  return {
    write(report) {
      const content = { ts: new Date(now()).toISOString(), pid: options.pid ?? process.pid, ...report };
      return writeFileAtomic(path, `${JSON.stringify(content)}\n`, { durable: false });
    },
    remove: () => rm(path, { force: true }),
  };
}

/** How long the service may take to answer: well below the time limit of a container's health check. */
const ANSWER_MS = 10_000;

/**
 * The health of the service of this data folder: what it says itself at its socket (health-socket.ts), and where
 * nobody can be asked there, its last heartbeat. Whatever is wrong becomes a failed check, nothing is thrown.
 */
export async function readHealth(
  dataDir: string,
  nowMs: number,
  options: { answerMs?: number; isAlive?: (pid: number) => boolean } = {},
): Promise<HealthReading> {
  const answerMs = options.answerMs ?? ANSWER_MS;
  const answer = await askHealth(dataDir, answerMs);
  const failed = (detail: string): HealthReading => ({
    healthy: false,
    checks: [{ name: 'service', ok: false, detail }],
    age: null,
  });
  if (answer === 'nobody') return readHeartbeat(dataDir, nowMs, options.isAlive);
  if (answer === 'silent') {
    return failed(
      `The service is there and gives no answer within ${answerMs / 1000} s: it hangs, or it has no file handles left.`,
    );
  }
  if (answer === 'closed') {
    return failed(
      'The service ended the connection without an answer: it has no file handles left ("ulimit -n"), or is just stopping.',
    );
  }
  const parsed = answerSchema.safeParse(parseJson(answer.text));
  if (!parsed.success) return failed('What listens at run/health.sock is not the service.');
  const { pid, healthy, checks, sources } = parsed.data;
  const service = { name: 'service', ok: true, detail: `Process ${pid} answers.` };
  return { healthy, checks: [service, ...checks], ...(sources !== undefined && { sources }), age: 0 };
}

/** Reads the heartbeat; whatever is wrong with it becomes a failed check, nothing is thrown. */
export function readHeartbeat(
  dataDir: string,
  nowMs: number,
  isAlive: (pid: number) => boolean = processIsAlive,
): HealthReading {
  const path = healthPath(dataDir);
  const failed = (detail: string): HealthReading => ({
    healthy: false,
    checks: [{ name: 'service', ok: false, detail }],
    age: null,
  });
  const read = readBounded(path, 256 * 1024);
  if ('problem' in read) {
    return failed(
      read.problem === 'does not exist'
        ? `No service is running with the data folder ${dataDir}: ${path} does not exist. Start it with "npx soundpost run", or name its folder with --data-dir.`
        : `${path} ${read.problem}.`,
    );
  }
  const parsed = fileSchema.safeParse(parseJson(read.bytes.toString('utf8')));
  if (!parsed.success) return failed(`${path} is not what the service writes.`);
  const { ts, pid, healthy, checks, sources } = parsed.data;
  const age = (nowMs - Date.parse(ts)) / 1000;
  const service = serviceCheck(age, pid, isAlive);
  return {
    healthy: healthy && service.ok,
    checks: [service, ...checks],
    ...(sources !== undefined && { sources }),
    age,
  };
}

function serviceCheck(age: number, pid: number, isAlive: (pid: number) => boolean): HealthCheck {
  const seconds = `${Math.round(Math.abs(age))} s`;
  const because = (detail: string): HealthCheck => ({ name: 'service', ok: false, detail });
  if (!isAlive(pid))
    return because(`The service (process ${pid}) is gone; its last heartbeat is ${seconds} old.`);
  if (age > staleAfterSeconds) {
    return because(
      `The last heartbeat is ${seconds} old (limit ${staleAfterSeconds} s): the service hangs, or it cannot write to its disk.`,
    );
  }
  if (age < -staleAfterSeconds) {
    return because(
      `The last heartbeat lies ${seconds} in the future: the clock was set, or the service hangs.`,
    );
  }
  return { name: 'service', ok: true, detail: `Process ${pid}, last heartbeat ${seconds} ago.` };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
