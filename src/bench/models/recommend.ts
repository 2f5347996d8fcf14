import { scaleTemperature } from './projection.js';

/** What has been measured of a model, as far as the choice depends on it. Null is "not known". */
export interface Measured {
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
  /** Idle temperature, and where it would end with so many cores busy; null without a sensor. */
  heat: { idle_c: number; loaded_c: number; loaded_cores: number } | null;
}

export interface Wish {
  rate_hz: number;
  max_temperature_c: number;
}

/** A model, judged. */
export interface Judged extends Measured {
  /** The part of the time between two hops in which the model computes. */
  utilisation: number;
  /** p95 of the latency by the time between two hops. */
  p95_of_hop: number;
  /** The highest rate that it holds with headroom. */
  highest_rate_hz: number;
  projected_temperature_c: number | null;
  fits: boolean;
  /** Why it does not fit. */
  reasons: string[];
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
export function judge(measured: readonly Measured[], board: Board, wish: Wish): Judged[] {
  const judged = measured.map((model) => judgeOne(model, board, wish));
  return judged.sort(
    (a, b) =>
      Number(b.fits) - Number(a.fits) ||
      (b.published_map ?? -1) - (a.published_map ?? -1) ||
      a.mean_ms - b.mean_ms,
  );
}

function judgeOne(
  model: Measured,
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
  if (temperature !== null && temperature > limit) {
    reasons.push(`about ${temperature.toFixed(0)} °C are to be expected, more than ${limit} °C`);
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
    highest_rate_hz: Math.min((MOST_UTILISATION * 1000) / model.mean_ms, (MOST_P95_OF_HOP * 1000) / model.p95_ms),
    projected_temperature_c: temperature,
    fits: reasons.length === 0,
    reasons,
  };
}

/** The temperature with so many cores busy, or null where nothing is known of it. */
function temperatureAt(heat: Board['heat'], cores: number): number | null {
  if (heat === null || heat.loaded_cores <= 0) return null;
  return scaleTemperature(heat.idle_c, heat.loaded_c, heat.loaded_cores, cores);
}
