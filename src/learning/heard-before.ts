import type { HeardBackground } from './background.js';
import type { EmbeddedExample } from './leave-one-out.js';
import { normalised, type Normaliser } from './normaliser.js';
import { restore } from './quantised.js';
import { joinRows, pickRows, rowAt, type Rows } from './rows.js';

/** What the device had heard of a sound before it was taught. */
export interface HeardBefore {
  /** What is left of the background. */
  readonly background: HeardBackground;
  /** So many sounds of the background are taken for the one that is taught. */
  readonly sounds: number;
  /** They are too many to be left out, so they are not: a sound that is there all day. */
  readonly isCommon: boolean;
}

/** At most this share of the moments is left out: a quarter of an hour of a day … */
const MOST_SHARE = 0.01;
/** … but so many at least, where little was heard. */
const FEWEST_MOMENTS = 10;
/** Frames of all examples together that the background is held against; more would only take longer. */
const MOST_FRAMES = 120;
const FEWEST_FRAMES_EACH = 4;
/** A moment of a second may hold only the end of a sound, so half of its frames have to be like it. */
const SOUNDING_SHARE = 0.5;
/** What lies so near belongs to the same sound. */
const MARGIN_MS = 1000;

/**
 * Leaves out of the background what is the taught sound itself: a doorbell that rang before it was taught would be
 * learnt as something else, and push its own threshold up. These are "hidden positives" among what is unlabelled (Liu,
 * Lee, Yu and Li, Partially Supervised Classification of Text Documents, ICML 2002, find them as this does: the limit is
 * what known positives get when they are treated as unknown ones).
 *
 * How near a sound is to others is the mean, over its frames, of the cosine to the nearest frame of theirs, as seen from
 * the mean of the background. Each example, with its louder, quieter and noisier copies, is held against the others; the
 * limit is that of the example that is least like them. A moment of the background belongs to the sound where the half
 * of its frames that is most like the examples is as near to them as that. The head has no say in it: other sounds that
 * it would take for this one have to stay.
 */
export function leaveOutHeardBefore(
  examples: readonly EmbeddedExample[],
  background: HeardBackground,
  { normaliser, minGapSeconds }: { normaliser: Normaliser; minGapSeconds: number },
): HeardBefore {
  const { rows, moments } = background;
  const each = Math.max(FEWEST_FRAMES_EACH, Math.floor(MOST_FRAMES / examples.length));
  const known = examples.map(({ taught }) =>
    directions(pickRows(taught, evenly(taught.count, each)), normaliser),
  );
  const limit = Math.min(
    ...known.map((one, n) => meanOfBest(one, joinRows(known.toSpliced(n, 1), one.dim), 1)),
  );
  const all = joinRows(known, known[0]!.dim);
  const own = moments.filter(({ first, count }) => {
    const frames = restore(
      rows,
      Array.from({ length: count }, (_, n) => first + n),
    );
    return count > 0 && meanOfBest(directions(frames, normaliser), all, SOUNDING_SHARE) >= limit;
  });
  const sounds = countSounds(own, minGapSeconds);
  if (own.length > Math.max(FEWEST_MOMENTS, MOST_SHARE * moments.length))
    return { background, sounds, isCommon: true };
  if (own.length === 0) return { background, sounds, isCommon: false };
  const left = moments.filter((moment) => !own.some((one) => isBeside(moment, one)));
  const heardSeconds = left.reduce((sum, { seconds }) => sum + seconds, 0);
  return { background: { rows, moments: left, heardSeconds }, sounds, isCommon: false };
}

type Moment = HeardBackground['moments'][number];

function isBeside(moment: Moment, own: Moment): boolean {
  return (
    moment.source === own.source &&
    moment.atMs < own.atMs + own.seconds * 1000 + MARGIN_MS &&
    own.atMs < moment.atMs + moment.seconds * 1000 + MARGIN_MS
  );
}

/** Moments of one source that are no further apart than the gap are one sound. */
function countSounds(own: readonly Moment[], minGapSeconds: number): number {
  const endsMs = new Map<string, number>();
  let count = 0;
  for (const { source, atMs, seconds } of own) {
    if (atMs - (endsMs.get(source) ?? -Infinity) > minGapSeconds * 1000) count += 1;
    endsMs.set(source, atMs + seconds * 1000);
  }
  return count;
}

/** Rows of length 1, as seen from the mean of the background; what lies on it has no direction and stays 0. */
function directions(rows: Rows, normaliser: Normaliser): Rows {
  const { values, count, dim } = normalised(rows, normaliser);
  for (let at = 0; at < values.length; at += dim) {
    let square = 0;
    for (let d = 0; d < dim; d += 1) square += values[at + d]! ** 2;
    const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let d = 0; d < dim; d += 1) values[at + d]! *= scale;
  }
  return { values, count, dim };
}

/** Each row's product with the nearest of `others`; the mean of the highest `share` of these. */
function meanOfBest(rows: Rows, others: Rows, share: number): number {
  const nearest = new Float64Array(rows.count);
  for (let n = 0; n < rows.count; n += 1) {
    const row = rowAt(rows, n);
    let most = -1;
    for (let at = 0; at < others.values.length; at += others.dim) {
      let product = 0;
      for (let d = 0; d < row.length; d += 1) product += row[d]! * others.values[at + d]!;
      if (product > most) most = product;
    }
    nearest[n] = most;
  }
  const kept = Math.max(1, Math.ceil(share * rows.count));
  return (
    nearest
      .sort()
      .subarray(rows.count - kept)
      .reduce((sum, one) => sum + one, 0) / kept
  );
}

/** At most `most` places of `count`, evenly. */
function evenly(count: number, most: number): number[] {
  const kept = Math.min(count, most);
  return Array.from({ length: kept }, (_, n) => Math.floor((n * count) / kept));
}
