import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { messageOf } from '../common/errors.js';
import type { StreamPlan } from '../convert/streaming/plan.js';
import type { ComputedAs } from './engine.js';
import type { InputTensor } from './model-input.js';
import { createNetworkStream, type NetworkStream } from './network-stream.js';
import type { OnnxRuntime } from './runtime.js';
import type { SessionSlot } from './session-slot.js';
import type { OutputShapes } from './stream-record.js';

/*
 * A network that can be run in two forms: for whole windows, and as a stream. Each has its own copy of the weights, so both
 * are in memory only for a while: windows that cannot be streamed (those that grow at the start, sound that was handed in)
 * come in runs.
 */

/** One window, ready for either form. */
export interface FormWindow {
  source: number;
  tensors: readonly InputTensor[];
  windowSamples: number;
  /** How many samples came since the request before of this source. */
  newSamples: number;
  /** Nothing of the requests before is in it. */
  reset: boolean;
  /** See `InferenceRequest`. */
  onGrid: boolean;
  /** Names of the outputs that are wanted. */
  outputs: readonly string[];
  /** The inputs of the whole window. */
  feeds: () => Record<string, Tensor>;
}

export interface FormAnswer {
  results: InferenceSession.OnnxValueMapType;
  computedAs: ComputedAs;
  /** Why the network is no stream any more; once. */
  streamEnded?: string;
}

export interface NetworkForms {
  /** The outputs of a window, in the form that takes least. Throws what ONNX Runtime throws for the whole window. */
  infer(window: FormWindow): Promise<FormAnswer>;
}

/** After so many windows in a row that can be streamed they are. */
const STREAM_AFTER = 2;
/** After so many the other form's memory is given back. */
const ALONE_AFTER = 10;

/** After so many in a row that do not join the one before, or too far behind it, windows of a source are no stream. */
const COLD = 2;

interface SourceState {
  /** Windows in a row for which all of a stream would have to be computed. */
  cold: number;
  /** How far the sound has come since the last window of the stream; null: they do not join. */
  moved: number | null;
  stream: NetworkStream | null;
}

/** A network as a stream. */
export interface StreamForm {
  readonly plan: StreamPlan;
  readonly slot: SessionSlot;
  /** What each output must be like. */
  readonly outputs: OutputShapes;
  /** It has failed in a window, and is not used any more. Never rejects. */
  failed(reason: string): Promise<void>;
}

/** @param options.hasRoomForBoth whether both forms may be in memory at once just now */
export function createNetworkForms(options: {
  runtime: OnnxRuntime;
  whole: SessionSlot;
  stream: StreamForm | null;
  hasRoomForBoth: () => boolean;
}): NetworkForms {
  const { runtime, whole, hasRoomForBoth } = options;
  let { stream } = options;
  const sources: (SourceState | undefined)[] = [];
  /** Windows in a row that could be streamed. */
  let inRow = 0;
  /** What has to be over before the next window; and whether something is under way at all. */
  let before: Promise<void> | null = null;
  let isChanging = false;
  let ended: string | null = null;

  async function closeStream(): Promise<void> {
    for (const source of sources) if (source !== undefined) source.stream = null;
    await stream?.slot.release();
  }

  /** No stream from now on. Never rejects: the window that it was meant for waits for its answer. */
  async function giveUp(error: unknown): Promise<void> {
    ended = messageOf(error).split('\n')[0] ?? '';
    await closeStream().catch(() => undefined);
    stream = null;
  }

  /** Opens the other form; where there is room, while windows go on. */
  async function toStream(slot: SessionSlot, isAlone: boolean): Promise<void> {
    isChanging = true;
    try {
      if (isAlone) await whole.release();
      await slot.get();
    } catch (error) {
      await giveUp(error);
    } finally {
      isChanging = false;
    }
  }

  async function wholeSession(): Promise<InferenceSession> {
    if (whole.isOpen || stream?.slot.isOpen !== true) return whole.get();
    if (!hasRoomForBoth()) await closeStream();
    try {
      return await whole.get();
    } catch {
      await closeStream();
      return whole.get();
    }
  }

  async function asStream(
    { plan, slot, outputs: shapes }: StreamForm,
    state: SourceState,
    window: FormWindow,
  ): Promise<FormAnswer> {
    const session = await slot.get();
    state.stream ??= createNetworkStream({ runtime, session, plan, outputs: window.outputs });
    const { moved, stream: of } = state;
    const { beginnings } = of;
    state.moved = null;
    const results = await of.infer(window.tensors, window.windowSamples, moved, window.outputs);
    const fault = faultOf(results, window.outputs, shapes);
    if (fault !== null) throw new Error(fault);
    state.moved = 0;
    return { results, computedAs: of.beginnings === beginnings ? 'stream' : 'begun' };
  }

  async function answer(state: SourceState, window: FormWindow, canStream: boolean): Promise<FormAnswer> {
    if (stream !== null && canStream && stream.slot.isOpen) {
      try {
        return await asStream(stream, state, window);
      } catch (error) {
        const failing = stream;
        await giveUp(error);
        // Nobody waits for what is written down.
        void failing.failed(ended ?? '');
      }
    }
    const session = await wholeSession();
    return { results: await session.run(window.feeds(), window.outputs), computedAs: 'whole' };
  }

  return {
    async infer(window) {
      await before;
      before = null;
      const state = (sources[window.source] ??= { moved: null, stream: null, cold: 0 });
      state.moved = window.reset || state.moved === null ? null : state.moved + window.newSamples;
      const isCold = window.reset || window.newSamples > (stream?.plan.maxHopSamples ?? 0);
      state.cold = isCold ? state.cold + 1 : 0;
      const canStream =
        window.onGrid && window.windowSamples === stream?.plan.windowSamples && state.cold < COLD;
      inRow = canStream ? inRow + 1 : 0;
      const answered = await answer(state, window, canStream);
      if (stream !== null && !stream.slot.isOpen && !isChanging && inRow >= STREAM_AFTER) {
        const isAlone = !hasRoomForBoth();
        const change = toStream(stream.slot, isAlone);
        if (isAlone) before = change;
      }
      if (stream?.slot.isOpen === true && whole.isOpen && inRow >= ALONE_AFTER) await whole.release();
      if (ended === null) return answered;
      const streamEnded = ended;
      ended = null;
      return { ...answered, streamEnded };
    },
  };
}

/** What is wrong with what a stream gave; null: nothing. A network says such things of itself only with its whole window. */
function faultOf(
  results: InferenceSession.OnnxValueMapType,
  wanted: readonly string[],
  shapes: OutputShapes,
): string | null {
  for (const name of wanted) {
    const found = results[name];
    const expected = shapes[name]?.join(', ');
    if (!(found?.data instanceof Float32Array) || found.dims.join(', ') !== expected) {
      const given = found === undefined ? 'missing' : `${found.type} [${found.dims.join(', ')}]`;
      return `its output "${name}" was ${given} where the whole window gives float32 [${expected ?? ''}]`;
    }
    // A loop, since this is done for each window: `every` would call a function for each number.
    for (const value of found.data) {
      if (!Number.isFinite(value)) return `its output "${name}" held ${value}`;
    }
  }
  return null;
}
