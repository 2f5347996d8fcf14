import type { Distribution } from '../../bench/models/distribution.js';
import type { BenchMachine } from '../../bench/models/model-bench-report.js';
import type { ThresholdOrigin } from '../../tagging/watch.js';
import type { ListKind } from '../list/rows.js';
import type { EventCounts, FMeasure } from '../metrics/event-f1.js';
import type { Psds } from '../metrics/psds.js';
import type { CurvePoint, Decision } from '../metrics/ranking.js';

/** How a model does with one label. */
export interface LabelReport {
  /** Of the label, or of the group of the configuration. */
  name: string;
  mid: string | null;
  group: string | null;
  /** In how many pieces it is. */
  positives: number;
  /** These are null where it is in all pieces, or in none that was left. */
  average_precision: number | null;
  auc: number | null;
  /** Null, besides, where it is infinite: the AUC is 1 or 0. */
  d_prime: number | null;
  /** With the threshold that holds with the configuration; null for a group whose labels have different ones. */
  in_force: (Decision & { from: ThresholdOrigin }) | null;
  /** With the lowest threshold that has the wanted precision; null where none has it. */
  wanted: Decision | null;
  /** Precision and recall from the highest threshold to the lowest, thinned out. */
  curve: CurvePoint[];
  /** Null where the list has no times. */
  events: (EventCounts & FMeasure) | null;
}

/** Means over the labels that have both pieces with them and without. */
export interface Means {
  labels: number;
  map: number;
  auc: number;
  /** Of the mean AUC; null where it is infinite. */
  d_prime: number | null;
}

export interface EventsReport {
  /** All labels together. */
  f1: number;
  precision: number | null;
  recall: number;
  /** The mean of the labels' own F1. */
  mean_f1: number;
  psds1: Psds;
  psds2: Psds;
  /** Recordings too short for the model to hear events in; nothing was found in them. */
  too_short: number;
}

/** What the model took on this machine, while it heard the pieces. */
export interface CostReport {
  load_ms: number;
  /** Whole windows, one after the other, from the request to the answer. */
  window_ms: Distribution | null;
  /** CPU time of the inference process for one of them. */
  cpu_ms_per_window: number | null;
}

export interface ModelReport {
  id: string;
  title: string;
  window_s: number;
  /** What it says of single moments; null where it only knows windows. */
  frames: 'scores' | 'location' | null;
  /** Why there is no result. */
  error: { code: string; message: string } | null;
  /** Names of the list that this model does not have. */
  unknown: string[];
  pieces: number;
  /** Pieces that were shorter than the model takes, and got silence behind them. */
  padded: number;
  means: Means | null;
  /** Over the labels that all models know. */
  common: Means | null;
  labels: LabelReport[];
  events: EventsReport | null;
  cost: CostReport | null;
}

/** What `soundpost evaluate --json` writes. */
export interface EvaluationReport {
  schema: 1;
  started_at: string;
  finished_at: string;
  machine: BenchMachine;
  list: {
    path: string;
    kind: ListKind;
    recordings: number;
    sound_seconds: number;
    labels: number;
    /** What was wrong and is left out. */
    left_out: readonly string[];
  };
  settings: {
    /** Wanted precision, 0 … 1. */
    precision: number;
    /** In so many pieces a label has to be for its threshold to be written. */
    least_positives: number;
    threads: number;
    /** How long the pieces are that recordings with times are cut into; null where each recording is one. */
    piece_seconds: number | null;
    /** Of events: the inference rate. */
    rate_hz: number;
    /** Thresholds that PSDS was computed with. */
    psds_thresholds: number;
  };
  models: ModelReport[];
}
