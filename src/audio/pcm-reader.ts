/** Sound that is pulled: mono samples from a file or from a decoder, piece by piece. */
export interface PcmReader {
  /** Hz */
  readonly sampleRate: number;
  /** What is odd about the sound so far, in sentences for people; complete after the end. */
  warnings: () => string[];
  /**
   * Fills `out` with the next mono samples and returns how many; fewer than `out.length` only at the end, then 0.
   * One read at a time.
   */
  read: (out: Float32Array) => Promise<number>;
  /** Back to the first sample. */
  rewind: () => Promise<void>;
  /** Ids of the processes it runs now. */
  pids: () => number[];
  /** Leaves nothing behind; also ends a read that waits. May be called twice. */
  close: () => Promise<void>;
}

/**
 * Tells each oddity of the sound once, however often it is asked; that the numbers in a warning have grown makes it no
 * other one.
 */
export function tellOnce(tell: (warning: string) => void): (reader: Pick<PcmReader, 'warnings'>) => void {
  const told = new Set<string>();
  return (reader) => {
    for (const warning of reader.warnings()) {
      const kind = warning.replace(/\d+/g, '#');
      if (told.has(kind)) continue;
      told.add(kind);
      tell(warning);
    }
  };
}
