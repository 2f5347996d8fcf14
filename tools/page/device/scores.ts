import type { Random } from '../../../test/support/random.js';
import type { DemoSound } from './demo-sound.js';

/** What the device watches. */
export interface WatchedItem {
  /** Name of the label or group. */
  name: string;
  labels: readonly string[];
  isGroup: boolean;
  threshold: number;
}

/** What a network could have said of a moment of the demo recording: label and score, best first. */
export function scoresAt(
  demo: DemoSound,
  second: number,
  random: Random,
): { label: string; score: number }[] {
  const scores = new Map<string, number>();
  for (const { label, onset, offset } of demo.events) {
    const isOn = second >= onset && second <= offset;
    const score = isOn ? 0.55 + 0.35 * random() : 0.01 + 0.06 * random();
    scores.set(label, Math.max(score, scores.get(label) ?? 0));
  }
  return [...scores]
    .map(([label, score]) => ({ label, score: Math.round(score * 1e4) / 1e4 }))
    .sort((a, b) => b.score - a.score);
}

/** The level of a second of the recording, dBFS. */
export function levelAt(demo: DemoSound, second: number): { dbfs: number; peakDbfs: number } {
  const from = Math.floor((second % demo.seconds) * demo.sampleRateHz);
  let sum = 0;
  let peak = 0;
  const part = demo.samples.subarray(from, from + demo.sampleRateHz);
  for (const sample of part) {
    const value = sample / 32768;
    sum += value * value;
    peak = Math.max(peak, Math.abs(value));
  }
  const decibels = (value: number): number => Math.max(-120, Math.round(200 * Math.log10(value + 1e-6)) / 10);
  return { dbfs: decibels(Math.sqrt(sum / Math.max(1, part.length))), peakDbfs: decibels(peak) };
}
