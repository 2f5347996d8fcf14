import { short } from '../../bench/models/table.js';
import type { EvaluationReport, LabelReport, ModelReport } from './report.js';

/** A column of a table: its heading, what it means, and how it is read from a row. */
export interface TableColumn<Row> {
  heading: string;
  meaning: string;
  value: (row: Row) => number | string | null;
  text: (value: number | string) => string;
}

const NONE = '–';

/** What a cell shows. */
export function cellText<Row>({ value, text }: TableColumn<Row>, row: Row): string {
  const found = value(row);
  return found === null ? NONE : text(found);
}

const plain = (value: number | string) => String(value);
const three = (value: number | string) => Number(value).toFixed(3);
const two = (value: number | string) => Number(value).toFixed(2);
const concise = (value: number | string) => short(Number(value));
/** Thresholds may be far below 0.001. */
const digits = (value: number | string) => String(Number(Number(value).toPrecision(3)));

/** The models of a report side by side. */
export function modelColumns(report: EvaluationReport): TableColumn<ModelReport>[] {
  const hasEvents = report.models.some(({ events }) => events !== null);
  const differ = report.models.some(
    ({ common, means }) => common !== null && common.labels !== means?.labels,
  );
  const columns: TableColumn<ModelReport>[] = [
    { heading: 'model', meaning: 'its id', value: ({ id }) => id, text: plain },
    {
      heading: 'mAP',
      meaning: 'mean over the labels of their average precision',
      value: ({ means }) => means?.map ?? null,
      text: three,
    },
    {
      heading: 'AUC',
      meaning: 'mean over the labels of the area under their ROC curve',
      value: ({ means }) => means?.auc ?? null,
      text: three,
    },
    {
      heading: "d'",
      meaning: 'd′ = √2 Φ⁻¹(AUC) of the mean AUC',
      value: ({ means }) => means?.d_prime ?? null,
      text: two,
    },
    {
      heading: 'labels',
      meaning: 'labels of the list that it knows and that these means are of',
      value: ({ means }) => means?.labels ?? null,
      text: plain,
    },
  ];
  if (differ) {
    columns.push({
      heading: 'mAP common',
      meaning: `mAP over the labels that all of the models know (${report.models.find(({ common }) => common !== null)?.common?.labels ?? 0}): compare these`,
      value: ({ common }) => common?.map ?? null,
      text: three,
    });
  }
  if (hasEvents) columns.push(...eventColumns);
  return [...columns, ...costColumns];
}

const eventColumns: TableColumn<ModelReport>[] = [
  {
    heading: 'F1',
    meaning:
      'event-based F1 of all labels together: onsets within 0.2 s, offsets within 0.2 s or a fifth of the length, with the thresholds that hold',
    value: ({ events }) => events?.f1 ?? null,
    text: three,
  },
  {
    heading: 'mean F1',
    meaning: 'mean over the labels of their event-based F1',
    value: ({ events }) => events?.mean_f1 ?? null,
    text: three,
  },
  {
    heading: 'PSDS1',
    meaning: 'polyphonic sound detection score, scenario 1 of DCASE task 4: at the right time',
    value: ({ events }) => events?.psds1.value ?? null,
    text: three,
  },
  {
    heading: 'PSDS2',
    meaning: 'the same, scenario 2: not taken for another label',
    value: ({ events }) => events?.psds2.value ?? null,
    text: three,
  },
];

const costColumns: TableColumn<ModelReport>[] = [
  {
    heading: 'ms/window',
    meaning: 'median of the latency of a whole window on this machine, ms',
    value: ({ cost }) => cost?.window_ms?.p50 ?? null,
    text: concise,
  },
  {
    heading: 'p95',
    meaning: 'the latency that 95 % of the windows stay below, ms',
    value: ({ cost }) => cost?.window_ms?.p95 ?? null,
    text: concise,
  },
  {
    heading: 'CPU ms',
    meaning: 'CPU time of the inference process for a whole window, ms',
    value: ({ cost }) => cost?.cpu_ms_per_window ?? null,
    text: concise,
  },
];

/** The labels of one model. */
export function labelColumns(
  { labels, pieces }: Pick<ModelReport, 'labels' | 'pieces'>,
  precision: number,
): TableColumn<LabelReport>[] {
  const columns: TableColumn<LabelReport>[] = [
    { heading: 'label', meaning: 'its name', value: ({ name }) => name, text: plain },
    {
      heading: 'in',
      meaning: `in how many of the ${pieces} pieces it is`,
      value: ({ positives }) => positives,
      text: plain,
    },
    {
      heading: 'AP',
      meaning: 'average precision',
      value: (label) => label.average_precision,
      text: three,
    },
    { heading: 'AUC', meaning: 'area under the ROC curve', value: ({ auc }) => auc, text: three },
    {
      heading: 'threshold',
      meaning: 'the threshold that holds with the configuration',
      value: (label) => label.in_force?.threshold ?? null,
      text: digits,
    },
    {
      heading: 'precision',
      meaning: 'with this threshold: how many of the pieces that are said to have it do',
      value: (label) => label.in_force?.precision ?? null,
      text: two,
    },
    {
      heading: 'recall',
      meaning: 'with this threshold: how many of the pieces that have it are found',
      value: (label) => label.in_force?.recall ?? null,
      text: two,
    },
    {
      heading: `for ${percent(precision)}`,
      meaning: `the lowest threshold whose precision is at least ${percent(precision)}`,
      value: (label) => label.wanted?.threshold ?? null,
      text: digits,
    },
    {
      heading: 'its recall',
      meaning: 'the recall with that threshold',
      value: (label) => label.wanted?.recall ?? null,
      text: two,
    },
  ];
  if (labels.some(({ events }) => events !== null)) {
    columns.push(
      {
        heading: 'events',
        meaning: 'how many there are',
        value: ({ events }) => events?.reference ?? null,
        text: plain,
      },
      {
        heading: 'found',
        meaning: 'how many were detected, rightly or not',
        value: ({ events }) => events?.detected ?? null,
        text: plain,
      },
      {
        heading: 'F1',
        meaning: 'event-based F1',
        value: ({ events }) => events?.f1 ?? null,
        text: three,
      },
    );
  }
  return columns;
}

/** `90 %` */
export function percent(part: number): string {
  return `${Number((100 * part).toPrecision(3))} %`;
}

const KINDS = {
  clips: ['recording', 'with labels'],
  segments: ['segment', 'with labels'],
  strong: ['recording', 'with sounds at their times'],
} as const;

/** What was evaluated, in a sentence. */
export function describeList({ list, settings }: EvaluationReport): string {
  const pieces = settings.piece_seconds === null ? '' : `, cut into pieces of ${settings.piece_seconds} s`;
  const [what, withWhat] = KINDS[list.kind];
  const counted = (count: number, name: string) => `${count} ${name}${count === 1 ? '' : 's'}`;
  return `${list.path}: ${counted(list.recordings, what)} ${withWhat} (${minutes(list.sound_seconds)}), ${counted(list.labels, 'label')}${pieces}`;
}

function minutes(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** From so few pieces on a label says little about itself. */
const FEW = 10;

/** What a reader has to know to read the figures rightly. */
export function remarks(report: EvaluationReport): string[] {
  const first = report.models.find(({ error }) => error === null);
  const labels = first?.labels ?? [];
  const few = labels.filter(({ positives }) => positives < FEW).length;
  const noRanking = labels.filter((label) => label.average_precision === null);
  const some = (names: readonly string[]) =>
    `${names.slice(0, 5).join('; ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;
  return [
    ...(few > 0
      ? [
          `${few} of ${labels.length} labels are in fewer than ${FEW} pieces: their figures are a matter of chance, and so are thresholds that are derived from them.`,
        ]
      : []),
    ...(noRanking.length > 0
      ? [
          `No average precision for ${some(noRanking.map(({ name }) => name))}: there are no pieces without it, or none with it.`,
        ]
      : []),
    ...report.models.flatMap(({ id, unknown, padded, events }) => [
      ...(unknown.length > 0 ? [`${id} does not know ${some(unknown)}.`] : []),
      ...(padded > 0
        ? [`${id}: ${padded} pieces were shorter than it takes and got silence behind them.`]
        : []),
      ...(events !== null && events.too_short > 0
        ? [`${id}: ${events.too_short} recordings are too short for it to find events in.`]
        : []),
    ]),
    ...(report.list.left_out.length > 0
      ? [`Left out because something was wrong with it:\n  ${report.list.left_out.join('\n  ')}`]
      : []),
  ];
}
