import type { Ledger, Sized } from './outbox-ledger.js';
import { bytesOf, type Change, type OutboxStore } from './outbox-store.js';
import type { Unended } from './unended.js';
import type { WaitingEvent, WaitingEvents } from './waiting-events.js';

/** Events that are looked at together where room has to be made. */
const OLDEST_TOGETHER = 32;

/** What one write is made of. */
export interface BatchSources {
  /** Events of which the oldest go into the write. */
  waiting: WaitingEvents;
  /** Which events are to be removed, and how much room there is. */
  ledger: Ledger;
  unended: Unended;
  /** Room for events, in bytes before compression. */
  maxBytes: number;
  /** The wall clock, ms since the epoch. */
  now: () => number;
  /** An event was thrown out to make room. `delivered`: the broker has got it in the meantime. */
  onThrownOut: (key: number, delivered: boolean) => void;
}

/**
 * Writes the oldest events that wait, with the removals that are owed and what the store has to know of sounds that
 * are on; throws out the oldest on the disk where there is no room. All of it or nothing: rejects with the disk's
 * reason, and nothing has changed then.
 */
export async function writeBatch(to: OutboxStore, sources: BatchSources): Promise<void> {
  const { waiting, ledger, unended, maxBytes, now, onThrownOut } = sources;
  // So small that the rest of the room can always be made free for it.
  const batch = waiting.batch(maxBytes / 4);
  const gone = ledger.removals();
  const owed = unended.owed();
  const room = maxBytes - ledger.bytes + sum(gone.map(([, bytes]) => bytes));
  const outdated = await oldest(to, sum(batch.map(([, { bytes }]) => bytes)) - room, ledger);
  await to.write(
    [
      ...[...gone, ...outdated].map(([key]) => ({ remove: key })),
      ...owed,
      ...batch.flatMap(([key, entry]) => changesOf(key, entry, unended)),
      ...(unended.any ? [{ alive: now() }] : []),
    ],
    batch.length + owed.length > 0,
  );
  unended.paid(owed);
  ledger.removed(gone);
  for (const event of outdated) onThrownOut(event[0], ledger.thrownOut(event));
  for (const [key, { event, bytes }] of batch) {
    ledger.landed([key, bytes]);
    unended.wrote(event);
    // It may have been read from memory, and acknowledged, or given up, while it was being written.
    if (waiting.release(key) === null) ledger.acknowledged([key, bytes]);
  }
}

function changesOf(key: number, { event, text }: WaitingEvent, unended: Unended): Change[] {
  return [{ put: { key, text } }, ...unended.changesOf(event, text)];
}

/** The oldest events on the disk with `bytes` between them, none where that is not positive. */
async function oldest(from: Pick<OutboxStore, 'read'>, bytes: number, ledger: Ledger): Promise<Sized[]> {
  const found: Sized[] = [];
  let missing = bytes;
  let after = ledger.floor;
  while (missing > 0) {
    const next = await from.read(after, OLDEST_TOGETHER);
    if (next.length === 0) break;
    for (const { key, text } of next) {
      after = key;
      if (missing <= 0) break;
      if (ledger.isAcknowledged(key)) continue;
      found.push([key, bytesOf(text)]);
      missing -= bytesOf(text);
    }
  }
  return found;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
