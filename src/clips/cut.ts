/** How much is kept around an event, in ms. */
export interface CutRule {
  beforeMs: number;
  afterMs: number;
  /** The longest clip. */
  maxMs: number;
}

/** A stretch of sound, from the first sample up to, not including, the last; positions as in `HeardSound`. */
export interface Cut {
  from: number;
  to: number;
}

/**
 * Where a clip of an event begins and ends. One that is too long loses its end: what began it is what is wanted.
 *
 * @param started the position of the onset
 * @param ended that of the offset; null while it is on
 * @param oldest the first position that is kept: earlier sound is gone
 */
export function cutAround(
  rule: CutRule,
  captureRateHz: number,
  started: number,
  ended: number | null,
  oldest: number,
): Cut {
  const samples = (ms: number) => Math.round((ms * captureRateHz) / 1000);
  const from = Math.max(oldest, started - samples(rule.beforeMs));
  const longest = from + samples(rule.maxMs);
  const to = ended === null ? longest : Math.min(longest, Math.max(started, ended) + samples(rule.afterMs));
  return { from, to: Math.max(from, to) };
}
