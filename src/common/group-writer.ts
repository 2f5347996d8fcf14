/** Writes what there is to write, one write after the other. */
export interface GroupWriter {
  /**
   * Begins at the end of this turn, so that what comes together is written together. Resolves, and never rejects, when
   * there is nothing left to write, or it cannot be written now.
   */
  write(): Promise<void>;
  /** Resolves when nothing is being written. */
  idle(): Promise<void>;
}

/**
 * @param next the next write, or null where there is none or none may be made
 * @param patienceMs a write that takes longer has failed for now, though it is still waited for
 * @param fail told why a write has failed
 */
export function createGroupWriter(options: {
  next: () => (() => Promise<void>) | null;
  patienceMs: number;
  fail: (error: unknown) => void;
}): GroupWriter {
  const { next, patienceMs, fail } = options;
  let writing: Promise<void> | null = null;

  async function writeAll(): Promise<void> {
    for (let work = next(); work !== null; work = next()) {
      const timer = setTimeout(() => {
        fail(new Error(`it takes longer than ${patienceMs / 1000} s`));
      }, patienceMs);
      await work().catch(fail);
      clearTimeout(timer);
    }
    writing = null;
  }

  return {
    write() {
      writing ??= Promise.resolve().then(writeAll);
      return writing;
    },
    idle: () => writing ?? Promise.resolve(),
  };
}
