import { join } from 'node:path';
import { writeFileAtomic } from '../common/atomic-file.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { selfTestSchema } from '../convert/messages.js';
import type { SelfTest } from '../convert/self-test.js';
import { TEST_SOUND, testSound } from '../features/test-sound.js';
import { readSmallText } from '../models/files.js';
import { parseJson } from '../models/validate.js';
import type { InferenceEngine, StartEngine } from './engine.js';

/*
 * What a model said of a sound that can be made anew at any time, kept beside it as `self-test.json` when it is
 * installed. A digest says that the file is the same; this says that the machine still makes the same of it.
 */

/** Scores that differ by more are another model's. Processors differ by some 1e-6, graph optimisation by 1e-5. */
const TOLERANCE = 1e-3;
const FILE = 'self-test.json';
const MAX_BYTES = 16 << 20;

const generators: Readonly<Record<string, (samples: number, sampleRate: number) => Float32Array>> = {
  [TEST_SOUND]: testSound,
};

/** The model's answer to the test sound, as it is kept. */
export async function makeSelfTest(engine: InferenceEngine): Promise<SelfTest> {
  const { sample_rate: rate, window_seconds: seconds } = engine.model.manifest.input;
  const windowSamples = Math.round(seconds * rate);
  const scores = await answer(engine, TEST_SOUND, windowSamples);
  return { generator: TEST_SOUND, window_samples: windowSamples, scores: [...scores] };
}

/** Writes it into a model's folder. */
export async function writeSelfTest(folder: string, test: SelfTest): Promise<void> {
  await writeFileAtomic(join(folder, FILE), `${JSON.stringify(test)}\n`);
}

/**
 * Compares what the model says of the test sound with what it said when it was installed.
 * @returns the largest difference of a score, or null where the model came without a self-test.
 * @throws SoundpostError `self_test` when it answers otherwise, or the file is not right.
 */
export async function runSelfTest(engine: InferenceEngine): Promise<{ worst: number } | null> {
  const { folder, manifest } = engine.model;
  const path = join(folder, FILE);
  let text: string;
  try {
    text = await readSmallText(path, MAX_BYTES, 'self_test');
  } catch (error) {
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (cause?.code === 'ENOENT') return null;
    throw error;
  }
  const test = parseJson(selfTestSchema, text, path, 'self_test');
  const scores = await answer(engine, test.generator, test.window_samples);
  const differences = test.scores.map((expected, index) => Math.abs(expected - (scores[index] ?? Infinity)));
  const worst = Math.max(...differences);
  if (test.scores.length !== scores.length || !(worst <= TOLERANCE)) {
    const label = engine.model.labels[differences.indexOf(worst)]?.name ?? 'its labels';
    throw new SoundpostError(
      'self_test',
      `The model ${manifest.id} no longer says of the test sound what it said when it was installed: a score differs by ${worst.toFixed(4)} (${label}). Install the model again.`,
    );
  }
  return { worst };
}

/**
 * Starts engines that have shown that they still answer as they did when they were installed. Also where the network
 * comes from a copy that has proven itself: its bytes are the same then, but not the manifest, the front end and ONNX
 * Runtime around it; and it costs one window in a load of seconds. A bundled model is what everything falls back to: it
 * goes on, with an error in the log.
 */
export function withSelfTest(startEngine: StartEngine, log: Logger): StartEngine {
  return async (model, options) => {
    const engine = await startEngine(model, options);
    try {
      await runSelfTest(engine);
      return engine;
    } catch (error) {
      if (model.bundled && codeOf(error) === 'self_test') {
        log.error({ code: 'self_test', model: model.manifest.id }, messageOf(error));
        return engine;
      }
      await engine.stop();
      throw error;
    }
  };
}

async function answer(
  engine: InferenceEngine,
  generator: string,
  windowSamples: number,
): Promise<Float32Array> {
  const make = generators[generator];
  if (make === undefined) {
    throw new SoundpostError(
      'self_test',
      `The self-test of ${engine.model.manifest.id} was made with a sound ("${generator}") that this version does not know.`,
    );
  }
  const samples = make(windowSamples, engine.model.manifest.input.sample_rate);
  return (await engine.infer({ samples, reset: true, windowSamples })).scores;
}
