import type { Label } from '../models/labels.js';

/** One named score, as in the payload of `B/tags`. */
export interface Tag {
  label: string;
  mid: string | null;
  /** 0 … 1, unrounded. */
  score: number;
}

/**
 * The `k` labels with the highest scores, highest first, equal ones in the model's order. `scores` is
 * [labels], by `Label.index`; a score that is not a number counts as absent.
 */
export function topTags(scores: ArrayLike<number>, labels: readonly Label[], k: number): Tag[] {
  const top: Tag[] = [];
  for (const label of labels) {
    const score = scores[label.index];
    if (score === undefined || Number.isNaN(score)) continue;
    const last = top[top.length - 1];
    if (top.length >= k && !(last && score > last.score)) continue;
    let place = top.length;
    while (place > 0 && top[place - 1]!.score < score) place -= 1;
    top.splice(place, 0, { label: label.name, mid: label.mid, score });
    if (top.length > k) top.pop();
  }
  return top;
}
