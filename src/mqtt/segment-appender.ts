import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../common/atomic-file.js';
import { linesOf, type WrittenRecord } from './outbox-lines.js';
import type { OutboxRecord } from './outbox-record.js';
import type { OutboxState, Segment } from './outbox-replay.js';

/** A file that has grown so large is followed by another. */
export const SEGMENT_BYTES = 1024 * 1024;

/** The number in the name of a file of the outbox, or null where it is another file. */
export function placeOf(name: string): number | null {
  const [, digits] = /^events-(\d{10})\.log$/.exec(name) ?? [];
  return digits === undefined ? null : Number(digits);
}

/** The newest file of the outbox: the one that is appended to. */
export interface Appender {
  readonly segment: Segment;
  /** Begins another file where this one has grown large. */
  makeRoom(): Promise<void>;
  /**
   * All of `records` or nothing. With `sync` it resolves once the disk says that they are safe from a loss of power.
   * After one that failed all others fail: the file may end in half of it.
   */
  append(records: readonly OutboxRecord[], sync: boolean): Promise<void>;
  close(): Promise<void>;
}

/**
 * Begins a new file in `folder`, behind those in `segments`, to which each new one is added. Nothing may be called while
 * something else is being done. Rejects with what the disk says, and leaves no file then.
 * @param take told of each record that has been written, and takes it into `state`
 */
export async function openAppender(options: {
  folder: string;
  segments: Segment[];
  state: Readonly<OutboxState>;
  take: (segment: Segment, written: WrittenRecord) => void;
}): Promise<Appender> {
  const { folder, segments, state, take } = options;
  let file: FileHandle | null = null;
  let broken: Error | null = null;
  let segment: Segment;

  async function begin(): Promise<void> {
    await file?.close();
    file = null;
    const place = (segments.at(-1)?.place ?? 0) + 1;
    const name = nameOf(place);
    const path = join(folder, name);
    file = await open(path, 'wx');
    segment = { name, place, bytes: 0, keys: new Set(), begun: new Set() };
    segments.push(segment);
    const alive: OutboxRecord[] = state.aliveMs === null ? [] : [{ kind: 'alive', atMs: state.aliveMs }];
    try {
      await append(alive, true);
    } catch (error) {
      // On a full disk every attempt would leave an empty file.
      await file.close();
      file = null;
      await rm(path, { force: true });
      throw error;
    }
    await syncFolder(folder);
  }

  async function append(records: readonly OutboxRecord[], sync: boolean): Promise<void> {
    if (broken !== null) throw broken;
    if (file === null) throw new Error('it is closed');
    const lines = linesOf(state, records, segment.bytes);
    try {
      await writeAll(file, lines.buffer, segment.bytes);
      if (sync) await file.datasync();
    } catch (error) {
      broken = error as Error;
      throw error;
    }
    segment.bytes += lines.buffer.length;
    for (const written of lines.records) take(segment, written);
  }

  await begin();

  return {
    get segment() {
      return segment;
    },
    async makeRoom() {
      if (segment.bytes >= SEGMENT_BYTES) await begin();
    },
    append,
    async close() {
      await file?.close();
      file = null;
    },
  };
}

async function writeAll(file: FileHandle, buffer: Buffer, at: number): Promise<void> {
  for (let done = 0; done < buffer.length;) {
    done += (await file.write(buffer, done, buffer.length - done, at + done)).bytesWritten;
  }
}

function nameOf(place: number): string {
  return `events-${String(place).padStart(10, '0')}.log`;
}
