import type { ErrorCode } from '../common/error-codes.js';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { readPlain } from '../common/bounded-read.js';
import { SoundpostError } from '../common/errors.js';
import { shortageOf } from '../common/shortage.js';

/**
 * A small text file, read whole.
 * @throws SoundpostError with `code` when it is missing, not a plain file (a pipe would never end), larger
 * than `maxBytes`, or not readable; `no_resources` where only the machine was short of something.
 */
export async function readSmallText(path: string, maxBytes: number, code: ErrorCode): Promise<string> {
  const read = await readPlain(path, maxBytes);
  if ('bytes' in read) return read.bytes.toString('utf8');
  const shortage = shortageOf(`${path} could not be read`, read.error);
  if (shortage !== null) throw shortage;
  throw new SoundpostError(code, `${path} ${read.problem}.`, { cause: read.error });
}

/** SHA-256 of a file in lower-case hexadecimal, read piece by piece: a model may be larger than the memory. */
export async function sha256OfFile(path: string): Promise<string> {
  return digestOfFile(path, 'sha256');
}

/** Digest of a plain file in lower-case hexadecimal; rejects where it is none, for a pipe or a device may never end. */
export async function digestOfFile(path: string, algorithm: 'sha256' | 'md5'): Promise<string> {
  const hash = createHash(algorithm);
  const piece = Buffer.allocUnsafe(1 << 18);
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${path} is not a plain file`);
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(piece.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
