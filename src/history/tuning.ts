/** What the history waits for and how long; how much it keeps in memory. */
export interface HistoryTuning {
  /** The most that waits in memory while the disk cannot be written to, of events, of scores, and of firings. */
  readonly eventBytes: number;
  readonly scoreBytes: number;
  readonly firingBytes: number;
  /** A write that takes longer is said to have failed, though it is still waited for. */
  readonly patienceMs: number;
  /** Growing delays between attempts to use the disk again. */
  readonly firstRetryMs: number;
  readonly maxRetryMs: number;
  /** So often it is looked whether something has grown too old, also where nothing is written. */
  readonly tidyMs: number;
  /** How long `close()` waits for a disk that does not answer. */
  readonly closeMs: number;
  /** A clock that never jumps, in ms. */
  readonly monotonicMs: () => number;
}

export const defaultTuning: HistoryTuning = {
  eventBytes: 1024 * 1024,
  scoreBytes: 512 * 1024,
  firingBytes: 256 * 1024,
  patienceMs: 10_000,
  firstRetryMs: 5000,
  maxRetryMs: 60_000,
  tidyMs: 3_600_000,
  closeMs: 3000,
  monotonicMs: () => performance.now(),
};
