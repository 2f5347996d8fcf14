import type { ModelMeasurement } from './measure.js';
import { scaleTemperature, type Projection } from './projection.js';

/** What has been measured of a model, as far as the choice depends on it. Null is "not known". */
export interface ModelFigures {
  id: string;
  published_map: number | null;
  /** Of a hop of the stream at the wanted rate. */
  mean_ms: number;
  p95_ms: number;
  cpu_ms_per_hop: number | null;
  peak_mb: number | null;
}

/** What is known of the board. */
export interface Board {
  memory_available_mb: number;
  /** Idle temperature, and about where it would end with so many cores busy; null without a sensor. */
  heat: { idle_c: number; loaded_c: Projection; loaded_cores: number } | null;
}

export interface Wish {
  rate_hz: number;
  max_temperature_c: number;
}

/** A model, judged. */
export interface Judged extends ModelFigures {
  /** The part of the time between two hops in which the model computes. */
  utilisation: number;
  /** p95 of the latency by the time between two hops. */
  p95_of_hop: number;
  /** The highest rate that it holds with headroom. */
  highest_rate_hz: number;
  /** An estimate, and the range that the readings allow. */
  projected_temperature_c: Projection | null;
  fits: boolean;
  /** Why it does not fit. */
  reasons: string[];
  /** What may go wrong all the same: an estimate is no reason to refuse a model. */
  warnings: string[];
}

/** A model that computes for longer than this part of the time has no headroom for anything else. */
export const MOST_UTILISATION = 0.6;
/** The slower windows must be ready before the next hop with something to spare. */
export const MOST_P95_OF_HOP = 0.8;
/** What a model may take of the memory that is available. */
const MOST_OF_MEMORY = 0.8;

/**
 * Judges each model against the rate, the temperature and the memory. Those that fit come first, the best published
 * mAP first (those without one behind them), then the faster ones.
 */
export function judge(measured: readonly ModelFigures[], board: Board, wish: Wish): Judged[] {
  const judged = measured.map((model) => judgeOne(model, board, wish));
  return judged.sort(
    (a, b) =>
      Number(b.fits) - Number(a.fits) ||
      (b.published_map ?? -1) - (a.published_map ?? -1) ||
      a.mean_ms - b.mean_ms,
  );
}

function judgeOne(
  model: ModelFigures,
  board: Board,
  { rate_hz: rate, max_temperature_c: limit }: Wish,
): Judged {
  const hopMs = 1000 / rate;
  const utilisation = model.mean_ms / hopMs;
  const p95OfHop = model.p95_ms / hopMs;
  const cores = ((model.cpu_ms_per_hop ?? model.mean_ms) * rate) / 1000;
  const temperature = temperatureAt(board.heat, cores);
  const percent = (part: number) => `${(part * 100).toFixed(0)} %`;
  const reasons: string[] = [];
  if (utilisation > MOST_UTILISATION) {
    reasons.push(`busy ${percent(utilisation)} of the time, more than ${percent(MOST_UTILISATION)}`);
  }
  if (p95OfHop > MOST_P95_OF_HOP) {
    reasons.push(
      `p95 latency is ${percent(p95OfHop)} of the time between two hops, more than ${percent(MOST_P95_OF_HOP)}`,
    );
  }
  const warnings: string[] = [];
  if (temperature !== null && temperature.low_c > limit) {
    reasons.push(
      `about ${temperature.about_c.toFixed(0)} °C are to be expected (at least ${temperature.low_c.toFixed(0)} °C), more than ${limit} °C`,
    );
  } else if (temperature !== null && temperature.high_c > limit) {
    warnings.push(
      `may become warmer than ${limit} °C: about ${temperature.about_c.toFixed(0)} °C, at most ${temperature.high_c.toFixed(0)} °C`,
    );
  }
  if (model.peak_mb !== null && model.peak_mb > board.memory_available_mb * MOST_OF_MEMORY) {
    reasons.push(
      `needs ${model.peak_mb.toFixed(0)} MB, and ${board.memory_available_mb.toFixed(0)} MB are available`,
    );
  }
  return {
    ...model,
    utilisation,
    p95_of_hop: p95OfHop,
    highest_rate_hz: Math.min(
      (MOST_UTILISATION * 1000) / model.mean_ms,
      (MOST_P95_OF_HOP * 1000) / model.p95_ms,
    ),
    projected_temperature_c: temperature,
    fits: reasons.length === 0,
    reasons,
    warnings,
  };
}

/** The temperature with so many cores busy, or null where nothing is known of it. */
function temperatureAt(heat: Board['heat'], cores: number): Projection | null {
  if (heat === null || heat.loaded_cores <= 0) return null;
  const { idle_c: idle, loaded_c: loaded, loaded_cores: loadedCores } = heat;
  const at = (loadedC: number) => scaleTemperature(idle, loadedC, loadedCores, cores);
  return { about_c: at(loaded.about_c), low_c: at(loaded.low_c), high_c: at(loaded.high_c) };
}

/** Below this rate three hops would take longer than there is time; the figures are then scaled. */
const LEAST_STREAM_HZ = 0.5;

/** The rate at which a stream is measured, for a rate that is wished. */
export function streamRate(rateHz: number): number {
  return Math.max(rateHz, LEAST_STREAM_HZ);
}

/**
 * What a hop costs at a rate below the one that it was measured at: the network does the same, and there is more new
 * sound to compute features of, up to a whole window. Null where no hop was measured.
 */
export function hopAt(
  { stream }: Pick<ModelMeasurement, 'stream'>,
  rateHz: number,
  windowSeconds: number,
): Pick<ModelFigures, 'mean_ms' | 'p95_ms' | 'cpu_ms_per_hop'> | null {
  const { total, features } = stream.hop_ms;
  if (total === null) return null;
  const newSeconds = (hz: number) => Math.min(1 / hz, windowSeconds);
  const moreMs = (features?.mean ?? 0) * (newSeconds(rateHz) / newSeconds(stream.rate_hz) - 1);
  return {
    mean_ms: total.mean + moreMs,
    p95_ms: total.p95 + moreMs,
    cpu_ms_per_hop: stream.cpu_ms_per_hop === null ? null : stream.cpu_ms_per_hop + moreMs,
  };
}
