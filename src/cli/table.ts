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
