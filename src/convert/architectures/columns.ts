import type { FrameGeometry, NetworkOutputs } from '../architecture.js';
import type { Graph, Value } from '../graph.js';

/*
 * How a network that was trained to say what a clip holds says where in it: its own head on a few neighbouring columns
 * of its last feature map, pooled as it pools all of them. The values tell columns from one another, and the clip's
 * score whether the sound is there at all: taken for probabilities they are too high, since the head was never trained
 * to doubt a second of sound.
 */

/** Time along a feature map. */
export interface ColumnTime {
  /** From one column to the next. */
  seconds: number;
  /** Where the first column begins; negative where columns are centred on the steps they are made of. */
  begin: number;
  /** Columns from one frame to the next, where they are too fine to have a frame each. */
  step?: number;
  /**
   * The head is applied to every second neighbourhood only, and the logits between are the means of two: for narrow
   * networks, whose heads are a tenth of all they compute.
   */
  sparse?: boolean;
}

type Pooling = 'mean' | 'max' | 'max+mean';

/**
 * Seconds that are pooled for a frame. With less, single columns flicker; with more, sounds that are close run into
 * one (tried with EfficientAT mn04: 0.3, 1 and 1.6 s).
 */
const NEIGHBOURHOOD_SECONDS = 1.6;

interface Neighbourhood {
  /** Columns that are pooled for a frame, and from one frame to the next. */
  kernel: number;
  stride: number;
  padding: number;
  hopSeconds: number;
  /** From the end of a frame to the end of what is pooled for it. */
  reachSeconds: number;
  sparse: boolean;
}

/** An odd number of frames' lengths, as near to the wanted seconds as can be; of two that are as near, the more. */
function neighbourhood({ seconds, step = 1, sparse = false }: ColumnTime): Neighbourhood {
  const hopSeconds = seconds * step;
  const toEachSide = Math.floor((NEIGHBOURHOOD_SECONDS / hopSeconds - 1) / 2 + 0.5 + 1e-6);
  // Without neighbours in common there is nothing to interpolate between.
  const skips = sparse && toEachSide > 0;
  return {
    sparse: skips,
    kernel: (2 * toEachSide + 1) * step,
    stride: skips ? 2 * step : step,
    padding: toEachSide * step,
    hopSeconds,
    reachSeconds: toEachSide * hopSeconds,
  };
}

/**
 * Pools a feature map over time, whole and around each frame: [batch, features, columns] →
 * [batch, 1 + frames, features], first the clip's row. At the edges of the window the neighbourhood is what there is
 * of it.
 *
 * The clip goes through the head as one row of many because most of a head's time is its weights on their way from
 * memory; and ONNX Runtime computes all outputs of a graph, whatever is asked for.
 */
export function poolTime(g: Graph, x: Value, time: ColumnTime, pooling: Pooling): Value {
  const clip = {
    mean: () => g.mean(x, [2], true),
    max: () => g.max(x, [2], true),
    'max+mean': () => g.add(g.max(x, [2], true), g.mean(x, [2], true)),
  };
  return clipAndNear(g, clip[pooling](), poolNear(g, x, time, pooling));
}

/** The neighbourhood of each frame only: [batch, features, columns] → [batch, features, frames]. */
export function poolNear(g: Graph, x: Value, time: ColumnTime, pooling: Pooling): Value {
  const { kernel, stride, padding } = neighbourhood(time);
  const options = { kernel, stride, padding, countIncludePad: false, ceil: isCeiled(time) };
  const near = {
    mean: () => g.averagePool(x, 1, options),
    max: () => g.maxPool(x, 1, options),
    'max+mean': () => g.add(g.maxPool(x, 1, options), g.averagePool(x, 1, options)),
  };
  return near[pooling]();
}

/** Means over mel and time, as `poolTime`: [batch, features, mels, columns] → [batch, 1 + frames, features]. */
export function poolMelAndTime(g: Graph, x: Value, time: ColumnTime, mels: number): Value {
  const { kernel, stride, padding } = neighbourhood(time);
  const near = g.averagePool(x, 2, {
    kernel: [mels, kernel],
    stride: [1, stride],
    padding: [0, padding],
    countIncludePad: false,
    ceil: isCeiled(time),
  });
  return clipAndNear(g, g.squeeze(g.globalAveragePool(x), [2]), g.squeeze(near, [2]));
}

/** [batch, features, 1] and [batch, features, frames] → [batch, 1 + frames, features]. */
export function clipAndNear(g: Graph, clip: Value, near: Value): Value {
  return g.transpose(g.concat([clip, near], 2), [0, 2, 1]);
}

/** The row of the clip: [batch, 1 + frames, features] → [batch, features]. */
export function clipRow(g: Graph, rows: Value): Value {
  return g.pick(rows, 1, 0);
}

/** The last frame may be shorter; without it a window of less than a step would have none. */
function isCeiled({ step = 1 }: ColumnTime): boolean {
  return step > 1;
}

/**
 * The last layer of a network: scores and frames from the features of the clip and of each neighbourhood.
 * @param rows [batch, 1 + frames, features]
 * @param path of the linear layer in the checkpoint
 * @param embeddings what the embedding is taken from, where that is not `rows`
 */
export function classified(
  g: Graph,
  rows: Value,
  path: string,
  time: ColumnTime,
  embeddings = rows,
): NetworkOutputs {
  const [labels = 0] = g.weights.shape(`${path}.weight`);
  const logits = g.linearLast(rows, path);
  return { ...scoresAndFrames(g, logits, time, labels), embedding: clipRow(g, embeddings) };
}

/** Scores and frames from the logits of the clip and of each neighbourhood, [batch, 1 + frames, labels]. */
export function scoresAndFrames(
  g: Graph,
  logits: Value,
  time: ColumnTime,
  labels: number,
): Pick<NetworkOutputs, 'scores' | 'frames'> {
  const near = g.slice(logits, 1, 1);
  const frames = neighbourhood(time).sparse ? interpolated(g, near, labels) : near;
  return {
    scores: g.sigmoid(clipRow(g, logits)),
    frames: { value: g.sigmoid(frames), geometry: locationGeometry(time) },
  };
}

/**
 * Twice as many frames, [batch, n, labels] → [batch, 2·n, labels]: behind each the mean of it and the next, behind the
 * last that one again. (Where columns are an odd number it begins behind the window.)
 */
function interpolated(g: Graph, logits: Value, labels: number): Value {
  const next = g.concat([g.slice(logits, 1, 1), g.slice(logits, 1, -1)], 1);
  const between = g.multiply(g.add(logits, next), g.constant([], [0.5]));
  return g.reshape(g.concat([logits, between], 2), [0, -1, labels]);
}

/**
 * A clip's score passes its threshold a second or two after its sound has begun: by then the frames have been taken. So
 * they are looked at once more. With the real EfficientAT mn04 this finds a fifth more sounds and halves the errors of
 * their beginnings.
 */
const LOOKBACK_SECONDS = 5;

function locationGeometry(time: ColumnTime): FrameGeometry {
  const { hopSeconds, reachSeconds } = neighbourhood(time);
  return {
    role: 'location',
    hop_seconds: rounded(hopSeconds),
    offset_seconds: rounded(time.begin),
    // What is pooled must have been heard. That convolutions see further is left out: with 0.3 or 0.6 s more the real
    // EfficientAT mn04 places sounds no better, and every tag would come so much later.
    context_seconds: rounded(reachSeconds),
    spread_seconds: rounded(reachSeconds),
    lookback_seconds: LOOKBACK_SECONDS,
  };
}

/** Seconds without the noise of binary fractions, for a file that people read. */
export function rounded(seconds: number): number {
  return Number(seconds.toFixed(9));
}
