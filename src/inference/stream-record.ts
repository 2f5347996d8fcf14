import { createHash } from 'node:crypto';
import { mkdir, readdir, stat, utimes } from 'node:fs/promises';
import { readPlain } from '../common/bounded-read.js';
import { writeFileAtomic } from '../common/atomic-file.js';
import { join } from 'node:path';
import type { StreamPlan } from '../convert/streaming/plan.js';
import type { EngineStream } from './engine.js';
import { copyKey } from './optimized-copy.js';

/*
 * What was found out about a network as a stream, beside the copies of networks: `<id>.<key>.stream.json`, with a digest of
 * the rest in its first line. So it is found out once for each model, window and machine.
 */

/** That a network is a stream here, and how; or why it is none. */
export type StreamRecord =
  | { plan: StreamPlan; outputs: OutputShapes; stream: EngineStream }
  | {
      reason: string;
      /** Until when that holds, ms since the epoch; always where it is left out. 0: it is tried again at the next load. */
      untilMs?: number;
      /** How many attempts in a row, this one with them, were cut short: each says so before it begins. */
      cutShort?: number;
    };

/** What each output of the network is like for the stream's windows. */
export type OutputShapes = Readonly<Record<string, readonly number[]>>;

const MAX_BYTES = 4e6;

export interface StreamRecords {
  /** Null where nothing is known, and for a file that is damaged. */
  read(): Promise<StreamRecord | null>;
  write(record: StreamRecord): Promise<void>;
  /** What is known is what counts now, see `latestStreamRecord`. Never rejects. */
  use(): Promise<void>;
}

/** @param madeFrom whatever decides what becomes of it: the digest of the model, the window, versions, the processor */
export function streamRecords(folder: string, id: string, madeFrom: readonly string[]): StreamRecords {
  const path = join(folder, `${id}.${copyKey(madeFrom)}.stream.json`);
  return {
    read: () => readRecord(path),
    async write(record) {
      const text = JSON.stringify(record);
      await mkdir(folder, { recursive: true });
      await writeFileAtomic(path, `${digestOf(text)}\n${text}`);
    },
    async use() {
      const now = new Date();
      // On a disk that takes nothing the record of another window may be told.
      await utimes(path, now, now).catch(() => undefined);
    },
  };
}

/** What was found out or used last about a model, for whatever window and form; null where nothing is known. */
export async function latestStreamRecord(folder: string, id: string): Promise<StreamRecord | null> {
  const names = await readdir(folder).catch((): string[] => []);
  let [latest, latestMs]: [StreamRecord | null, number] = [null, -Infinity];
  for (const name of names) {
    if (!name.startsWith(`${id}.`) || !/^[0-9a-f]{16}\.stream\.json$/.test(name.slice(id.length + 1)))
      continue;
    const path = join(folder, name);
    const changedMs = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => -Infinity,
    );
    const record = changedMs > latestMs ? await readRecord(path) : null;
    if (record !== null) [latest, latestMs] = [record, changedMs];
  }
  return latest;
}

async function readRecord(path: string): Promise<StreamRecord | null> {
  const found = await readPlain(path, MAX_BYTES).catch(() => null);
  if (found === null || !('bytes' in found)) return null;
  const [digest, ...rest] = found.bytes.toString('utf8').split('\n');
  const text = rest.join('\n');
  return digest === digestOf(text) ? (JSON.parse(text) as StreamRecord) : null;
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
