/** A number for people: two places below 10, one above; a dash where there is none. */
export const number = (value: number | null | undefined, unit = ''): string =>
  value === null || value === undefined || Number.isNaN(value)
    ? '–'
    : `${value.toFixed(Math.abs(value) < 10 ? 2 : 1)}${unit && ` ${unit}`}`;

/** Rows of cells as lines, the first column left-aligned and the others right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (found, row) => row.map((cell, column) => Math.max(found[column] ?? 0, cell.length)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}
