import type { FileHandle } from 'node:fs/promises';
import type { Budget } from './limits.js';
import type { PickleValue, Storage } from './pickle-values.js';
import type { Extent } from './stored-tensor.js';

/** What the readers of the formats get. */
export interface OpenFile {
  file: FileHandle;
  /** Its size. */
  bytes: number;
  budget: Budget;
  signal: AbortSignal | undefined;
}

/** What torch saved: an object, and where the storages lie that its tensors are views of. */
export interface TorchFile {
  object: PickleValue;
  extents: ReadonlyMap<Storage, Extent>;
}
