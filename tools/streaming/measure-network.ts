import { prepareModelInputs } from '../../src/inference/model-input.js';
import { createHops, difference, openForms, timed, type Subject } from './both-forms.js';

export interface Conditions {
  windowSeconds: number;
  hops: number;
  leftEdge: 'exact' | 'stream';
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
}

/** Runs both forms side by side over the same sound, at 1 Hz on the average, and compares what they give. */
export async function measureNetwork(subject: Subject, conditions: Conditions): Promise<Measured> {
  const { name, input } = subject;
  const forms = await openForms(subject, conditions);
  if ('reason' in forms) return { name, reason: forms.reason, figures: null };
  const { windowSamples, outputs, stream, streamed } = forms;
  const { plan, macs } = streamed;
  const feed = (await prepareModelInputs(input))(windowSamples);
  const sound = createSound();
  feed.push(sound(windowSamples));
  const times: { whole: number; stream: number }[] = [];
  const worst = { score: 0, any: 0 };
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
      if (output === 'probs') worst.score = Math.max(worst.score, off.absolute);
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
    },
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
