/** How a recording is cut into windows. The engine here only writes down what it is sent. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { t } from 'tap';
import type { InferenceEngine, InferenceRequest } from '../../src/inference/engine.js';
import { tagRecording, type RecordingWindow } from '../../src/inference/tag-recording.js';
import type { InstalledModel } from '../../src/models/registry.js';
import { bareResult } from '../support/bare-result.js';
import { temporaryFolder } from '../support/temporary.js';
import { makeWav } from '../support/wav.js';

/** Hz; low, so that long recordings are few samples. */
const RATE = 200;
const MIN_SECONDS = 0.5;

interface Recorded {
  windows: RecordingWindow[];
  /** What the network would have been given for each of them. */
  heard: Float32Array[];
  durationSeconds: number;
}

/** An engine that keeps the stream as the real one does, and hands back no scores. */
function recorder(windowSeconds: number, fixedWindow: boolean) {
  const heard: Float32Array[] = [];
  let stream = new Float32Array(0);
  const manifest = {
    id: 'recorder',
    input: { sample_rate: RATE, window_seconds: windowSeconds, min_seconds: MIN_SECONDS },
  };
  const engine: InferenceEngine = {
    model: { manifest } as unknown as InstalledModel,
    pid: 0,
    loadMs: 0,
    fixedWindow,
    infer({ samples, reset, windowSamples }: InferenceRequest) {
      stream = Float32Array.of(...(reset ? [] : stream), ...samples);
      if (stream.length < windowSamples) throw new Error(`a window of ${windowSamples} without its samples`);
      stream = stream.slice(stream.length - windowSamples);
      heard.push(stream);
      return Promise.resolve(bareResult(new Float32Array(1)));
    },
    exited: new Promise(() => undefined),
    learn: () => Promise.resolve({ heads: [], refused: [] }),
    stop: () => Promise.resolve(),
  };
  return { engine, heard };
}

async function tag(
  path: string,
  options: { windowSeconds: number; hopSeconds: number; fixedWindow?: boolean },
): Promise<Recorded> {
  const { engine, heard } = recorder(options.windowSeconds, options.fixedWindow ?? false);
  const windows: RecordingWindow[] = [];
  const recording = tagRecording(engine, path, { hopSeconds: options.hopSeconds });
  for (;;) {
    const next = await recording.next();
    if (next.done === true) return { windows, heard, durationSeconds: next.value.durationSeconds };
    windows.push(next.value);
  }
}

/** A ramp: every sample tells its place. */
const ramp = (count: number) => Array.from({ length: count }, (_, at) => at / 2 ** 20);

void t.test('full windows one hop apart, the last one ending with the recording', async (t) => {
  const path = join(temporaryFolder(t), 'recording.wav');
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: MIN_SECONDS * RATE, max: 4000 }),
      fc.integer({ min: MIN_SECONDS * RATE, max: 1200 }),
      fc.integer({ min: 20, max: 2000 }),
      async (total, windowSamples, hopSamples) => {
        writeFileSync(path, makeWav({ encoding: 'f32', sampleRate: RATE, channels: [ramp(total)] }));
        const { windows, heard, durationSeconds } = await tag(path, {
          windowSeconds: windowSamples / RATE,
          hopSeconds: hopSamples / RATE,
        });
        const ends: number[] = [];
        for (let end = windowSamples; end <= total; end += hopSamples) ends.push(end);
        if (ends.at(-1) !== total) ends.push(total);
        const expected = ends.map((end) => [Math.max(0, end - windowSamples), end] as const);
        t.equal(durationSeconds, total / RATE);
        t.strictSame(
          windows.map(({ startSeconds, endSeconds }) => [startSeconds, endSeconds]),
          expected.map((range) => range.map((at) => at / RATE)),
        );
        const truth = Float32Array.from(ramp(total));
        expected.forEach(([start, end], index) => {
          if (Buffer.compare(bytes(heard[index]!), bytes(truth.slice(start, end))) !== 0) {
            t.fail(`window ${start} … ${end} is not that part of the recording`);
          }
        });
      },
    ),
    {
      numRuns: 150,
      // One sample more or less than whole hops and windows.
      examples: [
        [1001, 500, 500],
        [1000, 500, 500],
        [999, 500, 500],
        [500, 500, 500],
        [499, 500, 500],
      ],
    },
  );
});

const bytes = (samples: Float32Array) => Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);

void t.test('the row ends with the recording at any rate of the recording', async (t) => {
  const path = join(temporaryFolder(t), 'recording.wav');
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(100, 160, 441, 800, 999, 4410),
      fc.integer({ min: 100, max: 2500 }),
      async (sampleRate, hundredths) => {
        const samples = Math.round((hundredths / 100) * sampleRate);
        writeFileSync(
          path,
          makeWav({ encoding: 's16', sampleRate, channels: [new Array<number>(samples).fill(0.25)] }),
        );
        const { windows, heard } = await tag(path, { windowSeconds: 5, hopSeconds: 2 });
        const last = windows.at(-1)!;
        t.ok(Math.abs(last.endSeconds - samples / sampleRate) <= 0.5 / RATE + 1e-9);
        windows.forEach(({ startSeconds, endSeconds }, index) => {
          t.equal(heard[index]!.length, Math.round((endSeconds - startSeconds) * RATE));
        });
        // Of a constant everything but the filter's edges is that constant: nothing is padded.
        t.ok(Math.abs(heard.at(-1)!.at(heard.at(-1)!.length >> 1)! - 0.25) < 0.01);
      },
    ),
    { numRuns: 40 },
  );
});

void t.test('shorter than a window', async (t) => {
  const path = join(temporaryFolder(t), 'short.wav');
  const samples = 0.6 * RATE;
  writeFileSync(path, makeWav({ encoding: 'f32', sampleRate: RATE, channels: [ramp(samples)] }));
  const own = await tag(path, { windowSeconds: 5, hopSeconds: 1 });
  t.match(own.windows, [{ startSeconds: 0, endSeconds: 0.6 }]);
  t.equal(own.heard[0]!.length, samples, 'of its own length, unpadded');

  const padded = await tag(path, { windowSeconds: 5, hopSeconds: 1, fixedWindow: true });
  t.match(padded.windows, [{ startSeconds: 0, endSeconds: 0.6 }]);
  t.equal(padded.heard[0]!.length, 5 * RATE, 'a network of one length gets silence behind it');
  t.ok(padded.heard[0]!.subarray(samples).every((sample) => sample === 0));

  writeFileSync(path, makeWav({ encoding: 'f32', sampleRate: RATE, channels: [ramp(0.3 * RATE)] }));
  await t.rejects(tag(path, { windowSeconds: 5, hopSeconds: 1 }), {
    code: 'audio_too_short',
    message: /short\.wav lasts 0\.30 s; recorder needs at least 0\.5 s/,
  });
});
