import type { EvaluationReport } from './report.js';

const HEADING = [
  'model',
  'label',
  'mid',
  'pieces',
  'positives',
  'average_precision',
  'auc',
  'd_prime',
  'threshold',
  'threshold_from',
  'precision',
  'recall',
  'f1',
  'wanted_threshold',
  'wanted_precision',
  'wanted_recall',
  'events',
  'events_detected',
  'events_correct',
  'events_precision',
  'events_recall',
  'events_f1',
];

/** A line for each label of each model, numbers unrounded, what is not known empty (RFC 4180, but for the ends of lines). */
export function formatCsv(report: EvaluationReport): string {
  const rows = report.models.flatMap(({ id, pieces, labels }) =>
    labels.map(({ in_force: force, wanted, events, ...label }) => [
      id,
      label.name,
      label.mid,
      pieces,
      label.positives,
      label.average_precision,
      label.auc,
      label.d_prime,
      force?.threshold,
      force?.from,
      force?.precision,
      force?.recall,
      force?.f1,
      wanted?.threshold,
      wanted?.precision,
      wanted?.recall,
      events?.reference,
      events?.detected,
      events?.correct,
      events?.precision,
      events?.recall,
      events?.f1,
    ]),
  );
  return [HEADING, ...rows].map((row) => `${row.map(cell).join(',')}\n`).join('');
}

function cell(value: string | number | null | undefined): string {
  const text = String(value ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
