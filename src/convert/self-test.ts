import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { SoundpostError } from '../common/errors.js';
import { createFrontend } from '../features/frontend.js';
import { TEST_SOUND, testSound } from '../features/test-sound.js';
import type { Architecture } from './architecture.js';
import { findArchitecture } from './architectures/index.js';
import { LOG_MEL, SCORES, WAVEFORM } from './network.js';

/** What a network said of a sound that can be made anew at any time. */
export interface SelfTest {
  /** The key of the sound. */
  generator: string;
  window_samples: number;
  /** One per label. */
  scores: number[];
}

/**
 * Runs a network that was just written on the test sound, through the features.
 *
 * Throws SoundpostError `conversion_failed` where ONNX Runtime refuses the network, or its scores are not as many as
 * labels or not all between 0 and 1.
 */
export async function selfTest(request: {
  architecture: string;
  onnxPath: string;
  windowSeconds: number;
  labels: number;
}): Promise<SelfTest> {
  const architecture = findArchitecture(request.architecture);
  const samples = Math.round(request.windowSeconds * architecture.sampleRate);
  const scores = await run(architecture, request.onnxPath, testSound(samples, architecture.sampleRate));
  if (scores.length !== request.labels) {
    throw unfit(architecture, `it gives ${scores.length} scores for ${request.labels} labels`);
  }
  const wrong = scores.findIndex((score) => !(score >= 0 && score <= 1));
  if (wrong !== -1) throw unfit(architecture, `score ${wrong} of a test sound is ${scores[wrong]}`);
  return { generator: TEST_SOUND, window_samples: samples, scores };
}

async function run(architecture: Architecture, onnxPath: string, samples: Float32Array): Promise<number[]> {
  const runtime = await import('onnxruntime-node');
  const { input } = architecture;
  const feeds: Record<string, Tensor> = {};
  if (input.kind !== 'waveform') {
    const frontend = await createFrontend(input.frontend, architecture.sampleRate);
    const frames = frontend.frames(samples.length);
    const data = new Float32Array(frames * frontend.mels);
    frontend.compute(samples, data, input.layout);
    const axes = input.layout === 'NCTF' ? [frames, frontend.mels] : [frontend.mels, frames];
    feeds[LOG_MEL] = new runtime.Tensor('float32', data, [1, 1, ...axes]);
  }
  if (input.kind !== 'log_mel') {
    feeds[WAVEFORM] = new runtime.Tensor('float32', samples, [1, samples.length]);
  }
  let session: InferenceSession | undefined;
  try {
    session = await runtime.InferenceSession.create(onnxPath, {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      // The next level reorders weights for the processor, with copies of all of them: 1.2 GB instead of 0.6 at the
      // peak for Cnn14 (onnxruntime-node 1.30).
      graphOptimizationLevel: 'extended',
      logSeverityLevel: 4,
    });
    const outputs = await session.run(feeds);
    return Array.from(outputs[SCORES]?.data as Float32Array);
  } catch (error) {
    throw unfit(
      architecture,
      `ONNX Runtime says: ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  } finally {
    await session?.release();
  }
}

function unfit(architecture: Architecture, why: string, cause?: unknown): SoundpostError {
  return new SoundpostError(
    'conversion_failed',
    `the network made from the checkpoint as ${architecture.name} does not work: ${why}. The checkpoint may be damaged, or of another architecture.`,
    { cause },
  );
}
