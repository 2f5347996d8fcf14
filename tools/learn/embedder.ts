import { join } from 'node:path';
import { readFile } from 'node:fs/promises';
import { SoundpostError } from '../../src/common/errors.js';
import { cutFrames } from '../../src/inference/frame-cut.js';
import { prepareModelInputs } from '../../src/inference/model-input.js';
import { loadRuntime, sessionOptions } from '../../src/inference/runtime.js';
import { parseManifest } from '../../src/models/manifest.js';

/** Embeddings of one piece of sound, a row for each frame. */
export interface Embedded {
  /** Float32Array, [count × dim]. */
  readonly values: Float32Array;
  readonly count: number;
  /** Where frame i begins: `startSeconds + i · frameSeconds` of the sound. */
  readonly startSeconds: number;
}

/** A model in this process, of which only the embeddings of the frames are computed. */
export interface Embedder {
  readonly sampleRate: number;
  readonly dim: number;
  readonly frameSeconds: number;
  /** The frames of a sound as the service would take them: each once, where it is final. `sound` is mono, ±1. */
  embed(sound: Float32Array): Promise<Embedded>;
}

/** Windows follow each other so that every frame has as much sound around it as in the service. */
const WINDOW_STEP_SECONDS = 4;

/**
 * Opens the model in `folder`; the front end and the network are those of the service, the process is this one.
 * @throws SoundpostError `bench_failed` where the model gives no embeddings of frames.
 */
export async function openEmbedder(folder: string): Promise<Embedder> {
  const path = join(folder, 'model.json');
  const { id, input, output } = parseManifest(await readFile(path, 'utf8'), path);
  const spec = output.frames;
  const name = spec?.embedding;
  if (spec === null || name === null || name === undefined)
    throw new SoundpostError('bench_failed', `The model ${id} has no frames with embeddings.`);
  const runtime = await loadRuntime();
  const session = await runtime.InferenceSession.create(join(folder, 'model.onnx'), sessionOptions(1));
  const rate = input.sample_rate;
  const windowSamples = Math.round(input.window_seconds * rate);
  const createInput = await prepareModelInputs(input);
  const stepSamples = Math.round(WINDOW_STEP_SECONDS * rate);

  /** [frames × dim] of the window that ends with the last sample pushed. */
  async function run(sound: Float32Array): Promise<{ values: Float32Array; dim: number }> {
    const modelInput = createInput(sound.length);
    modelInput.push(sound);
    const feeds = Object.fromEntries(
      modelInput
        .tensors(sound.length)
        .map(({ name: inputName, data, dims }) => [inputName, new runtime.Tensor('float32', data, dims)]),
    );
    const { [name!]: result } = await session.run(feeds, [name!]);
    return { values: result!.data as Float32Array, dim: result!.dims.at(-1)! };
  }

  const { dim } = await run(new Float32Array(windowSamples));
  return {
    sampleRate: rate,
    dim,
    frameSeconds: spec.hop_seconds,
    async embed(sound) {
      const parts: Float32Array[] = [];
      let taken = 0;
      let startSeconds = 0;
      const seconds = sound.length / rate;
      for (
        let end = Math.min(windowSamples, sound.length);
        ;
        end = Math.min(end + stepSamples, sound.length)
      ) {
        const start = Math.max(0, end - windowSamples);
        const isLast = end === sound.length;
        const window = { startSeconds: start / rate, endSeconds: end / rate };
        const cut = cutFrames(spec, window, taken, isLast);
        if (cut !== null) {
          const { values } = await run(sound.subarray(start, end));
          const to = Math.min(cut.to, values.length / dim);
          if (parts.length === 0) startSeconds = cut.gridSeconds;
          parts.push(values.slice(cut.fresh * dim, to * dim));
          taken = cut.gridSeconds + (to - cut.fresh) * cut.hopSeconds;
        }
        if (isLast || taken >= seconds) break;
      }
      const values = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts) {
        values.set(part, at);
        at += part.length;
      }
      return { values, count: values.length / dim, startSeconds };
    },
  };
}
