import { highestOf, type Head } from './head.js';
import type { Rows } from './rows.js';

/** An example as it is taught: the frames in which it sounds. */
export interface EmbeddedExample {
  /** Of the example and of its augmented copies: what is learnt from. */
  readonly taught: Rows;
  /** Of the example alone: what has to be found again. */
  readonly plain: Rows;
}

/**
 * The highest logit of each example under a head that was trained without it (and without its copies): what a new
 * instance of the sound may be expected to get (leave-one-out cross-validation, Stone 1974).
 * @param train makes a head of all examples but one
 */
export function leaveOneOut(
  examples: readonly EmbeddedExample[],
  train: (others: readonly Rows[]) => Head,
): number[] {
  return examples.map(({ plain }, left) => {
    const others = examples.flatMap(({ taught }, n) => (n === left ? [] : [taught]));
    return highestOf(train(others), plain);
  });
}
