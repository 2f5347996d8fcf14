import { Document } from 'yaml';
import { describeList, percent } from './columns.js';
import type { EvaluationReport } from './report.js';

/** Labels with a threshold for the wanted precision, by name; without those that are in fewer pieces than it takes. */
export function wantedThresholds({ settings, models }: EvaluationReport): Map<string, number> {
  return new Map(
    (models[0]?.labels ?? []).flatMap(({ name, wanted, positives }) =>
      wanted === null || positives < settings.least_positives ? [] : [[name, wanted.threshold] as const],
    ),
  );
}

/**
 * The thresholds of the first model as a file of the configuration: `tagging.thresholds` in YAML, which `--config` takes
 * and a configuration can be given; or, where the file is called `.json`, the map alone, as the flag and the variable
 * take it.
 */
export function formatThresholds(report: EvaluationReport, path: string): string {
  const [model] = report.models;
  const thresholds = wantedThresholds(report);
  if (/\.json$/i.test(path)) return `${JSON.stringify(Object.fromEntries(thresholds), null, 2)}\n`;
  const document = new Document({ tagging: { thresholds } });
  document.commentBefore = [
    ` Thresholds of ${model?.id ?? ''} for a precision of ${percent(report.settings.precision)}, as "soundpost evaluate" found them on`,
    ` ${describeList(report)}`,
    ` at ${report.finished_at}. A label that is missing here does not reach that precision,`,
    ` or is in fewer than ${report.settings.least_positives} pieces.`,
  ].join('\n');
  return document.toString({ lineWidth: 0 });
}
