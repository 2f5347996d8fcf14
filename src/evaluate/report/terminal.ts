import { describeMachine } from '../../bench/models/table.js';
import { cellText, describeList, labelColumns, modelColumns, remarks, type TableColumn } from './columns.js';
import type { EvaluationReport, ModelReport } from './report.js';

const WIDEST_NAME = 40;

/** The report for a terminal: the models side by side, then the labels. */
export function formatTerminal(report: EvaluationReport): string {
  const done = report.models.filter(({ error }) => error === null);
  const [only] = done;
  const parts = [describeList(report), describeMachine(report.machine), ''];
  if (done.length > 0) parts.push(rightAligned(modelColumns(report), done), '');
  if (only !== undefined && done.length === 1) {
    parts.push(rightAligned(labelColumns(only, report.settings.precision), only.labels), '');
  } else if (done.length > 1) {
    parts.push(`Average precision of each label:`, comparison(done), '');
  }
  for (const { id, error } of report.models) if (error !== null) parts.push(`FAILED ${id}: ${error.message}`);
  parts.push(...remarks(report));
  return `${parts.join('\n').trimEnd()}\n`;
}

/** Each label with its average precision in each model. */
function comparison(models: readonly ModelReport[]): string {
  const names = [...new Set(models.flatMap(({ labels }) => labels.map(({ name }) => name)))];
  const columns: TableColumn<string>[] = [
    { heading: 'label', meaning: '', value: (name) => name, text: String },
    ...models.map(({ id, labels }): TableColumn<string> => {
      const byName = new Map(labels.map((label) => [label.name, label.average_precision]));
      return {
        heading: id,
        meaning: '',
        value: (name) => byName.get(name) ?? null,
        text: (value) => Number(value).toFixed(3),
      };
    }),
  ];
  return rightAligned(columns, names);
}

/** The first column to the left, the others to the right. */
function rightAligned<Row>(columns: readonly TableColumn<Row>[], rows: readonly Row[]): string {
  const cells = [
    columns.map(({ heading }) => heading),
    ...rows.map((row) => columns.map((column) => cellText(column, row))),
  ];
  const shown = cells.map(([first = '', ...rest]) => [
    first.length > WIDEST_NAME ? `${first.slice(0, WIDEST_NAME - 1)}…` : first,
    ...rest,
  ]);
  const widths = columns.map((_, column) => Math.max(...shown.map((row) => row[column]!.length)));
  return shown
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join('  '),
    )
    .join('\n');
}
