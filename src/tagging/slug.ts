/** Longest slug before a suffix: a topic level that still fits on a screen. */
const maxLength = 64;

/**
 * The name of a watched item as one level of a topic: lower case, accents taken off, runs of anything but a-z
 * and 0-9 as one `_`, no `_` at either end, at most 64 characters. A name of which nothing is left (written in
 * another script) becomes `label_` and a hash of it, so that it is never empty and the same on every machine.
 */
export function slugOf(name: string): string {
  const slug = name
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .slice(0, maxLength)
    .replace(/^_+|_+$/g, '');
  return slug === '' ? `label_${hashOf(name)}` : slug;
}

/**
 * One slug per name, in the order of the names, all different: a name whose slug another one has already taken
 * gets `_2`, `_3` and so on. Names that need no suffix keep their slug whatever comes before them.
 */
export function uniqueSlugs(names: readonly string[]): string[] {
  const natural = names.map(slugOf);
  const reserved = new Set(natural);
  const used = new Set<string>();
  return natural.map((slug) => {
    let unique = slug;
    for (let count = 2; used.has(unique); count += 1) {
      const candidate = `${slug}_${count}`;
      if (!reserved.has(candidate)) unique = candidate;
    }
    used.add(unique);
    return unique;
  });
}

/** FNV-1a, 32 bits, over UTF-16 code units (Fowler, Noll, Vo: offset basis 2166136261, prime 16777619). */
function hashOf(text: string): string {
  let hash = 2166136261;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 16777619);
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}
