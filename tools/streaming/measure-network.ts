import type { Tensor } from 'onnxruntime-node';
import { prepareModelInputs } from '../../src/inference/model-input.js';
import { decodeFile } from '../../src/audio/decode.js';
import { resampleWhole } from '../../src/audio/resample.js';
import { createHops, difference, openForms, timed, type Subject } from './both-forms.js';

export interface Conditions {
  windowSeconds: number;
  hops: number;
  leftEdge: 'exact' | 'stream';
  /** A sound file, played in a loop; tones in noise where it is null. */
  recording: string | null;
  /** For the two forms of the network. */
  folder: string;
}

/** One network, as it is and as a stream. */
export interface Measured {
  name: string;
  /** Why it is no stream; the rest is null then. */
  reason: string | null;
  figures: Figures | null;
}

export interface Figures {
  gridSeconds: number;
  /** CPU of a hop, ms, the median. */
  wholeMs: number;
  streamMs: number;
  /** All hops together, as a share of what the whole windows took. */
  share: number;
  /** The same of multiply-accumulates; null where they cannot be counted. */
  macsShare: number | null;
  /** CPU of the first window, ms. */
  firstMs: number;
  stateBytes: number;
  /** The largest difference of a score, and of any output in proportion to its largest number. */
  worstScore: number;
  worst: number;
  /** The largest difference of a score in a window, on the average over the windows. */
  meanScoreOff: number;
  /** The share of the windows in which the label of the largest score is the same in both. */
  sameTop: number;
}

/** Runs both forms side by side over the same sound, at 1 Hz on the average, and compares what they give. */
export async function measureNetwork(subject: Subject, conditions: Conditions): Promise<Measured> {
  const { name, input } = subject;
  const forms = await openForms(subject, conditions);
  if ('reason' in forms) return { name, reason: forms.reason, figures: null };
  const { windowSamples, outputs, stream, streamed } = forms;
  const { plan, macs } = streamed;
  const feed = (await prepareModelInputs(input))(windowSamples);
  const sound =
    conditions.recording === null ? createSound() : await playInLoop(conditions.recording, input.sample_rate);
  feed.push(sound(windowSamples));
  const times: { whole: number; stream: number }[] = [];
  const worst = { score: 0, any: 0 };
  const scores: { off: number; isSameTop: boolean }[] = [];
  const nextHop = createHops(input.sample_rate, plan.gridSamples);
  let moved: number | null = null;
  for (let hop = 0; hop <= conditions.hops; hop += 1) {
    const window = feed.tensors(windowSamples);
    const [found, streamMs] = await timed(() => stream.infer(window, windowSamples, moved));
    const [expected, wholeMs] = await timed(() => forms.whole(window));
    times.push({ whole: wholeMs, stream: streamMs });
    for (const output of outputs) {
      const off = difference(found[output], expected[output]);
      worst.any = Math.max(worst.any, off.relative);
      if (output !== SCORES) continue;
      worst.score = Math.max(worst.score, off.absolute);
      scores.push({ off: off.absolute, isSameTop: topOf(found[output]) === topOf(expected[output]) });
    }
    moved = nextHop();
    feed.push(sound(moved));
  }
  const [first, ...hops] = times as [{ stream: number }, ...typeof times];
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const wholes = hops.map((time) => time.whole);
  const streams = hops.map((time) => time.stream);
  return {
    name,
    reason: null,
    figures: {
      gridSeconds: plan.gridSamples / input.sample_rate,
      wholeMs: median(wholes),
      streamMs: median(streams),
      share: sum(streams) / sum(wholes),
      macsShare: macs && macs.hop / macs.whole,
      firstMs: first.stream,
      stateBytes: stream.bytes,
      worstScore: worst.score,
      worst: worst.any,
      meanScoreOff: sum(scores.map(({ off }) => off)) / scores.length,
      sameTop: scores.filter(({ isSameTop }) => isSameTop).length / scores.length,
    },
  };
}

/** The output of the networks that has their scores. */
const SCORES = 'probs';

/** The place of the largest number. */
function topOf(output: Tensor | undefined): number {
  const values = output?.data as Float32Array;
  return values.indexOf(Math.max(...values));
}

/** A recording at a rate, over and over. */
async function playInLoop(path: string, rate: number): Promise<(samples: number) => Float32Array> {
  const { samples: original, sampleRate } = await decodeFile(path);
  const loop = await resampleWhole(original, sampleRate, rate);
  let at = 0;
  return (samples) => {
    const from = at;
    at += samples;
    return Float32Array.from({ length: samples }, (_, i) => loop[(from + i) % loop.length]!);
  };
}

/** Tones that come and go in noise that swells, the same each time. */
function createSound(): (samples: number) => Float32Array {
  let state = 1;
  let at = 0;
  return (samples) =>
    Float32Array.from({ length: samples }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      at += 1;
      const swell = 0.5 + 0.5 * Math.sin(at / 20_000);
      const tone = Math.floor(at / 15_000) % 3 === 0 ? 0.3 * Math.sin(at * (0.05 + 1e-7 * at)) : 0;
      return 0.3 * swell * (state / 2 ** 31 - 1) + tone;
    });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
