import type { FiringHour } from '../../src/history/firing-hour.js';
import { rowsOf, type Rows } from '../../src/learning/rows.js';
import { RUNGS } from '../../src/tagging/ladder.js';

/* Hours of counts and moments of the background that are known by their number. */

export const KEPT_BEGIN_MS = Date.parse('2026-05-01T00:00:00.000Z');
export const KEPT_MODEL = 'a'.repeat(64);
const HOUR_MS = 3_600_000;
const DIM = 384;

/** 20 labels with counts that nobody else has. */
export function hourOf(n: number): FiringHour {
  return {
    fromMs: KEPT_BEGIN_MS + n * HOUR_MS,
    source: 'main',
    model: 'soundpost-home 00000000',
    heardMs: 3_000_000 + n,
    rest: null,
    items: Array.from({ length: 20 }, (_, label) => ({
      name: `Label ${label}`,
      rules: '1/1 0 2000 0.7',
      onsets: Uint32Array.from({ length: RUNGS }, (__, rung) => RUNGS - rung + ((n + label) % 7)),
    })),
  };
}

export const numberOfHour = ({ fromMs }: FiringHour): number => (fromMs - KEPT_BEGIN_MS) / HOUR_MS;

/** A second with seven frames whose numbers depend on its own. */
export function momentOf(n: number): { atMs: number; seconds: number; source: string; embeddings: Rows } {
  const frames = Array.from({ length: 7 }, (_, frame) =>
    Float32Array.from({ length: DIM }, (__, d) => Math.sin(n + frame + d)),
  );
  return {
    atMs: KEPT_BEGIN_MS + n * 5000,
    seconds: 1,
    source: 'main',
    embeddings: rowsOf(frames, DIM),
  };
}

export const numberOfMoment = ({ atMs }: { atMs: number }): number => (atMs - KEPT_BEGIN_MS) / 5000;
