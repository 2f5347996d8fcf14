import { totalmem } from 'node:os';
import { messageOf, SoundpostError } from '../common/errors.js';
import { megabytes } from '../common/size-text.js';
import { declaredMemory } from './declared-memory.js';

/** What a process with a network may take of the memory there is; the rest is for the service and the system. */
const SHARE = 0.75;

/** The most memory that a process with a network may take here, in bytes: a share of the machine's, or of the container's limit. */
export function memoryForNetwork(): number {
  return Math.floor(SHARE * Math.min(containerLimitBytes(), totalmem()));
}

/** The most memory that the container of this process may take, in bytes; Infinity without such a limit. */
export function containerLimitBytes(): number {
  // Without a limit it is 0, or larger than any memory.
  return process.constrainedMemory() || Infinity;
}

/**
 * Looks whether what a network declares can be had at all.
 * @param limitBytes see `memoryForNetwork`
 * @throws SoundpostError `model_memory`
 */
export function checkDeclaredMemory(what: string, path: string, limitBytes: number): void {
  const declared = declaredMemory(path);
  if (declared === null) return;
  const { weightsBytes, largestBytes } = declared;
  if (weightsBytes + largestBytes <= limitBytes) return;
  const needs =
    weightsBytes > limitBytes
      ? `its weights alone take ${megabytes(weightsBytes)}`
      : `its weights take ${megabytes(weightsBytes)} and its largest fixed tensor ${megabytes(largestBytes)}`;
  throw tooLarge(what, needs, limitBytes);
}

/** `model_memory` where ONNX Runtime got no memory within the limit, else undefined. */
export function memoryFailure(what: string, error: unknown, limitBytes: number): SoundpostError | undefined {
  return /bad[_ ]?alloc|allocate memory|failed to allocate|out of memory/i.test(messageOf(error))
    ? tooLarge(what, 'it asked for more than it may have', limitBytes)
    : undefined;
}

function tooLarge(what: string, needs: string, limitBytes: number): SoundpostError {
  return new SoundpostError(
    'model_memory',
    `${what} is too large for this machine: ${needs}, and a network may take ${megabytes(limitBytes)} here, three quarters of the memory. Choose a smaller one.`,
  );
}
