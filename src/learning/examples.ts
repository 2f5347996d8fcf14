import { SoundpostError } from '../common/errors.js';
import { normalised, type Normaliser } from './normaliser.js';
import { meanOf, type Rows } from './rows.js';

/** Of fewer nobody can tell whether they are found again. */
export const FEWEST_EXAMPLES = 3;
/** More teach nothing new, and take their time. */
export const MOST_EXAMPLES = 50;
/** The cosine of two means from which on two examples may be the same sound; see docs/learning.md. */
const ALIKE = 0.4;

/**
 * Whether a sound can be taught from so many examples.
 * @throws SoundpostError `learn_too_few`, `invalid_request`.
 */
export function checkExampleCount(name: string, count: number): void {
  if (count < FEWEST_EXAMPLES) {
    const more = FEWEST_EXAMPLES - count;
    throw new SoundpostError(
      'learn_too_few',
      `"${name}" has ${count} ${count === 1 ? 'example' : 'examples'}; at least ${FEWEST_EXAMPLES} are needed. Give ${more} more.`,
    );
  }
  if (count > MOST_EXAMPLES) {
    throw new SoundpostError(
      'invalid_request',
      `"${name}" has ${count} examples; at most ${MOST_EXAMPLES} are taken.`,
    );
  }
}

/**
 * Whether the examples may be one sound: two that are alike belong together, and so do those that each is alike to
 * (single linkage); all have to be together then. Alike is how the means of their frames lie, as seen from the mean of
 * the background.
 * @param names what the examples are called in the message
 * @throws SoundpostError `learn_differ` naming those that are not like the others.
 */
export function checkAlike(
  examples: readonly Rows[],
  normaliser: Normaliser,
  names: readonly string[],
): void {
  const means = examples.map((rows) => meanOf(normalised(rows, normaliser)));
  const group = means.map((_, n) => n);
  const find = (n: number): number => (group[n] === n ? n : find(group[n]!));
  for (let n = 0; n < means.length; n += 1) {
    for (let other = 0; other < n; other += 1) {
      if (cosine(means[n]!, means[other]!) >= ALIKE) group[find(n)] = find(other);
    }
  }
  const sizes = new Map<number, string[]>();
  names.forEach((name, n) => sizes.set(find(n), [...(sizes.get(find(n)) ?? []), name]));
  if (sizes.size === 1) return;
  const [largest, ...others] = [...sizes.values()].sort((one, other) => other.length - one.length);
  const strangers = others.flat();
  const than =
    largest!.length === 1 ? 'None of the examples sounds like another' : whichDiffer(strangers, largest!);
  throw new SoundpostError(
    'learn_differ',
    `${than}. Leave out what is another sound, or teach it under a name of its own.`,
  );
}

function whichDiffer(strangers: readonly string[], largest: readonly string[]): string {
  const verb = strangers.length === 1 ? 'does not sound' : 'do not sound';
  return `${strangers.join(', ')} ${verb} like ${largest.join(', ')}`;
}

function cosine(one: Float64Array, other: Float64Array): number {
  let product = 0;
  let own = 0;
  let others = 0;
  for (let d = 0; d < one.length; d += 1) {
    product += one[d]! * other[d]!;
    own += one[d]! ** 2;
    others += other[d]! ** 2;
  }
  return own === 0 || others === 0 ? 0 : product / Math.sqrt(own * others);
}
