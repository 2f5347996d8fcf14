import type { BenchMachine } from '../../bench/models/model-bench-report.js';
import { codeOf, messageOf } from '../../common/errors.js';
import type { ErrorCode } from '../../common/error-codes.js';
import type { InstalledModel } from '../../models/registry.js';
import type { KnownLabels } from '../list/known-labels.js';
import { createProblems, refusal } from '../list/problems.js';
import type { ListedRecording } from '../list/read-list.js';
import type { EvaluationReport, ModelReport } from '../report/report.js';
import {
  BadRecording,
  evaluateModel,
  failedReport,
  meansOf,
  type EvaluationOptions,
} from './evaluate-model.js';
import { PSDS_THRESHOLDS } from './event-scores.js';
import { createSettling } from './settle.js';

/** A model, and its labels by the names that lists call them. */
export interface Candidate {
  model: InstalledModel;
  known: KnownLabels;
}

/** How far the evaluation is. */
export interface EvaluationProgress {
  /** 0 … 1 */
  fraction: number;
  secondsLeft: number;
  doing: string;
}

/** What has nothing to do with the model that was at work: it would be the same with the others. */
const NOBODYS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ffmpeg_missing',
  'no_resources',
  'invalid_tagging',
]);

/**
 * Evaluates each model in turn on the recordings of a list. A model that fails is a result with the reason.
 *
 * @throws SoundpostError `evaluation_list` where recordings cannot be read and nothing is to be left out, or none is
 * left; `ffmpeg_missing`, `no_resources`, `invalid_tagging`; the signal's reason.
 */
export async function evaluate(
  candidates: readonly Candidate[],
  options: EvaluationOptions & {
    listPath: string;
    keepGoing: boolean;
    machine: BenchMachine;
    onProgress: (progress: EvaluationProgress) => void;
    onModel: (report: ModelReport) => void;
    onWarning: (recording: ListedRecording, warning: string) => void;
  },
): Promise<EvaluationReport> {
  const { list, listPath, signal, keepGoing } = options;
  const startedAt = new Date();
  const began = performance.now();
  const problems = createProblems(listPath);
  const settling = createSettling(problems);
  const models: ModelReport[] = [];
  const steps = candidates.length * list.recordings.length;
  for (const [index, { model, known }] of candidates.entries()) {
    signal.throwIfAborted();
    const { id } = model.manifest;
    const onRecording = (recording: number) => {
      const fraction = (index * list.recordings.length + recording) / steps;
      const elapsed = (performance.now() - began) / 1000;
      options.onProgress({
        fraction,
        secondsLeft: fraction === 0 ? 0 : (elapsed * (1 - fraction)) / fraction,
        doing: `${id}: recording ${recording + 1} of ${list.recordings.length}`,
      });
    };
    try {
      const report = await evaluateModel(model, known, {
        ...options,
        settling,
        problems,
        keepGoing,
        onRecording,
        onWarning: options.onWarning,
      });
      models.push(report);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BadRecording) throw refusal(listPath, problems);
      if (codeOf(error) === 'internal' || NOBODYS.has(codeOf(error))) throw error;
      models.push(failedReport(model, { code: codeOf(error), message: messageOf(error) }));
    }
    options.onModel(models.at(-1)!);
  }
  addCommon(models);
  const used = list.recordings.flatMap((recording) => settling.known(recording) ?? []);
  if (used.length === 0 && problems.count > 0) throw refusal(listPath, problems);
  return {
    schema: 1,
    started_at: startedAt.toISOString(),
    finished_at: new Date().toISOString(),
    machine: options.machine,
    list: {
      path: listPath,
      kind: list.kind,
      recordings: used.length,
      sound_seconds: used.reduce((sum, { seconds }) => sum + seconds, 0),
      labels: list.targets.length,
      left_out: [...list.leftOut, ...problems.told()],
    },
    settings: {
      precision: options.precision,
      least_positives: options.leastPositives,
      threads: options.threads,
      piece_seconds: list.kind === 'strong' ? options.pieceSeconds : null,
      rate_hz: options.rateHz,
      psds_thresholds: PSDS_THRESHOLDS.length,
    },
    models,
  };
}

/** Means over the labels that all models with a result have, so that they can be compared. */
function addCommon(models: readonly ModelReport[]): void {
  const withResult = models.filter(({ error }) => error === null);
  if (withResult.length < 2) return;
  const keyOf = ({ group, mid, name }: ModelReport['labels'][number]) =>
    `${group ?? ''}|${mid ?? name.toLowerCase()}`;
  const rest = withResult.map(({ labels }) => new Set(labels.map(keyOf)));
  for (const model of withResult) {
    model.common = meansOf(model.labels.filter((label) => rest.every((keys) => keys.has(keyOf(label)))));
  }
}
