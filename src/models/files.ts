import { createHash } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { messageOf, SoundpostError } from '../common/errors.js';

/**
 * A small text file, read whole.
 * @throws SoundpostError with `code` when it is missing, not a plain file (a pipe would never end), larger
 * than `maxBytes`, or not readable.
 */
export async function readSmallText(path: string, maxBytes: number, code: string): Promise<string> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new SoundpostError(code, `${path} is not a plain file.`);
    if (found.size > maxBytes) {
      throw new SoundpostError(code, `${path} has ${found.size} bytes; more than ${maxBytes} is not believable.`);
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof SoundpostError) throw error;
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : 'cannot be read';
    throw new SoundpostError(code, `${path} ${reason}: ${messageOf(error)}`, { cause: error });
  }
}

/** SHA-256 of a file in lower-case hexadecimal, read piece by piece: a model may be larger than the memory. */
export async function sha256OfFile(path: string): Promise<string> {
  return digestOfFile(path, 'sha256');
}

/** Digest of a file in lower-case hexadecimal. */
export async function digestOfFile(path: string, algorithm: 'sha256' | 'md5'): Promise<string> {
  const hash = createHash(algorithm);
  const piece = Buffer.allocUnsafe(1 << 18);
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(piece.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
