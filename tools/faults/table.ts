import type { FaultRow } from './main.js';

/** The rows as a Markdown table, which reads as well in a terminal. */
export function formatTable(rows: readonly FaultRow[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const lines = rows.map(({ name, fault, promise, measured, pass }) =>
    [name, fault, promise, measured, pass === null ? 'not run' : pass ? 'yes' : '**NO**']
      .map(cell)
      .join(' | '),
  );
  return `| name | fault | promise | measured | kept |
| --- | --- | --- | --- | --- |
${lines.map((line) => `| ${line} |`).join('\n')}
`;
}
