import type { EventKeys } from './event-keys.js';
import type { GroupWriter } from '../common/group-writer.js';
import type { Ledger } from './outbox-ledger.js';
import type { OutboxReader } from './outbox-reader.js';
import type { Unended } from './unended.js';
import type { WaitingEvents } from './waiting-events.js';

/** The most removals that wait for a write. */
const MAX_REMOVALS = 256;

/** Takes out events that the broker has, or can never take, wherever they are. Removals from the disk go together. */
export interface Removal {
  /** A key that is not there is no error. */
  remove(key: number): void;
  /** No write is begun for removals that are only due later. */
  stop(): void;
}

/**
 * @param isHealthy whether the disk takes writes
 * @param afterMs how long a removal waits for others at most
 */
export function createRemoval(options: {
  keys: EventKeys;
  reader: OutboxReader;
  waiting: WaitingEvents;
  unended: Unended;
  ledger: Ledger;
  writer: GroupWriter;
  isHealthy: () => boolean;
  afterMs: number;
}): Removal {
  const { keys, reader, waiting, unended, ledger, writer, isHealthy, afterMs } = options;
  let timer: NodeJS.Timeout | null = null;

  function removeSoon(): void {
    if (ledger.owed >= MAX_REMOVALS) void writer.write();
    else
      timer ??= setTimeout(() => {
        timer = null;
        void writer.write();
      }, afterMs);
  }

  return {
    remove(key) {
      const present = keys.presentOf(key);
      const bytes = reader.take(present);
      const unwritten = waiting.release(present);
      if (unwritten !== null) {
        unended.left(unwritten.event, unwritten.text);
        if (isHealthy()) void writer.write();
      } else if (bytes !== undefined) {
        ledger.acknowledged([present, bytes]);
        removeSoon();
      }
    },
    stop: () => clearTimeout(timer ?? undefined),
  };
}
