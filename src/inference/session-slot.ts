import type { InferenceSession } from 'onnxruntime-node';

/** A network that is in memory or not. */
export interface SessionSlot {
  readonly isOpen: boolean;
  /** Opens it where it is not. Throws what `open` throws. */
  get(): Promise<InferenceSession>;
  /** Gives its memory back; while no run is under way. */
  release(): Promise<void>;
}

/** @param first one that is open already */
export function createSessionSlot(
  open: () => Promise<InferenceSession>,
  first: InferenceSession | null = null,
): SessionSlot {
  let session = first;
  let opening: Promise<InferenceSession> | null = null;
  return {
    get isOpen() {
      return session !== null;
    },
    async get() {
      if (session !== null) return session;
      opening ??= open();
      try {
        return (session = await opening);
      } finally {
        opening = null;
      }
    },
    async release() {
      const held = session;
      session = null;
      await held?.release();
    },
  };
}
