import { fold } from '../tagging/rules.js';
import { slugOf } from '../tagging/slug.js';

/** Whether a name is the one that is meant. */
export type LabelMatch = (name: string) => boolean;

/** @param wanted the name of a label or group in any case, or its slug */
export function createLabelMatch(wanted: string): LabelMatch {
  const folded = fold(wanted);
  /** The same few names come again and again. */
  const known = new Map<string, boolean>();
  return (name) => {
    const answer = known.get(name);
    if (answer !== undefined) return answer;
    const fits = fold(name) === folded || slugOf(name) === folded;
    if (known.size < 10_000) known.set(name, fits);
    return fits;
  };
}
