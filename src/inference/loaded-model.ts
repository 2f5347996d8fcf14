import { stat } from 'node:fs/promises';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { SoundpostError } from '../common/errors.js';
import { embeddingOf } from './embedding-kind.js';
import { createEmbeddingUse, type Scored } from './embedding-use.js';
import type { InferenceRequest } from './engine.js';
import { prepareModelInputs, type InputTensor, type ModelInput } from './model-input.js';
import { createNetworkForms, type FormAnswer, type NetworkForms } from './network-forms.js';
import { ownWindowSamples } from './full-window.js';
import { memoryFailure } from './network-memory.js';
import { firstLine, openSession, reopenSession } from './open-session.js';
import { freeMemoryBytes } from './optimized-copy.js';
import type { FramesSpec, Manifest } from '../models/manifest.js';
import type { LearnRequest, LoadRequest, LoadStep, ProcessResult, StreamOutcome } from './protocol.js';
import { loadRuntime, type OnnxRuntime } from './runtime.js';
import { finishFrames, finishScores } from './scores.js';
import { createSessionSlot, type SessionSlot } from './session-slot.js';
import { checkSignature } from './signature.js';

/** A model in this process, checked and warm. */
export interface LoadedModel {
  /** True where the network only takes windows of the full length (a fixed time axis). */
  readonly fixedWindow: boolean;
  readonly stream: StreamOutcome;
  /**
   * Scores of one window.
   * @throws SoundpostError `bad_request` for a window that does not fit, `model_memory` when there is too little for it,
   * `inference_failed` when ONNX Runtime refuses otherwise, `bad_output` when a score is not a number from 0 to 1.
   */
  infer(request: InferenceRequest): Promise<ProcessResult>;
  /**
   * Applies heads from now on. What is learnt is never the model's fault: this does not throw.
   * @returns how many numbers the embedding has, see `FromProcess`
   */
  learn(request: LearnRequest): Promise<number>;
  /** Does what makes the next load faster; in a moment in which nobody waits. Never rejects. */
  afterLoad(): Promise<void>;
}

/**
 * Loads a model: digest, session, names and shapes, then, of a model that has not proven itself on this machine yet, a
 * warm-up whose output is checked. `onProgress` is called before each window of the warm-up.
 * @throws SoundpostError `model_digest`, `model_memory`, `model_unreadable`, `model_shape`, `model_output`, `inference_unsupported`.
 */
export async function loadModel(
  request: LoadRequest,
  onProgress: (step?: LoadStep) => void,
): Promise<LoadedModel> {
  const { manifest } = request;
  const runtime = await loadRuntime();
  const { session, isProven, proven } = await openSession(runtime, request);

  const windowSamples = ownWindowSamples(manifest.input);
  const createInput = await prepareModelInputs(manifest.input);
  const input = createInput(windowSamples);
  input.push(new Float32Array(windowSamples));
  const { fixedWindow } = checkSignature(manifest, session, input.tensors(windowSamples));

  const whole = createSessionSlot(() => reopenSession(runtime, request), session);
  const { size: modelBytes } = await stat(request.onnxPath);
  const hasRoomForBoth = () => hasRoomForTwo(modelBytes, request.memoryBytes, OPTIMISED);
  const create = (forms: NetworkForms, stream: StreamOutcome) =>
    createLoadedModel({
      ...{ runtime, request, fixedWindow, createInput, firstInput: input },
      ...{ whole, forms, stream, outputMetadata },
    });
  const { outputMetadata } = session;
  const formsOf = (stream: Parameters<typeof createNetworkForms>[0]['stream']) =>
    createNetworkForms({ runtime, whole, stream, hasRoomForBoth });
  // The same bytes would give the same answers. A swap still has one real window answered before it switches.
  if (!isProven) await warmUp(create(formsOf(null), null), request, onProgress);
  if (request.stream === null) return { ...create(formsOf(null), null), afterLoad: proven };
  const { prepareStream } = await import('./prepare-stream.js');
  const hasRoomToMake = () => hasRoomForTwo(modelBytes, request.memoryBytes, IN_THE_MAKING);
  const parts = { runtime, request, fixedWindow, createInput, whole, onProgress };
  const prepared = await prepareStream({ ...parts, hasRoomForBoth: hasRoomToMake }, request.stream);
  const isStream = !('reason' in prepared);
  const model = create(formsOf(isStream ? prepared : null), isStream ? prepared.stream : prepared);
  return { ...model, afterLoad: proven };
}

/**
 * What a form of a network takes while it is opened, of the size of its file: one that is optimised already, and one that
 * is not (Cnn14, 323 MB: 1.3 and 4.3 times).
 */
const OPTIMISED = 1.5;
const IN_THE_MAKING = 4.5;

/** Whether a second form of a network may be opened beside one that is there. */
function hasRoomForTwo(modelBytes: number, limitBytes: number, factor: number): boolean {
  const neededBytes = factor * modelBytes + 50e6;
  return 1.5 * modelBytes + 100e6 + neededBytes <= limitBytes && freeMemoryBytes() >= neededBytes;
}

/** A number of samples from a time; the same rounding everywhere. */
function samplesOf(seconds: number, sampleRate: number): number {
  return Math.round(seconds * sampleRate);
}

/** What one source is heard with: its sound, and the tensors over it. */
interface SourceInput {
  input: ModelInput;
  readonly feeds: Record<string, Tensor>;
}

function createLoadedModel(parts: {
  runtime: OnnxRuntime;
  whole: SessionSlot;
  /** What the network for whole windows says of its outputs. */
  outputMetadata: InferenceSession['outputMetadata'];
  forms: NetworkForms;
  stream: StreamOutcome;
  request: LoadRequest;
  fixedWindow: boolean;
  createInput: (maxWindowSamples: number) => ModelInput;
  /** The one that is there already. */
  firstInput: ModelInput;
}): Omit<LoadedModel, 'afterLoad'> {
  const { runtime, forms, stream, fixedWindow, createInput, firstInput } = parts;
  const { manifest, labelCount, memoryBytes } = parts.request;
  const { id, output } = manifest;
  const sources: (SourceInput | undefined)[] = [{ input: firstInput, feeds: {} }];
  const outputs = namedOutputs(output);
  const use = createEmbeddingUse(manifest, labelCount);
  /** How many numbers the embedding has, once that is known. */
  let features: number | undefined;

  /** Takes the new samples. */
  function advance({ source = 0, samples, reset, windowSamples }: InferenceRequest): SourceInput {
    const refuse = (why: string) =>
      new SoundpostError('bad_request', `The model ${id} cannot tag this: ${why}.`);
    if (!Number.isInteger(windowSamples) || windowSamples < 1)
      throw refuse(`a window of ${windowSamples} samples`);
    const heard = (sources[source] ??= { input: createInput(firstInput.maxWindowSamples), feeds: {} });
    const longest = heard.input.maxWindowSamples;
    if (windowSamples > longest) {
      if (!reset) throw refuse(`a window of ${windowSamples} samples, longer than the ${longest} kept`);
      heard.input = createInput(windowSamples);
    }
    if (reset) heard.input.reset();
    heard.input.push(samples);
    return heard;
  }

  /** The same tensors again while the window's length stays: no new memory per hop. */
  function feed({ feeds }: SourceInput, inputs: readonly InputTensor[]): Record<string, Tensor> {
    for (const { name, data, dims } of inputs) {
      const fed = feeds[name];
      if (fed?.data === data && fed.dims.every((size, axis) => size === dims[axis])) continue;
      feeds[name] = new runtime.Tensor('float32', data, dims);
    }
    return feeds;
  }

  /** The wanted rows of the frames, checked. */
  function framesOf(
    results: InferenceSession.OnnxValueMapType,
    { from, to }: { from: number; to: number },
  ): Float32Array {
    const { name } = output.frames!;
    const result = results[name];
    const all = rowsOf(result, labelCount);
    const rows = all?.subarray(from * labelCount, Math.max(from, to) * labelCount);
    const fault =
      rows === undefined
        ? `its output "${name}" is ${describe(result)} where float32 [1, frames, ${labelCount}] is needed`
        : finishFrames(rows, output.activation, labelCount);
    if (rows === undefined || fault !== undefined) {
      throw new SoundpostError('bad_output', `The model ${id} gives no usable frames: ${fault ?? ''}.`);
    }
    // A view would take all of the frames with it on its way to the service.
    return rows.slice();
  }

  return {
    fixedWindow,
    stream,
    async infer(request) {
      const started = performance.now();
      const heard = advance(request);
      const { source = 0, samples, reset, windowSamples, onGrid = false } = request;
      const tensors = heard.input.tensors(windowSamples);
      const featuresDone = performance.now();
      const wanted = output.frames === null ? undefined : request.frames;
      const embedding = use.outputFor(request);
      let answer: FormAnswer;
      try {
        answer = await forms.infer({
          ...{ source, tensors, windowSamples, newSamples: samples.length, reset, onGrid },
          outputs: outputs(wanted !== undefined, embedding !== null),
          feeds: () => feed(heard, tensors),
        });
      } catch (error) {
        // What opening a network says of it.
        if (error instanceof SoundpostError) throw error;
        throw (
          memoryFailure(`The model ${id}`, error, memoryBytes) ??
          new SoundpostError(
            'inference_failed',
            `The model ${id} failed on a window of ${request.windowSamples} samples: ONNX Runtime says "${firstLine(error)}".`,
            { cause: error },
          )
        );
      }
      const { results, computedAs, streamEnded } = answer;
      const scores = scoresOf(results[output.scores]);
      const fault =
        scores === undefined
          ? `its output "${output.scores}" is ${describe(results[output.scores])} where float32 [1, ${labelCount}] is needed`
          : finishScores(scores, output.activation, labelCount);
      if (scores === undefined || fault !== undefined) {
        throw new SoundpostError('bad_output', `The model ${id} gives no usable scores: ${fault ?? ''}.`);
      }
      const frames = wanted === undefined ? null : framesOf(results, wanted);
      const scored: Scored = { scores, frames, embeddings: null, pieces: 0 };
      const wrong = embedding === null ? undefined : use.answer(request, results[embedding], scored);
      if (wrong !== undefined) {
        throw new SoundpostError('bad_output', `The model ${id} gives no usable embedding: ${wrong}.`);
      }
      return {
        ...scored,
        columns: (request.columns ?? 0) > 0 ? heard.input.columns(request.columns!) : null,
        featuresMs: featuresDone - started,
        inferenceMs: performance.now() - featuresDone,
        computedAs,
        ...(streamEnded !== undefined && { streamEnded }),
      };
    },
    async learn(request) {
      features ??= await featuresOf({ ...parts, manifest });
      use.learn(request, features);
      return features;
    },
  };
}

/**
 * The names of the outputs that are fetched. Only what is read: an embedding, or frames, that nobody wants are not
 * computed.
 */
function namedOutputs(
  output: Manifest['output'],
): (withFrames: boolean, withEmbedding: boolean) => readonly string[] {
  const { scores, frames } = output;
  const embedding = embeddingOf({ output })?.name;
  const named = (...names: (string | undefined)[]) => [
    ...new Set(names.filter((name) => name !== undefined)),
  ];
  const all = [
    [named(scores), named(scores, embedding)],
    [named(scores, frames?.name), named(scores, frames?.name, embedding)],
  ] as const;
  return (withFrames, withEmbedding) => all[withFrames ? 1 : 0][withEmbedding ? 1 : 0];
}

/** How many numbers the embedding has; where the network does not say, by a look at one. 0: none, or none of use. */
async function featuresOf(parts: {
  runtime: OnnxRuntime;
  whole: SessionSlot;
  outputMetadata: InferenceSession['outputMetadata'];
  manifest: Manifest;
  createInput: (maxWindowSamples: number) => ModelInput;
}): Promise<number> {
  const { runtime, whole, outputMetadata, manifest } = parts;
  const name = embeddingOf(manifest)?.name;
  if (name === undefined) return 0;
  const declared = outputMetadata.find((value) => value.name === name);
  const size = declared?.isTensor === true ? declared.shape.at(-1) : undefined;
  if (typeof size === 'number' && size > 0) return size;
  try {
    const windowSamples = ownWindowSamples(manifest.input);
    const input = parts.createInput(windowSamples);
    input.push(new Float32Array(windowSamples));
    const tensors = input.tensors(windowSamples);
    const feeds = Object.fromEntries(
      tensors.map((each) => [each.name, new runtime.Tensor('float32', each.data, each.dims)]),
    );
    const session = await whole.get();
    const result = (await session.run(feeds, [name]))[name];
    return result?.type === 'float32' ? (result.dims.at(-1) ?? 0) : 0;
  } catch {
    return 0;
  }
}

/** The output's numbers where it is float32 [1, labels] or [labels]. */
function scoresOf(result: Tensor | undefined): Float32Array | undefined {
  if (result === undefined || !(result.data instanceof Float32Array)) return undefined;
  const { dims } = result;
  return dims.length === 1 || (dims.length === 2 && dims[0] === 1) ? result.data : undefined;
}

/** The output's numbers where it is float32 [1, frames, labels] or [frames, labels]. */
function rowsOf(result: Tensor | undefined, labelCount: number): Float32Array | undefined {
  if (result === undefined || !(result.data instanceof Float32Array)) return undefined;
  const { dims } = result;
  const isRows = dims.length === 2 || (dims.length === 3 && dims[0] === 1);
  return isRows && dims.at(-1) === labelCount ? result.data : undefined;
}

function describe(result: Tensor | undefined): string {
  return result === undefined ? 'missing' : `${result.type} [${result.dims.join(', ')}]`;
}

/**
 * Runs the network before anybody waits for it: memory is touched, and a model that gives nonsense is found out
 * before it goes live. Twice the full window, with noise and with digital silence (which a microphone can
 * give, and which makes careless normalisations divide by zero), and the shortest window where there is one.
 */
async function warmUp(
  model: Pick<LoadedModel, 'infer' | 'fixedWindow'>,
  { manifest, labelCount }: LoadRequest,
  onProgress: () => void,
): Promise<void> {
  const { sample_rate: rate, window_seconds: full, min_seconds: shortest } = manifest.input;
  const trials = [
    { seconds: full, level: 0.05, name: 'noise' },
    { seconds: full, level: 0, name: 'digital silence' },
  ];
  if (!model.fixedWindow) trials.push({ seconds: shortest, level: 0.05, name: 'noise' });
  for (const { seconds, level, name } of trials) {
    const windowSamples = samplesOf(seconds, rate);
    onProgress();
    try {
      const { frames } = await model.infer({
        samples: noise(windowSamples, level),
        reset: true,
        windowSamples,
        frames: manifest.output.frames === null ? undefined : ALL_FRAMES,
      });
      if (manifest.output.frames !== null) {
        checkFrameCount(manifest.id, manifest.output.frames, (frames?.length ?? 0) / labelCount, seconds);
      }
    } catch (error) {
      if (!(error instanceof SoundpostError) || error.code === 'model_memory') throw error;
      throw new SoundpostError(
        error.code === 'bad_output' ? 'model_output' : 'model_shape',
        `${error.message} It was tried with ${seconds} s of ${name}. The manifest does not fit the network, or the network is no tagger.`,
        { cause: error },
      );
    }
  }
}

/** More than any window has. */
const ALL_FRAMES = { from: 0, to: 2 ** 31 };

/**
 * A manifest that says the frames are longer or shorter than they are would give wrong times without a word.
 * Networks differ in what they make of the edges: two frames more or less are no sign of that.
 */
function checkFrameCount(
  id: string,
  { hop_seconds: hop, offset_seconds: offset }: FramesSpec,
  count: number,
  seconds: number,
): void {
  const expected = (seconds - offset) / hop;
  if (Math.abs(count - expected) <= 2) return;
  throw new SoundpostError(
    'bad_output',
    `The model ${id} gives ${count} frames for ${seconds} s, where the manifest's hop of ${hop} s would make ${Math.floor(expected)}.`,
  );
}

/** The same noise each time (a linear congruential generator), so that a warm-up that fails fails again. */
function noise(count: number, level: number): Float32Array {
  const samples = new Float32Array(count);
  let state = 1;
  for (let index = 0; index < count; index += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    samples[index] = level * (state / 2 ** 31 - 1);
  }
  return samples;
}
