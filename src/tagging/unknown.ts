import type { UnknownLabel } from './watch.js';

const MOST = 5;

/** The first of the unknown names, each with what it may have been meant to be, in the middle of a sentence. */
export function describeUnknown(unknown: readonly UnknownLabel[]): string {
  const named = unknown.slice(0, MOST).map(({ name, suggestions }) => {
    const near = suggestions.map((suggestion) => `"${suggestion}"`).join(', ');
    return near === '' ? `"${name}"` : `"${name}" (did you mean ${near}?)`;
  });
  const rest = unknown.length - named.length;
  return rest > 0 ? `${named.join(', ')} and ${rest} more` : named.join(', ');
}
