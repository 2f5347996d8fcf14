import { SoundpostError } from '../../common/errors.js';
import { resolveWatched, type TaggingSettings } from '../../tagging/watch.js';
import type { StartEngine } from '../../inference/engine.js';
import type { InstalledModel } from '../../models/registry.js';
import type { KnownLabels } from '../list/known-labels.js';
import type { EvaluationList, ListedRecording } from '../list/read-list.js';
import type { Problems } from '../list/problems.js';
import { dPrime, decisionAt, rank, thinCurve, thresholdFor } from '../metrics/ranking.js';
import type { LabelReport, Means, ModelReport } from '../report/report.js';
import { columnsOf, watching, type Column, type Columns } from './columns.js';
import { createEventScores, type EventScores } from './event-scores.js';
import { hearPieces, heldBy } from './hear.js';
import { measuredEngine, type MeasuredEngine } from './measured-engine.js';
import { createScoreTable, type ScoreTable } from './score-table.js';
import type { Settling } from './settle.js';

/** What all models are evaluated with. */
export interface EvaluationOptions {
  list: EvaluationList;
  /** Of the service: groups, thresholds, times. */
  settings: TaggingSettings;
  startEngine: StartEngine;
  threads: number;
  /** Of events: as the service has it. */
  rateHz: number;
  windowSeconds: number | null;
  /** How long the pieces are that recordings with times are cut into. */
  pieceSeconds: number;
  /** Wanted precision, 0 … 1. */
  precision: number;
  /** In so many pieces a label has to be for its threshold to be written. */
  leastPositives: number;
  signal: AbortSignal;
}

/** A recording was found to be bad, and nothing is to be left out. */
export class BadRecording extends Error {}

const MOST_CURVE_POINTS = 100;

/**
 * Evaluates one model. Recordings are read as they come, and nothing is kept of their sound.
 *
 * @param onRecording called before each recording
 * @throws BadRecording unless `keepGoing`, where `problems` says why; what starting an engine and inference throw
 */
export async function evaluateModel(
  model: InstalledModel,
  known: KnownLabels,
  options: EvaluationOptions & {
    settling: Settling;
    problems: Problems;
    keepGoing: boolean;
    onRecording: (index: number) => void;
    onWarning: (recording: ListedRecording, warning: string) => void;
  },
): Promise<ModelReport> {
  const { list, settings, threads, signal } = options;
  const columns = columnsOf(list.targets, known);
  const unknown = list.targets.flatMap(({ name }, target) => (columns.ofTarget[target] === -1 ? [name] : []));
  const empty: ModelReport = { ...failedReport(model, null), unknown };
  if (columns.all.length === 0) {
    const message = `${model.manifest.id} knows none of the labels in the list.`;
    return { ...empty, error: { code: 'label_unknown', message } };
  }
  const started = performance.now();
  const engine = measuredEngine(await options.startEngine(model, { threads, signal }));
  try {
    const loadMs = performance.now() - started;
    const events = list.kind === 'strong' ? createEventScores(engine, columns, options) : null;
    const { table, padded } = await hearAll(engine, columns, events, options);
    const labels = reportLabels(table, columns.all, { ...options, model, settings, events });
    return {
      ...empty,
      pieces: table.rows,
      padded,
      means: meansOf(labels),
      labels,
      events: events?.report() ?? null,
      cost: { load_ms: loadMs, window_ms: engine.windowMs(), cpu_ms_per_window: engine.cpuMsPerWindow() },
    };
  } finally {
    await engine.stop();
  }
}

/** A model without a result. */
export function failedReport(
  { manifest }: Pick<InstalledModel, 'manifest'>,
  error: ModelReport['error'],
): ModelReport {
  const { id, title, input, output } = manifest;
  return {
    id,
    title,
    window_s: input.window_seconds,
    frames: output.frames?.role ?? null,
    error,
    unknown: [],
    pieces: 0,
    padded: 0,
    means: null,
    common: null,
    labels: [],
    events: null,
    cost: null,
  };
}

async function hearAll(
  engine: MeasuredEngine,
  columns: Columns,
  events: EventScores | null,
  options: Parameters<typeof evaluateModel>[2],
): Promise<{ table: ScoreTable; padded: number }> {
  const { list, settling, problems, keepGoing, signal } = options;
  const table = createScoreTable(columns.all.length);
  let padded = 0;
  const before = problems.count;
  for (const [index, recording] of list.recordings.entries()) {
    signal.throwIfAborted();
    options.onRecording(index);
    if (settling.known(recording) === null) continue;
    if (problems.count > before && !keepGoing) {
      // There will be no result: the others are only looked at, so that all that is bad is told at once.
      await settling.check(recording, signal);
      continue;
    }
    try {
      const part = await settling.partOf(recording, signal);
      if (part === null) continue;
      const heard = await hearRecording(engine, recording, part, columns, events, options);
      for (const { scores, held } of heard.pieces) table.add(scores, held);
      padded += heard.padded;
    } catch (error) {
      settling.fail(recording, error);
    }
  }
  if (problems.count > before && !keepGoing) throw new BadRecording();
  return { table, padded };
}

async function hearRecording(
  engine: MeasuredEngine,
  recording: ListedRecording,
  part: { from: number; to: number | null },
  columns: Columns,
  events: EventScores | null,
  options: Parameters<typeof evaluateModel>[2],
): Promise<{ pieces: { scores: Float32Array; held: number[] }[]; padded: number }> {
  const { settling, signal } = options;
  const isNew = settling.known(recording) === undefined;
  const pieceSeconds = recording.events === null ? null : options.pieceSeconds;
  const heard = await engine.counting(() =>
    hearPieces(engine, recording, { part, pieceSeconds, columns, signal }),
  );
  if (isNew) for (const warning of heard.warnings) options.onWarning(recording, warning);
  if (heard.pieces.length === 0) {
    throw new SoundpostError('audio_empty', `${recording.file} has no sound from ${part.from} s on`);
  }
  const pieceSum = heard.pieces.reduce((sum, { from, to }) => sum + to - from, 0);
  const settled = settling.settle(recording, recording.events === null ? pieceSum : heard.seconds);
  const within = settled.events;
  if (events !== null && within !== null) await events.hear(recording, within, settled.seconds);
  const ofTargets = recording.targets.flatMap((target) => {
    const column = columns.ofTarget[target]!;
    return column === -1 ? [] : [column];
  });
  return {
    pieces: heard.pieces.map((piece) => ({
      scores: piece.scores,
      held: within === null ? ofTargets : heldBy(piece, within, columns),
    })),
    padded: heard.pieces.filter((piece) => piece.padded).length,
  };
}

function reportLabels(
  table: ScoreTable,
  columns: readonly Column[],
  options: Pick<EvaluationOptions, 'settings' | 'precision'> & {
    model: InstalledModel;
    events: EventScores | null;
  },
): LabelReport[] {
  const { model, settings, precision, events } = options;
  const perLabel = events?.labels();
  const watched = resolveWatched(model.labels, watching(settings, columns, model));
  return columns.map(({ name, mid, group }, index): LabelReport => {
    const { scores, truth } = table.column(index);
    const ranking = rank(scores, truth);
    const members = watched.items.find((item) => item.group === group && item.name === name)?.members ?? [];
    const thresholds = new Set(members.map(({ onThreshold }) => onThreshold));
    const [first] = members;
    const inForce = ranking === null || first === undefined || thresholds.size > 1 ? null : first;
    return {
      name,
      mid,
      group,
      positives: truth.reduce((sum, is) => sum + is, 0),
      average_precision: ranking?.averagePrecision ?? null,
      auc: ranking?.auc ?? null,
      d_prime: ranking === null ? null : finite(dPrime(ranking.auc)),
      in_force:
        inForce === null
          ? null
          : { ...decisionAt(ranking!, inForce.onThreshold), from: inForce.thresholdFrom },
      wanted: ranking === null ? null : thresholdFor(ranking, precision),
      curve: ranking === null ? [] : thinCurve(ranking.curve, MOST_CURVE_POINTS),
      events: perLabel?.[index] ?? null,
    };
  });
}

/** The means of labels; null where none of them can be told from the rest. */
export function meansOf(labels: readonly Pick<LabelReport, 'average_precision' | 'auc'>[]): Means | null {
  const ranked = labels.flatMap(({ average_precision: ap, auc }) =>
    ap === null || auc === null ? [] : [{ ap, auc }],
  );
  if (ranked.length === 0) return null;
  const mean = (key: 'ap' | 'auc') => ranked.reduce((sum, each) => sum + each[key], 0) / ranked.length;
  const auc = mean('auc');
  return { labels: ranked.length, map: mean('ap'), auc, d_prime: finite(dPrime(auc)) };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
