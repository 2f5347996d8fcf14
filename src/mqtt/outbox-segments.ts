import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOfErrno } from '../common/errno.js';
import { createTurns } from '../common/turns.js';
import type { OutboxRecord } from './outbox-record.js';
import type { OutboxState, Segment } from './outbox-replay.js';
import type { Change, Contents, StoredEvent } from './outbox-store.js';
import { readTexts } from './outbox-texts.js';
import { openAppender, SEGMENT_BYTES } from './segment-appender.js';
import { createWaitingIndex } from './waiting-index.js';

/** More than any file has: a write is a quarter of the room at most. */
export const MAX_SEGMENT_BYTES = 3_000_000_000;
/** A file of which more than this waits is left as it is. */
const WORTH_MOVING_BYTES = SEGMENT_BYTES / 2;
const MOVED_TOGETHER = 256;

/** The files of the outbox at work: appends, finds, and gives back room. */
export interface Segments {
  /** As `OutboxStore`. After a write that failed all others fail: the file may end in half of it. */
  write(changes: readonly Change[], sync: boolean): Promise<void>;
  read(after: number, limit: number): Promise<StoredEvent[]>;
  contents(): Contents;
  begun(): { id: string; text: string }[];
  aliveMs(): number | null;
  compact(): Promise<void>;
  close(): Promise<void>;
}

/** `state` is what the files in `segments` add up to; both are taken over. Begins a new file, which shows that it can. */
export async function createSegments(options: {
  folder: string;
  segments: Segment[];
  state: OutboxState;
}): Promise<Segments> {
  const { folder, segments, state } = options;
  const index = createWaitingIndex(state);
  const inTurn = createTurns();
  const newest = await openAppender({
    folder,
    segments,
    state,
    take: (segment, written) => index.take(segment, written),
  });

  /** Deletes the oldest files of which nothing waits any more. */
  async function dropEmpty(): Promise<void> {
    while (segments[0] !== newest.segment && segments[0]!.keys.size === 0 && segments[0]!.begun.size === 0) {
      await rm(join(folder, segments[0]!.name), { force: true });
      segments.shift();
    }
    index.tidy();
  }

  const textsOf = (wanted: readonly number[]): Promise<StoredEvent[]> =>
    readTexts(folder, wanted, (key) => state.events.get(key));

  /** Writes once more what is still of use of the oldest file, and deletes it. */
  async function moveOldest(oldest: Segment): Promise<void> {
    const moving = [...oldest.keys].sort((one, other) => one - other);
    for (let n = 0; n < moving.length; n += MOVED_TOGETHER) {
      const texts = await textsOf(moving.slice(n, n + MOVED_TOGETHER));
      await newest.append(
        texts.map(({ key, text }) => ({ kind: 'moved', key, text })),
        false,
      );
    }
    const begun: OutboxRecord[] = [...oldest.begun].flatMap((id) => {
      const text = state.begun.get(id)?.text;
      return text === undefined ? [] : [{ kind: 'begun', id, text }];
    });
    await newest.append(begun, true);
    await dropEmpty();
  }

  await dropEmpty();

  return {
    write: (changes, sync) =>
      inTurn(async () => {
        await newest.makeRoom();
        await newest.append(
          changes.map(recordOf).filter((record) => record.kind !== 'removed' || state.events.has(record.key)),
          sync,
        );
        await dropEmpty();
      }),
    // Not in turn: a write that hangs holds up no reading.
    async read(after, limit) {
      const wanted = index.after(after, limit);
      return textsOf(wanted).catch((error: unknown) => {
        // Moved to another file in between, or really gone.
        if (codeOfErrno(error) === 'ENOENT') return textsOf(wanted);
        throw error;
      });
    },
    contents: () => ({ events: state.events.size, bytes: index.bytes, lastKey: state.lastKey }),
    begun: () => [...state.begun].map(([id, { text }]) => ({ id, text })),
    aliveMs: () => state.aliveMs,
    compact: () =>
      inTurn(async () => {
        const until = newest.segment;
        while (segments[0] !== undefined && segments[0] !== until) {
          const [oldest] = segments;
          const waits = [...oldest.keys].reduce((sum, key) => sum + index.sizeOf(key), 0);
          if (waits > WORTH_MOVING_BYTES) break;
          await newest.makeRoom();
          await moveOldest(oldest);
        }
      }),
    close: () => inTurn(() => newest.close()),
  };
}

function recordOf(change: Change): OutboxRecord {
  if ('put' in change) return { kind: 'event', ...change.put };
  if ('remove' in change) return { kind: 'removed', key: change.remove };
  if ('begin' in change) return { kind: 'begun', id: change.begin, text: change.text };
  if ('end' in change) return { kind: 'over', id: change.end };
  return { kind: 'alive', atMs: change.alive };
}
