import { messageOf } from '../common/errors.js';
import type { LeftEdge, StreamPlan } from '../convert/streaming/plan.js';
import type { EngineStream } from './engine.js';
import { fullWindowSamples } from './full-window.js';
import { processorOf } from './optimized-copy.js';
import type { StreamWish } from './protocol.js';
import { createSessionSlot, type SessionSlot } from './session-slot.js';
import { streamCopy, type StreamCopy } from './stream-copy.js';
import { cpuMs, feedsOf, tryBoth, type StreamParts, type Tried } from './stream-trial.js';
import { streamRecords, type OutputShapes, type StreamRecords } from './stream-record.js';

/*
 * A network as a stream on this machine: made of the model's own file, kept in the folder of the optimised copies, and tried
 * beside the whole window before it is used. What comes of it is remembered, so that the next load only reads it.
 */

/** A network that is to be a stream. */
export interface PreparedStream {
  readonly plan: StreamPlan;
  readonly stream: EngineStream;
  readonly slot: SessionSlot;
  /** What each output must be like. */
  readonly outputs: OutputShapes;
  /** It has failed in a window: it is not used for a day, and made anew then. Never rejects. */
  failed(reason: string): Promise<void>;
}

/** Raised when another stream is made of the same network. */
const VERSION = '4';
/**
 * So many attempts in a row may be cut short, by a loss of power or a stop. After that it is taken that the process does not
 * survive them.
 */
const MAX_CUT_SHORT = 2;
/** When a network is tried again whose attempts the process did not survive, or that has failed as a stream. */
const AGAIN_MS = 24 * 3600_000;
/** How often it is told that it goes on, and for how long at the most. */
const SIGN_MS = 2000;
const MAX_MS = 10 * 60_000;
/** What was measured is measured again after so long: the machine may have been busy. */
const MEASURED_MS = 7 * 24 * 3600_000;
/** With the edge exact the two forms must agree so well, in proportion to the largest number of an output. */
const TOLERANCE = 1e-4;

/**
 * The network as a stream, or the reason, a sentence, why it is none. Afterwards the network for whole windows is open.
 * Throws only what opening that throws.
 */
export async function prepareStream(
  parts: StreamParts,
  wish: StreamWish,
): Promise<PreparedStream | { reason: string }> {
  const { runtime, request } = parts;
  const { manifest, optimizedFolder: folder } = request;
  if (folder === null) return { reason: 'there is no folder for it' };
  // Reading and writing a large network takes longer than a window.
  const signs = setInterval(() => parts.onProgress(), SIGN_MS);
  const noMoreSigns = setTimeout(() => clearInterval(signs), MAX_MS);
  try {
    const windowSamples = fullWindowSamples({ manifest, fixedWindow: parts.fixedWindow }, wish.windowSeconds);
    const madeFrom = [
      ...['stream', VERSION, manifest.onnx_sha256, String(windowSamples), String(wish.hopSeconds)],
      ...[String(wish.worthBelow), wish.leftEdge, String(request.threads)],
      ...[runtime.env.versions.node ?? runtime.env.versions.common, processorOf()],
    ];
    const records = streamRecords(folder, manifest.id, madeFrom);
    const known = await records.read();
    if (known !== null) await records.use();
    if (known !== null && 'reason' in known && Date.now() < (known.untilMs ?? Infinity)) {
      return { reason: known.reason };
    }
    const copy = streamCopy({ runtime, threads: request.threads, folder, id: manifest.id, madeFrom });
    const failed = async (reason: string): Promise<void> => {
      await records.write({ reason, untilMs: Date.now() + AGAIN_MS }).catch(() => undefined);
      await copy.remove().catch(() => undefined);
    };
    if (known !== null && !('reason' in known) && (await copy.exists())) {
      return { ...known, slot: createSessionSlot(() => copy.open()), failed };
    }

    const wholeMs = await timeOfWhole(parts, windowSamples);
    if (wholeMs < wish.worthAbove * 1000 * wish.hopSeconds) {
      const nothing = {
        reason: `a window takes ${wholeMs.toFixed(1)} ms in ${wish.hopSeconds.toFixed(1)} s anyway`,
        untilMs: Date.now() + MEASURED_MS,
      };
      await records.write(nothing);
      return nothing;
    }
    const cutShort = 1 + (known !== null && 'reason' in known ? (known.cutShort ?? 0) : 0);
    const made = await makeAndTry(parts, wish, { windowSamples, records, copy, cutShort });
    return 'reason' in made ? made : { ...made, failed };
  } catch (error) {
    return { reason: lineOf(error) };
  } finally {
    clearInterval(signs);
    clearTimeout(noMoreSigns);
    // Those who load a model rely on it.
    await parts.whole.get();
  }
}

/**
 * Makes the second form, tries it, and remembers what came of it. Where that fails, by a disk that is full or for whatever
 * other reason, nothing stays of it, and the next load tries again. Throws only where that cannot be written down, either.
 */
async function makeAndTry(
  parts: StreamParts,
  wish: StreamWish,
  to: { windowSamples: number; records: StreamRecords; copy: StreamCopy; cutShort: number },
): Promise<Omit<PreparedStream, 'failed'> | { reason: string }> {
  const { request, whole, onProgress } = parts;
  const { windowSamples, records, copy, cutShort } = to;
  const untilMs = cutShort < MAX_CUT_SHORT ? 0 : Date.now() + AGAIN_MS;
  await records.write({ reason: 'it was tried, and the process ended', untilMs, cutShort });
  let slot: SessionSlot | null = null;
  try {
    onProgress('making');
    if (!parts.hasRoomForBoth()) await whole.release();
    // What it takes to make one is not in memory where one is there.
    const { makeStream } = await import('./make-stream.js');
    const made = await makeStream(request, { ...wish, windowSamples }, copy);
    // As large as the model, and outside of the heap, so that nothing else would have it collected.
    globalThis.gc?.();
    if ('reason' in made) {
      const { reason, isLasting } = made;
      await records.write(isLasting ? { reason } : { reason, untilMs: 0 });
      return { reason };
    }
    const { plan, path, bytes } = made;
    slot = slotOf(copy, path, bytes);
    const { outputs, ...tried } = await tryBoth(parts, slot, plan);
    const outcome = judged(tried, plan, {
      ...wish,
      sampleRate: request.manifest.input.sample_rate,
    });
    if (!('reason' in outcome)) {
      await records.write({ plan, outputs, stream: outcome });
      return { plan, outputs, stream: outcome, slot };
    }
    await records.write({ ...outcome, untilMs: Date.now() + MEASURED_MS });
    await slot.release();
    await copy.remove();
    return outcome;
  } catch (error) {
    const reason = lineOf(error);
    await slot?.release().catch(() => undefined);
    // First: where the disk is full, the record would find no room otherwise.
    await copy.remove().catch(() => undefined);
    await records.write({ reason, untilMs: 0 });
    return { reason };
  }
}

/** Opened for the first time it is the one that was drafted. */
function slotOf(copy: StreamCopy, path: string, bytes: number): SessionSlot {
  let isDraft = true;
  return createSessionSlot(() => {
    const session = isDraft ? copy.openDraft(path, bytes) : copy.open();
    isDraft = false;
    return session;
  });
}

function lineOf(error: unknown): string {
  return messageOf(error).split('\n')[0] ?? '';
}

/** What a whole window takes at least, ms of CPU. */
async function timeOfWhole(
  { runtime, createInput, whole, onProgress }: StreamParts,
  windowSamples: number,
): Promise<number> {
  const input = createInput(windowSamples);
  input.push(new Float32Array(windowSamples).fill(0.01));
  const feeds = feedsOf(runtime, input.tensors(windowSamples));
  const session = await whole.get();
  let least = Infinity;
  for (let run = 0; run < 3; run += 1) {
    onProgress();
    const started = cpuMs();
    await session.run(feeds);
    least = Math.min(least, cpuMs() - started);
  }
  return least;
}

function judged(
  { wholeMs, streamMs, keptBytes, worst, scoreOff }: Omit<Tried, 'outputs'>,
  { gridSamples, windowSamples }: StreamPlan,
  { worthBelow, leftEdge, sampleRate }: { worthBelow: number; leftEdge: LeftEdge; sampleRate: number },
): EngineStream | { reason: string } {
  // How far the other form is off depends on the network and the sound, and is told.
  const tolerated = leftEdge === 'exact' ? TOLERANCE : Number.MAX_VALUE;
  if (!(worst <= tolerated)) return { reason: `its scores would be ${worst.toExponential(1)} off` };
  if (!(streamMs < worthBelow * wholeMs)) {
    return {
      reason: `a hop would take ${streamMs.toFixed(1)} ms, where the whole window takes ${wholeMs.toFixed(1)} ms`,
    };
  }
  const gridSeconds = gridSamples / sampleRate;
  return { gridSamples, gridSeconds, windowSamples, keptBytes, wholeMs, streamMs, leftEdge, scoreOff };
}
