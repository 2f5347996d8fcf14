/**
 * Work that may be asked for while it is being done: one round runs at a time, and a call during it brings one more
 * round after it, not inside it. Returns whether this call did the rounds; false where they are being done already.
 */
export function createRounds(work: () => void): () => boolean {
  let calls = 0;
  let running = false;
  return () => {
    calls += 1;
    if (running) return false;
    running = true;
    try {
      for (let served = 0; served !== calls;) {
        served = calls;
        work();
      }
    } finally {
      running = false;
    }
    return true;
  };
}

/** The same for work that takes time. `failed` gets what a round rejects with; no more rounds follow it. */
export function createAsyncRounds(work: () => Promise<void>, failed: (error: unknown) => void): () => void {
  let calls = 0;
  let running = false;
  const run = async (): Promise<void> => {
    running = true;
    try {
      for (let served = 0; served !== calls;) {
        served = calls;
        await work();
      }
    } finally {
      running = false;
    }
  };
  return () => {
    calls += 1;
    if (!running) void run().catch(failed);
  };
}
