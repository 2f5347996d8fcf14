import type { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import type { Architecture, FrameGeometry } from '../../src/convert/architecture.js';
import { FRAMES, SCORES } from '../../src/convert/network.js';
import { feedsOf } from './golden-architectures.js';
import { seedOf, unitAt } from './synthetic.js';

/** What the frames of a network are like, measured on sound that is known. */
export interface FrameReadings {
  /** How many frames too many, of the window lengths that were tried the one that is furthest off. */
  surplus: number;
  /** Whether every value is from 0 to 1. */
  inRange: boolean;
  /**
   * Largest difference from what the clip's score says: for role `location` on a window so short that the neighbourhood
   * of every frame is all of it; for role `scores` how far the score is outside the range of the frames.
   */
  fromClip: number;
  /** The same sound earlier by two hops: how different the frames are, relative to those of one hop less or more. */
  shifted: number;
  /** A click changes the frames around it: their centre of gravity minus the click, in seconds. */
  clickOff: number;
}

/**
 * Seconds of the window in which something happens at a known time: twenty frames, and longer where every column
 * depends on all of the window by squeeze-and-excite, so that what is at the edges weighs little.
 */
function sceneSeconds({ family }: Architecture, { hop_seconds: hop }: FrameGeometry): number {
  return family === 'efficientat' || family === 'dymn' || hop > 0.5 ? 12 : 6;
}

export async function readFrames(
  session: InferenceSession,
  architecture: Architecture,
  geometry: FrameGeometry,
): Promise<FrameReadings> {
  const { input, sampleRate, minSamples } = architecture;
  const scene = sceneSeconds(architecture, geometry);
  const { hop_seconds: hop, offset_seconds: offset, spread_seconds: spread } = geometry;
  const run = async (samples: Float32Array): Promise<{ scores: Float32Array; rows: Float32Array[] }> => {
    const outputs = (await session.run(await feedsOf(input, sampleRate, samples))) as Record<
      string,
      OnnxTensor
    >;
    const scores = outputs[SCORES]!.data as Float32Array;
    const { data, dims } = outputs[FRAMES]!;
    const rows = Array.from({ length: dims[1]! }, (_, i) =>
      (data as Float32Array).subarray(i * scores.length, (i + 1) * scores.length),
    );
    if (dims.length !== 3 || dims[2] !== scores.length) throw new Error(`frames are [${dims.join(', ')}]`);
    return { scores, rows };
  };
  // Both inputs of a network that takes two have whole frames then.
  const samplesOf = (seconds: number): number => Math.round((seconds * sampleRate) / 640) * 640;

  const short = Math.max(samplesOf(spread + hop / 2), samplesOf(minSamples / sampleRate + 0.01));
  const clip = await run(sound(short, sampleRate));
  const lengths = [minSamples / sampleRate + 0.02, 1.3, 3.7].map(samplesOf);
  let surplus = 0;
  let inRange = true;
  for (const length of lengths.filter((length) => length >= minSamples)) {
    const { rows } = await run(sound(length, sampleRate));
    const off = rows.length - (length / sampleRate - offset) / hop;
    if (Math.abs(off) > Math.abs(surplus)) surplus = off;
    inRange &&= rows.length > 0 && rows.every((row) => row.every((value) => value >= 0 && value <= 1));
  }

  const length = samplesOf(scene);
  const two = Math.round(2 * hop * sampleRate);
  const whole = sound(length + two, sampleRate);
  const [early, late] = [await run(whole.slice(0, length)), await run(whole.slice(two))];
  const at = scene / 2 + 0.037;
  // In steady noise, so that the same change counts for the same wherever it is.
  const quiet = noise(length);
  const clicked = noise(length);
  for (let n = 0; n < 0.02 * sampleRate; n += 1) {
    clicked[Math.round((at - 0.01) * sampleRate) + n]! += 0.6 * unitAt(seedOf('click'), n);
  }
  const [before, after] = [await run(quiet), await run(clicked)];
  return {
    surplus,
    inRange,
    fromClip: geometry.role === 'location' ? distance(clip) : outside(early),
    shifted: shiftOf(early.rows, late.rows),
    clickOff: centre(before.rows, after.rows, geometry) - at,
  };
}

/** Noise that is gated anew every 0.1 s, with a tone, so that it differs from moment to moment. Float32Array. */
function sound(length: number, sampleRate: number): Float32Array {
  return Float32Array.from({ length }, (_, n) => {
    const step = Math.floor((10 * n) / sampleRate);
    const gate = 0.5 + 0.5 * unitAt(seedOf('gate'), step);
    const hertz = 300 * 2 ** (2 + 2 * unitAt(seedOf('tone'), Math.floor(step / 4)));
    return 0.3 * gate * unitAt(seedOf('noise'), n) + 0.2 * Math.sin((2 * Math.PI * hertz * n) / sampleRate);
  });
}

function noise(length: number): Float32Array {
  return Float32Array.from({ length }, (_, n) => 0.01 * unitAt(seedOf('noise'), n));
}

function distance({ scores, rows }: { scores: Float32Array; rows: Float32Array[] }): number {
  return Math.max(
    ...rows.map((row) => row.reduce((most, v, i) => Math.max(most, Math.abs(v - scores[i]!)), 0)),
  );
}

function outside({ scores, rows }: { scores: Float32Array; rows: Float32Array[] }): number {
  return scores.reduce((most, score, i) => {
    const values = rows.map((row) => row[i]!);
    return Math.max(most, score - Math.max(...values), Math.min(...values) - score);
  }, 0);
}

/** Mean difference in the middle half of the window, at two hops over the smaller of that at one and at three. */
function shiftOf(early: Float32Array[], late: Float32Array[]): number {
  const from = Math.floor(early.length / 4);
  const to = early.length - 3 - from;
  const difference = (shift: number): number => {
    let sum = 0;
    for (let i = from; i < to; i += 1) {
      late[i]!.forEach((value, label) => (sum += Math.abs(value - early[i + shift]![label]!)));
    }
    return sum;
  };
  return difference(2) / Math.min(difference(1), difference(3));
}

/** Seconds: the centre of gravity of what changed more than frames far from it do. */
function centre(before: Float32Array[], after: Float32Array[], geometry: FrameGeometry): number {
  const change = before.map((row, i) =>
    row.reduce((sum, value, l) => sum + Math.abs(value - after[i]![l]!), 0),
  );
  const floor = [...change].sort((a, b) => a - b)[Math.floor(change.length / 2)]!;
  let [weight, moment] = [0, 0];
  change.forEach((value, i) => {
    const above = Math.max(0, value - floor);
    weight += above;
    moment += above * (geometry.offset_seconds + (i + 0.5) * geometry.hop_seconds);
  });
  return moment / weight;
}
