/*
 * How often a threshold would have fired. The history has the highest score of each stretch of a minute or more, so
 * what happens twice within one stretch counts once: the number is what there was at least.
 */

export interface ScorePoint {
  /** When the stretch begins, in ms since the epoch. */
  atMs: number;
  /** The highest score in it. */
  score: number;
}

/**
 * Counts the sounds that would have started. As in the service a sound goes on until the score falls below a part of
 * the threshold.
 * @param offFraction that part, 0 to 1 (`tagging.off_fraction`)
 * @param stepMs how long a stretch is; one that is missing ends a sound
 */
export function countFirings(
  points: readonly ScorePoint[],
  threshold: number,
  offFraction: number,
  stepMs: number,
): number {
  let count = 0;
  let isOn = false;
  let lastMs = -Infinity;
  for (const { atMs, score } of points) {
    if (atMs - lastMs > 1.5 * stepMs) isOn = false;
    lastMs = atMs;
    if (isOn) isOn = score >= threshold * offFraction;
    else if (score >= threshold) {
      isOn = true;
      count += 1;
    }
  }
  return count;
}

/**
 * How often the device says that it would have started; null where it has not counted nearly all of the time that there
 * are scores of (another model or other rules were at work, or it was not watched), or not with such a threshold.
 * @param onsets by hundredths of the threshold, from 0.01 on
 * @param heardMs how much sound was counted
 * @param scoredMs how much there are scores of
 */
export function countedFirings(
  { onsets, heardMs }: { onsets: readonly number[]; heardMs: number },
  threshold: number,
  scoredMs: number,
): number | null {
  if (heardMs < 0.9 * scoredMs) return null;
  return onsets[Math.round(threshold * 100) - 1] ?? null;
}

/**
 * For a line in steps: each score holds to the end of its stretch, and where a stretch is missing the line breaks.
 * Times are in seconds since the epoch.
 */
export function stepsOf(
  points: readonly ScorePoint[],
  stepMs: number,
): { seconds: number[]; scores: (number | null)[] } {
  const seconds: number[] = [];
  const scores: (number | null)[] = [];
  points.forEach(({ atMs, score }, index) => {
    seconds.push(atMs / 1000);
    scores.push(score);
    const next = points[index + 1];
    if (next !== undefined && next.atMs - atMs <= 1.5 * stepMs) return;
    const endMs = atMs + stepMs;
    seconds.push((endMs - 1) / 1000, endMs / 1000);
    scores.push(score, null);
  });
  return { seconds, scores };
}
