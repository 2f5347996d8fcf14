import { stat } from 'node:fs/promises';
import type { InferenceSession } from 'onnxruntime-node';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import { checkDigest } from '../models/digest.js';
import { checkDeclaredMemory, memoryFailure } from './network-memory.js';
import { optimizedCopy, processorOf, type OptimizedCopy } from './optimized-copy.js';
import type { LoadRequest } from './protocol.js';
import { sessionOptions, type OnnxRuntime } from './runtime.js';

/** A network in ONNX Runtime. */
export interface OpenedSession {
  session: InferenceSession;
  /** It is the copy of a network that has proven itself in an earlier life. */
  isProven: boolean;
  /** To be called once the network has proven itself: the next load of it is faster. Never rejects. */
  readonly proven: () => Promise<void>;
}

/**
 * Opens a model's network: the copy that was optimised on this machine, where there is one, else the model itself,
 * which then leaves such a copy.
 * @throws SoundpostError `model_digest`, `model_memory`, `model_unreadable`.
 */
export async function openSession(runtime: OnnxRuntime, request: LoadRequest): Promise<OpenedSession> {
  const { optimizedFolder } = request;
  if (optimizedFolder === null)
    return { session: await openModel(runtime, request), isProven: false, proven: () => Promise.resolve() };
  const copy = copyOf(runtime, request, optimizedFolder);
  const copied = await openCopy(runtime, request, copy);
  const session = copied ?? (await openAndSave(runtime, request, copy));
  // Whatever goes wrong with a copy, the model itself is there.
  return { session, isProven: copied !== null, proven: () => copy.keep().catch(() => undefined) };
}

/** Opens it once more, when it has proven itself before. Throws what `openSession` throws. */
export async function reopenSession(runtime: OnnxRuntime, request: LoadRequest): Promise<InferenceSession> {
  if (request.optimizedFolder === null) return openModel(runtime, request);
  const copy = copyOf(runtime, request, request.optimizedFolder);
  const copied = await openCopy(runtime, request, copy);
  if (copied === null) return openModel(runtime, request);
  await copy.keep().catch(() => undefined);
  return copied;
}

function copyOf(runtime: OnnxRuntime, { manifest }: LoadRequest, folder: string): OptimizedCopy {
  return optimizedCopy(folder, manifest.id, [
    manifest.onnx_sha256,
    runtime.env.versions.node ?? runtime.env.versions.common,
    processorOf(),
  ]);
}

async function openCopy(
  runtime: OnnxRuntime,
  { threads }: LoadRequest,
  copy: OptimizedCopy,
): Promise<InferenceSession | null> {
  try {
    const path = await copy.take();
    if (path === null) return null;
    return await runtime.InferenceSession.create(path, {
      ...sessionOptions(threads),
      graphOptimizationLevel: 'disabled',
    });
  } catch {
    await copy.discard().catch(() => undefined);
    return null;
  }
}

async function openAndSave(
  runtime: OnnxRuntime,
  request: LoadRequest,
  copy: OptimizedCopy,
): Promise<InferenceSession> {
  const draft = await stat(request.onnxPath)
    .then(({ size }) => copy.draft(size))
    .catch(() => null);
  if (draft === null) return openModel(runtime, request);
  try {
    return await openModel(runtime, request, { optimizedModelFilePath: draft });
  } catch (error) {
    await copy.discard().catch(() => undefined);
    if (['model_digest', 'model_memory'].includes(codeOf(error))) throw error;
    return openModel(runtime, request);
  }
}

async function openModel(
  runtime: OnnxRuntime,
  { manifest, onnxPath, threads, memoryBytes }: LoadRequest,
  extra: { optimizedModelFilePath?: string } = {},
): Promise<InferenceSession> {
  await checkDigest(manifest.id, onnxPath, manifest.onnx_sha256);
  const what = `The model ${manifest.id}`;
  checkDeclaredMemory(what, onnxPath, memoryBytes);
  try {
    // By path: a model handed over as a buffer is in memory twice.
    return await runtime.InferenceSession.create(onnxPath, { ...sessionOptions(threads), ...extra });
  } catch (error) {
    const shortage = memoryFailure(what, error, memoryBytes);
    if (shortage !== undefined) throw shortage;
    throw new SoundpostError(
      'model_unreadable',
      `${what} cannot be loaded: ONNX Runtime says "${firstLine(error)}" about ${onnxPath}. Install the model again, or export it with an opset that this version knows.`,
      { cause: error },
    );
  }
}

/** ONNX Runtime's messages run over lines of C++; the first says it. */
export function firstLine(error: unknown): string {
  return (messageOf(error).split('\n')[0] ?? '').slice(0, 300);
}
