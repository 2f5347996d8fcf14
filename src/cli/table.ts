/** Where a line ends that is not shown on a terminal, and the least that a terminal is taken to have. */
const DEFAULT_COLUMNS = 100;
const LEAST_COLUMNS = 40;

/** How many characters fit on a line of the output. */
export function terminalWidth(stream: { columns?: number | undefined; isTTY?: boolean }): number {
  return stream.isTTY === true && stream.columns !== undefined
    ? Math.max(LEAST_COLUMNS, stream.columns)
    : DEFAULT_COLUMNS;
}

/** Text in columns two spaces apart, the first row being the heading; the last column is not padded. */
export function table(rows: readonly (readonly string[])[], widest = 48): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    // A long value must not push the columns behind it out of sight.
    Math.min(widest, Math.max(...rows.map((row) => row[column]?.length ?? 0))),
  );
  return rows
    .map((row) => {
      const cells = row.map((cell, column) =>
        column < columns - 1 ? cell.padEnd(widths[column] ?? 0) : cell,
      );
      return `${cells.join('  ').trimEnd()}\n`;
    })
    .join('');
}

/** Puts parts in a row, ` · ` between them, on as many lines of `width` characters as it takes. */
export function flow(parts: readonly string[], width: number): string[] {
  const separator = ' · ';
  const lines: string[] = [];
  for (const part of parts) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + separator.length + part.length <= width) {
      lines[lines.length - 1] = line + separator + part;
    } else {
      lines.push(part);
    }
  }
  return lines.length === 0 ? [''] : lines;
}

/** What fits of a text on a line of `width` characters. */
export function clip(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

/** A time of a recording: `1:02:03.4`. */
export function clock(seconds: number, decimals: number): string {
  const perSecond = 10 ** decimals;
  const units = Math.round(seconds * perSecond);
  const hours = Math.floor(units / (3600 * perSecond));
  const minutes = Math.floor(units / (60 * perSecond)) % 60;
  const rest = ((units % (60 * perSecond)) / perSecond).toFixed(decimals).padStart(3 + decimals, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}
