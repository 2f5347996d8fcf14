import { megabytes } from '../../common/size-text.js';
import { tooLarge } from './faults.js';

const MIB = 1024 * 1024;

/** Bounds on what a file may make its reader do. Official checkpoints stay more than tenfold below each. */
export const LIMITS = {
  /** Bytes that the objects of one file's pickles may take, by `Budget`'s reckoning. */
  objectBytes: 64 * MIB,
  /** Opcodes of one pickle. */
  opcodes: 16_000_000,
  /** Values on the unpickler's stack. */
  stack: 1_000_000,
  /** Bytes of a text that is kept; longer ones are skipped (the pickled arrays of training samplers, 35 MB). */
  textBytes: 64 * 1024,
  /** UTF-16 units of a tensor's name. */
  nameLength: 512,
  dimensions: 32,
  /** Elements of a tensor, and bytes that must be in memory to read one. */
  elements: 2 ** 29,
  bytesAtOnce: 2 ** 31,
  /** Entries of a zip file, and bytes of its directory. */
  zipEntries: 65_536,
  zipDirectoryBytes: 16 * MIB,
  /** A deflated pickle, inflated. */
  inflatedPickleBytes: 32 * MIB,
  /** How many times larger than the file its deflated entries may become; weights hardly compress at all. */
  inflation: 16,
  safetensorsHeaderBytes: 16 * MIB,
  /** How many times over the stored bytes may be read for all tensors together (tied weights, views). */
  rereads: 8,
} as const;

/** Adds up what reading a file has allocated for its objects, and refuses to go past a limit. */
export interface Budget {
  /** To be called before the allocation. Throws the fault `checkpoint_too_large`. */
  charge(bytes: number): void;
  readonly used: number;
}

export function createBudget(limit: number = LIMITS.objectBytes): Budget {
  let used = 0;
  return {
    charge(bytes) {
      used += bytes;
      if (used > limit) {
        throw tooLarge(`its objects would take more than ${megabytes(limit)} of memory`);
      }
    },
    get used() {
      return used;
    },
  };
}
