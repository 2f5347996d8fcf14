/** The cells of a line, or what is wrong with it. */
export type Cells = readonly string[] | { fault: string };

/** A line of tab-separated values: nothing is quoted. */
export function cellsOfTsv(line: string): Cells {
  return line.split('\t').map((cell) => cell.trim());
}

/**
 * A line of comma-separated values (RFC 4180), and with blanks around the quotes, as AudioSet has them. A value does not
 * reach over the end of the line.
 */
export function cellsOfCsv(line: string): Cells {
  const cells: string[] = [];
  let at = 0;
  for (;;) {
    while (line[at] === ' ' || line[at] === '\t') at += 1;
    if (line[at] === '"') {
      const end = endOfQuotes(line, at + 1);
      if (end === -1) return { fault: 'a closing quote (") is missing' };
      cells.push(
        line
          .slice(at + 1, end)
          .replaceAll('""', '"')
          .trim(),
      );
      at = end + 1;
      while (line[at] === ' ' || line[at] === '\t') at += 1;
      if (at < line.length && line[at] !== ',') return { fault: 'there is text behind a closing quote (")' };
    } else {
      const comma = line.indexOf(',', at);
      const end = comma === -1 ? line.length : comma;
      cells.push(line.slice(at, end).trim());
      at = end;
    }
    if (at >= line.length) return cells;
    at += 1;
  }
}

/** Where the quoted text that begins at `from` ends: at a quote that is not doubled; -1 where it does not. */
function endOfQuotes(line: string, from: number): number {
  for (let at = from; at < line.length; at += 1) {
    if (line[at] !== '"') continue;
    if (line[at + 1] !== '"') return at;
    at += 1;
  }
  return -1;
}
