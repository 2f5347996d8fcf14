import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { headOf, type LineHead } from './record.js';

const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
const NEWLINE = 0x0a;
/** So much is looked at before others have their turn: a few milliseconds on a small computer. */
const SLICE_BYTES = 32 * 1024;
/** What is longer is no line of ours. */
const MAX_LINE_BYTES = 128 * 1024;

/**
 * Calls back with every whole line of a file, in order. Resolves to how many lines were damaged. Rejects with what the
 * disk says.
 * @param options.bytes no further than that: somebody may be writing behind it
 * @param options.signal rejects with its reason between two slices
 */
export async function readLines(
  path: string,
  take: (head: LineHead, line: Buffer) => void,
  options: { bytes: number; signal?: AbortSignal | undefined },
): Promise<number> {
  const file = await open(path, OPEN_FLAGS);
  try {
    const slice = Buffer.alloc(SLICE_BYTES);
    const splitter = createSplitter(take);
    for (let at = 0; at < options.bytes;) {
      options.signal?.throwIfAborted();
      const wanted = Math.min(slice.length, options.bytes - at);
      const { bytesRead } = await file.read(slice, 0, wanted, at);
      if (bytesRead === 0) break;
      at += bytesRead;
      splitter.add(slice.subarray(0, bytesRead));
    }
    return splitter.end();
  } finally {
    await file.close();
  }
}

/** Puts lines together from pieces of a file; what `take` is given holds only during the call. */
function createSplitter(take: (head: LineHead, line: Buffer) => void) {
  let begun: Buffer[] = [];
  let begunBytes = 0;
  let damaged = 0;

  function finish(line: Buffer): void {
    if (line.length === 0) return;
    const head = line.length > MAX_LINE_BYTES ? null : headOf(line);
    if (head === null) damaged += 1;
    else take(head, line);
  }

  return {
    add(piece: Buffer): void {
      let from = 0;
      for (let to = piece.indexOf(NEWLINE); to >= 0; to = piece.indexOf(NEWLINE, from)) {
        const rest = piece.subarray(from, to);
        finish(begun.length === 0 ? rest : Buffer.concat([...begun, rest]));
        begun = [];
        begunBytes = 0;
        from = to + 1;
      }
      if (from === piece.length) return;
      begunBytes += piece.length - from;
      // Of what is no line one piece is enough to tell.
      if (begunBytes <= 2 * MAX_LINE_BYTES) begun.push(Buffer.from(piece.subarray(from)));
    },
    /** What stands at the end without a newline may be a whole line all the same. */
    end(): number {
      finish(Buffer.concat(begun));
      return damaged;
    },
  };
}
