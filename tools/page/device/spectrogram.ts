import { readFileSync } from 'node:fs';
import { createFrontend } from '../../../src/features/frontend.js';
import type { FrontendSpec } from '../../../src/features/spec.js';
import type { SpectrogramColumns, SpectrogramTap } from '../../../src/web/spectrogram.js';
import { projectPath } from '../../../test/support/shared.js';
import type { DemoSound } from './demo-sound.js';

export interface DemoSpectrogram {
  tap: SpectrogramTap;
  /** Hands on what has been heard since the last time. */
  step(nowMs: number): void;
  /** How many sources are being looked at. */
  readonly watched: number;
}

/**
 * The log-mel of the demo recording as the bundled model sees it, going round.
 * @param secondOf at which second of the recording a source is, at a moment (ms since the epoch)
 * @param isHeard whether there is sound of a source now
 */
export async function createDemoSpectrogram(
  demo: DemoSound,
  sources: readonly string[],
  secondOf: (source: string, nowMs: number) => number,
  isHeard: (source: string) => boolean,
): Promise<DemoSpectrogram> {
  const { input } = JSON.parse(
    readFileSync(projectPath('models', 'soundpost-home', 'model.json'), 'utf8'),
  ) as {
    input: { sample_rate: number; frontend: FrontendSpec };
  };
  const frontend = await createFrontend(input.frontend, input.sample_rate);
  const columns = frontend.frames(demo.samples.length);
  const bands = frontend.mels;
  const picture = new Float32Array(columns * bands);
  frontend.compute(
    Float32Array.from(demo.samples, (sample) => sample / 32768),
    picture,
    'NCTF',
  );
  const columnMs = (1000 * frontend.hopLength) / input.sample_rate;
  const watching = new Map<string, { tell: (columns: SpectrogramColumns) => void; toldMs: number }>();

  return {
    tap: {
      watch(source, onColumns) {
        if (!sources.includes(source)) return null;
        watching.set(source, { tell: onColumns, toldMs: Date.now() });
        return () => watching.delete(source);
      },
    },
    step(nowMs) {
      for (const [source, entry] of watching) {
        const count = Math.floor((nowMs - entry.toldMs) / columnMs);
        if (count < 1) continue;
        const startMs = entry.toldMs;
        entry.toldMs += count * columnMs;
        if (!isHeard(source)) continue;
        const values = new Float32Array(count * bands);
        const first = Math.floor((1000 * secondOf(source, startMs)) / columnMs);
        for (let at = 0; at < count; at += 1) {
          const column = (first + at) % columns;
          values.set(picture.subarray(column * bands, (column + 1) * bands), at * bands);
        }
        entry.tell({ startMs, columnMs, bands, values });
      }
    },
    get watched() {
      return watching.size;
    },
  };
}
