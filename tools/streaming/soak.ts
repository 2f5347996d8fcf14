import { prepareModelInputs } from '../../src/inference/model-input.js';
import { createHops, difference, openForms, timed, type Subject } from './both-forms.js';
import { createScenes } from './scenes.js';

/*
 * A stream at full speed for hours of sound: no hop waits for anything. What it gives is compared, ever so often, with the
 * whole window, the features of which are made anew of the samples, so that nothing in it is older than the window.
 */

export interface SoakConditions {
  windowSeconds: number;
  /** How much sound, hours. */
  hours: number;
  /** Stop after so much time, ms, however much sound it was by then. */
  maxMs: number;
  /** So many windows are not compared between two that are. */
  compareEvery: number;
  /** For the two forms of the network. */
  folder: string;
  /** Called with each hour of sound that is over. */
  onHour: (hour: SoakHour) => void;
}

/** What was seen in an hour of sound, or in the part of the last one that there was time for. */
export interface SoakHour {
  /** Hours of sound until its end. */
  hours: number;
  hops: number;
  compared: number;
  /** CPU of a hop, ms, the median; with the features of the new second. */
  hopMs: number;
  /** The largest difference of a score, and of any output in proportion to its largest number. */
  worstScore: number;
  worst: number;
  /** Outputs of hops, compared or not, that were no finite numbers. */
  notFinite: number;
  /** Memory of the process at its end, MB. */
  residentMb: number;
  heapMb: number;
  /** Of `ArrayBuffer`s, where the stream keeps what it keeps. */
  buffersMb: number;
  /** How often all of a window had to be computed, since the start. */
  beginnings: number;
}

/** @returns the reason where the network is no stream; null when the time is over */
export async function soakNetwork(subject: Subject, conditions: SoakConditions): Promise<string | null> {
  const { input } = subject;
  const forms = await openForms(subject, { ...conditions, leftEdge: 'exact' });
  if ('reason' in forms) return forms.reason;
  const { windowSamples, outputs, stream, streamed, whole } = forms;
  const createFeed = await prepareModelInputs(input);
  const feed = createFeed(windowSamples);
  const scenes = createScenes(input.sample_rate);
  const nextHop = createHops(input.sample_rate, streamed.plan.gridSamples);
  const lastSamples = new Float32Array(windowSamples);
  const started = performance.now();
  const isOver = (): boolean => performance.now() - started >= conditions.maxMs;

  async function compare(found: Awaited<ReturnType<typeof stream.infer>>, tally: Tally): Promise<void> {
    const anew = createFeed(windowSamples);
    anew.push(lastSamples);
    const expected = await whole(anew.tensors(windowSamples));
    tally.compared += 1;
    for (const output of outputs) {
      const off = difference(found[output], expected[output]);
      tally.worst = Math.max(tally.worst, off.relative);
      if (output === 'probs') tally.worstScore = Math.max(tally.worstScore, off.absolute);
    }
  }

  let [samples, moved]: [number, number | null] = [0, null];
  let tally = emptyTally();
  let hop = 0;
  while (samples < conditions.hours * 3600 * input.sample_rate && !isOver()) {
    const fresh = scenes(moved ?? windowSamples);
    lastSamples.copyWithin(0, fresh.length);
    lastSamples.set(fresh, windowSamples - fresh.length);
    const [found, ms] = await timed(() => {
      feed.push(fresh);
      return stream.infer(feed.tensors(windowSamples), windowSamples, moved);
    });
    tally.ms.push(ms);
    for (const output of outputs) {
      if (!(found[output]?.data as Float32Array).every(Number.isFinite)) tally.notFinite += 1;
    }
    if (hop % conditions.compareEvery === 0) await compare(found, tally);
    const hourBefore = Math.floor(samples / input.sample_rate / 3600);
    samples += fresh.length;
    moved = nextHop();
    hop += 1;
    if (Math.floor(samples / input.sample_rate / 3600) > hourBefore) {
      conditions.onHour(hourOf(tally, samples / input.sample_rate / 3600, stream.beginnings));
      tally = emptyTally();
    }
  }
  if (tally.compared > 0)
    conditions.onHour(hourOf(tally, samples / input.sample_rate / 3600, stream.beginnings));
  return null;
}

interface Tally {
  ms: number[];
  compared: number;
  worstScore: number;
  worst: number;
  notFinite: number;
}

function emptyTally(): Tally {
  return { ms: [], compared: 0, worstScore: 0, worst: 0, notFinite: 0 };
}

function hourOf({ ms, ...tally }: Tally, hours: number, beginnings: number): SoakHour {
  globalThis.gc?.();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return {
    ...tally,
    hours,
    hops: ms.length,
    hopMs: [...ms].sort((a, b) => a - b)[Math.floor(ms.length / 2)] ?? NaN,
    residentMb: rss / 1e6,
    heapMb: heapUsed / 1e6,
    buffersMb: arrayBuffers / 1e6,
    beginnings,
  };
}
