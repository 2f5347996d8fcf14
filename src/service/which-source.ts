import { SoundpostError } from '../common/errors.js';
import { didYouMean } from '../common/nearest.js';

/**
 * The sources that a request is about: the named one, or all. Throws SoundpostError `source_unknown`, which names those
 * there are.
 */
export function meantSources(name: string | undefined, names: readonly string[]): readonly string[] {
  if (name === undefined) return names;
  if (names.includes(name)) return [name];
  throw new SoundpostError(
    'source_unknown',
    `There is no source "${name}".${didYouMean(name, names)} ${listOf(names)}`,
  );
}

/** The same of anything that has a name. */
export function meant<T extends { readonly name: string }>(
  name: string | undefined,
  sources: readonly T[],
): readonly T[] {
  const names = meantSources(
    name,
    sources.map((source) => source.name),
  );
  return sources.filter((source) => names.includes(source.name));
}

/**
 * The one source that a request is about, where it can be about one only: the named one, or the only one that is
 * `fit`. Throws SoundpostError `source_unknown`, or `source_required` where several would be fit; null: none is.
 * @param fit those of `names` that could be meant
 * @param what what is looked for, in the plural
 */
export function meantSource(
  name: string | undefined,
  options: { names: readonly string[]; fit: readonly string[]; what: string },
): string | null {
  const { names, fit, what } = options;
  if (name !== undefined) return meantSources(name, names)[0] ?? null;
  if (fit.length <= 1) return fit[0] ?? null;
  throw new SoundpostError(
    'source_required',
    `There are several ${what}: say which, such as {"source":"${fit[0]}"}. They are: ${fit.join(', ')}.`,
  );
}

function listOf(names: readonly string[]): string {
  return names.length === 1 ? `The only one is ${names[0]}.` : `Those there are: ${names.join(', ')}.`;
}
