/**
 * Edit distance (Levenshtein) of two words, in characters inserted, deleted or replaced; `limit + 1` as soon as
 * it is known to be more than `limit`.
 */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    if (Math.min(...next) > limit) return limit + 1;
    row = next;
  }
  return row[b.length]!;
}

/** The candidate that was probably meant by `word`, or undefined where none comes near. Case does not count. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  // A slip in three letters is a guess; more would suggest things that have nothing in common.
  const limit = Math.min(4, Math.max(1, Math.floor(word.length / 3)));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase(), bestDistance - 1);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** So many guesses help; more are a list. */
const MOST_GUESSES = 3;
/** Of what is longer, no name is a misspelling. */
const LONGEST_WORD = 100;

/**
 * Up to three of the names that may have been meant by `word`, the likeliest first: those that contain it or are
 * contained in it, then those that few changes of letters turn into it. Case does not count.
 */
export function guesses(word: string, names: Iterable<string>): string[] {
  const want = word.trim().toLowerCase();
  if (want === '' || want.length > LONGEST_WORD) return [];
  const limit = Math.max(2, Math.floor(want.length * 0.4));
  return [...new Set(names)]
    .map((name) => {
      const folded = name.trim().toLowerCase();
      const isWithin = folded.includes(want) || (folded.length >= 3 && want.includes(folded));
      const rank = isWithin
        ? Math.abs(folded.length - want.length) / 1000
        : editDistance(want, folded, limit);
      return { name, rank };
    })
    .filter(({ rank }) => rank <= limit)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MOST_GUESSES)
    .map(({ name }) => name);
}

/**
 * ` Did you mean A, B or C?`, to be put behind a sentence that says that there is no `word`; empty where no name comes
 * near. Names that are no plain word are quoted.
 */
export function didYouMean(word: string, names: Iterable<string>): string {
  const meant = guesses(word, names).map((name) => (/^[\w.+-]+$/.test(name) ? name : `"${name}"`));
  const last = meant.pop();
  if (last === undefined) return '';
  return ` Did you mean ${meant.length === 0 ? last : `${meant.join(', ')} or ${last}`}?`;
}
