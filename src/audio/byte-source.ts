import type { FileHandle } from 'node:fs/promises';

/** Bytes that can be read at a place: a file, or a pipe, which only goes forward. */
export interface ByteSource {
  /** Infinity where it is not known. */
  readonly size: number;
  /** Fills `into` from `offset` on as far as there is data; returns how many bytes. */
  read(into: Uint8Array, offset: number): Promise<number>;
}

/** A file of `size` bytes. */
export function bytesOfFile(file: FileHandle, size: number): ByteSource {
  return {
    size,
    async read(into, offset) {
      let done = 0;
      while (done < into.length) {
        const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    },
  };
}

export interface PipeBytes extends ByteSource {
  /** All bytes from the beginning on, for another reader. Only before a read has gone beyond `PIPE_LOOK_BACK`. */
  all(): AsyncGenerator<Buffer, void, void>;
}

/** How far behind its furthest read a pipe can still be read. */
export const PIPE_LOOK_BACK = 4096;

/** A pipe as a byte source: what was read is forgotten, but for the last `PIPE_LOOK_BACK` bytes. */
export function bytesOfPipe(pieces: AsyncIterable<Buffer>): PipeBytes {
  const chunks = pieces[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  /** The bytes that are kept, and where they begin. */
  let kept: Buffer = Buffer.alloc(0);
  let start = 0;

  const next = async (): Promise<Buffer | null> => {
    const { value, done } = await chunks.next();
    return done === true ? null : value;
  };
  return {
    size: Infinity,
    async read(into, offset) {
      if (offset < start) throw new Error('a pipe cannot be read backwards');
      const parts = [kept];
      let end = start + kept.length;
      while (end < offset + into.length) {
        const bytes = await next();
        if (bytes === null) break;
        parts.push(bytes);
        end += bytes.length;
        // What is only passed over need not be kept until the end of the way.
        while (parts.length > 1 && start + parts[0]!.length <= offset - PIPE_LOOK_BACK) {
          start += parts.shift()!.length;
        }
      }
      const all = parts.length === 1 ? kept : Buffer.concat(parts);
      const count = Math.max(0, all.copy(into, 0, Math.min(all.length, offset - start)));
      const forgotten = Math.min(all.length, Math.max(0, offset - PIPE_LOOK_BACK - start));
      kept = all.subarray(forgotten);
      start += forgotten;
      return Math.min(count, into.length);
    },
    async *all() {
      if (start > 0) throw new Error('a pipe cannot be read backwards');
      if (kept.length > 0) yield kept;
      for (let bytes = await next(); bytes !== null; bytes = await next()) yield bytes;
    },
  };
}
