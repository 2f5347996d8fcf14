/** A list in a document that may be cut: how to read it, and how to put a shorter one in its place. */
export interface CutList<Document> {
  readonly name: string;
  read(document: Document): readonly unknown[];
  write(document: Document, list: readonly unknown[]): Document;
}

/**
 * Cuts the longest lists of a document until it is small enough for every broker; what comes last goes first.
 * @param maxBytes of the document as JSON in UTF-8
 * @returns the document, and how many entries of each list were left out, those without any left out
 */
export function bounded<Document>(
  document: Document,
  lists: readonly CutList<Document>[],
  maxBytes: number,
): { document: Document; omitted: Record<string, number> } {
  const omitted: Record<string, number> = {};
  let now = document;
  while (bytesOf(now) > maxBytes) {
    const sizes = lists.map((list) => bytesOf(list.read(now)));
    const largest = lists[sizes.indexOf(Math.max(...sizes))];
    const entries = largest?.read(now) ?? [];
    if (largest === undefined || entries.length === 0) break;
    const kept = Math.floor(entries.length / 2);
    omitted[largest.name] = (omitted[largest.name] ?? 0) + entries.length - kept;
    now = largest.write(now, entries.slice(0, kept));
  }
  return { document: now, omitted };
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
