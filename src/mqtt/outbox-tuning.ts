/** What the outbox on a disk waits for and how long; how much it keeps where. */
export interface OutboxTuning {
  /** The most that waits in memory while the disk cannot be written to. */
  maxMemoryBytes: number;
  /** Acknowledged events are taken from the disk together, after this time at the latest. */
  removeAfterMs: number;
  /** A write that takes longer than this keeps events from the broker no more. */
  writePatienceMs: number;
  /** Growing delays between attempts to use the disk again. */
  firstRetryMs: number;
  maxRetryMs: number;
  /** While a sound is on, the store learns so often that the service is at work. */
  aliveMs: number;
  /** When so much has been removed, its room is given back to the disk. */
  compactAfterBytes: number;
  /** How long `close()` waits for a disk that does not answer. */
  closeMs: number;
}

export const defaultTuning: OutboxTuning = {
  maxMemoryBytes: 4 * 1024 * 1024,
  removeAfterMs: 200,
  writePatienceMs: 10_000,
  firstRetryMs: 5000,
  maxRetryMs: 60_000,
  aliveMs: 2000,
  compactAfterBytes: 8 * 1024 * 1024,
  closeMs: 3000,
};
