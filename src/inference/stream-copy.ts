import type { InferenceSession } from 'onnxruntime-node';
import { optimizedCopy } from './optimized-copy.js';
import { sessionOptions, type OnnxRuntime } from './runtime.js';

/** The file of a network as a stream, in the folder of the optimised copies. */
export interface StreamCopy {
  exists(): Promise<boolean>;
  /** A path for the file; null where there is no room for it on the disk. */
  draft(bytes: number): Promise<string | null>;
  /**
   * Opens the one that was drafted, and has ONNX Runtime leave one that is optimised for this machine in place of it, where
   * there is the memory: it is opened in a fraction of the time, and of the memory.
   */
  openDraft(path: string, bytes: number): Promise<InferenceSession>;
  /** Opens it again. Throws where it is gone. */
  open(): Promise<InferenceSession>;
  /** Removes it, and what was drafted. */
  remove(): Promise<void>;
}

/** @param madeFrom see `optimizedCopy` */
export function streamCopy(options: {
  runtime: OnnxRuntime;
  threads: number;
  folder: string;
  id: string;
  madeFrom: readonly string[];
}): StreamCopy {
  const { runtime, threads, folder, id, madeFrom } = options;
  const plain = optimizedCopy(folder, id, madeFrom);
  const optimized = optimizedCopy(folder, id, [...madeFrom, 'optimised']);
  const create = (path: string, extra: { optimizedModelFilePath?: string } = {}) =>
    runtime.InferenceSession.create(path, { ...sessionOptions(threads), ...extra });

  async function openOptimized(): Promise<InferenceSession | null> {
    const path = await optimized.take();
    if (path === null) return null;
    const session = await runtime.InferenceSession.create(path, {
      ...sessionOptions(threads),
      graphOptimizationLevel: 'disabled',
    });
    await optimized.keep();
    return session;
  }

  return {
    exists: async () => (await optimized.exists()) || (await plain.exists()),
    draft: (bytes) => plain.draft(bytes, 'us'),
    async openDraft(path, bytes) {
      const saved = await optimized.draft(bytes).catch(() => null);
      if (saved !== null) {
        try {
          const session = await create(path, { optimizedModelFilePath: saved });
          await optimized.keep();
          await plain.discard();
          return session;
        } catch {
          await optimized.discard().catch(() => undefined);
        }
      }
      const session = await create(path);
      await plain.keep();
      return session;
    },
    async open() {
      const session = await openOptimized();
      if (session !== null) return session;
      const path = await plain.take();
      if (path === null) throw new Error('its file is gone');
      const opened = await create(path);
      await plain.keep();
      return opened;
    },
    async remove() {
      for (const copy of [optimized, plain]) {
        await copy.discard();
        if ((await copy.take()) !== null) await copy.discard();
      }
    },
  };
}
