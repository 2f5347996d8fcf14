import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { bytesOf, type Dtype } from './dtypes.js';
import { namingFile, notAFile, shown, tooLarge, unreadable } from './faults.js';
import { createBudget, LIMITS, type Budget } from './limits.js';
import type { OpenFile, TorchFile } from './open-file.js';
import { looksLikeSafetensors, readSafetensors } from './safetensors.js';
import { chooseBehind, findStateDict } from './state-dict.js';
import { locate, readFully, readingBytes, readStoredTensor, type StoredTensor } from './stored-tensor.js';
import { readTorchLegacy } from './torch-legacy.js';
import { readTorchZip } from './torch-zip.js';

export type CheckpointFormat = 'zip' | 'legacy' | 'safetensors';

/** A tensor of a checkpoint, without its values. */
export interface TensorInfo {
  name: string;
  /** As it is stored. */
  dtype: Dtype;
  /** Empty for a scalar. */
  shape: readonly number[];
  elements: number;
}

/** The weights of an open file; tensors are read from it one by one, when asked for. */
export interface Checkpoint {
  readonly format: CheckpointFormat;
  /** Where in it the state dict was found, in the form of `stateDict`; empty for the checkpoint itself. */
  readonly stateDict: string;
  /** In the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * The values of a tensor as float32, contiguous, row-major, in memory that is the caller's. Numbers that float32 does
   * not hold are rounded, those past its range become infinite. Rejects with SoundpostError `checkpoint_unreadable`.
   */
  read(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** Closes the file. */
  close(): Promise<void>;
}

export interface OpenCheckpointOptions {
  /** Ends opening and reading with its reason. */
  signal?: AbortSignal | undefined;
  /** Where the state dict is, see `findStateDict`; found where left out. */
  stateDict?: string | undefined;
  /** Counts the memory that opening takes; for those who want to know. */
  budget?: Budget | undefined;
}

/**
 * Opens a file of torch.save (zip, or legacy from before PyTorch 1.6) or of safetensors. Nothing in it is run: of the
 * pickle of torch.save only tensors and plain containers are known. Time and memory are bounded whatever is in the
 * file. Names are as they are in the file.
 *
 * Rejects with SoundpostError `checkpoint_unreadable` (no checkpoint, cut off, contradicts itself),
 * `checkpoint_forbidden` (names what only code could answer; the message says which global) and
 * `checkpoint_too_large` (past `LIMITS`), each naming the file.
 */
export async function openCheckpoint(path: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
  const { signal } = options;
  return namingFile(path, async () => {
    signal?.throwIfAborted();
    const file = await openRegular(path);
    try {
      const { size } = await file.stat();
      const budget = options.budget ?? createBudget();
      const { format, stateDict, tensors } = await readIndex(
        { file, bytes: size, budget, signal },
        path,
        options,
      );
      refuseRereads(tensors, size);
      return checkpointOf(path, file, { format, stateDict, tensors }, signal);
    } catch (error) {
      await file.close();
      throw error;
    }
  });
}

/** Opening a pipe the usual way would wait for its writer. */
async function openRegular(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const stat = await file.stat();
  if (stat.isFile()) return file;
  await file.close();
  throw notAFile(stat.isDirectory() ? 'it is a folder' : 'it is not a regular file');
}

interface Index {
  format: CheckpointFormat;
  stateDict: string;
  tensors: ReadonlyMap<string, StoredTensor>;
}

async function readIndex(source: OpenFile, path: string, options: OpenCheckpointOptions): Promise<Index> {
  const { file, bytes } = source;
  if (bytes === 0) throw unreadable('it is empty');
  const head = Buffer.alloc(Math.min(16, bytes));
  await readFully(file, head, 0);
  if (head.subarray(0, 4).equals(Buffer.from('PK\x03\x04'))) {
    return { format: 'zip', ...tensorsOf(await readTorchZip(source), options) };
  }
  if (path.endsWith('.safetensors') || looksLikeSafetensors(head, bytes)) {
    const tensors = chooseBehind(await readSafetensors(source), options.stateDict);
    if (tensors.size === 0) throw unreadable('there are no tensors in it');
    return { format: 'safetensors', stateDict: options.stateDict ?? '', tensors };
  }
  return { format: 'legacy', ...tensorsOf(await readTorchLegacy(source), options) };
}

function tensorsOf(torch: TorchFile, options: OpenCheckpointOptions): Omit<Index, 'format'> {
  const tensors = new Map<string, StoredTensor>();
  const found = findStateDict(torch.object, options.stateDict);
  for (const [name, view] of found.tensors) {
    const { storage, shape, offset, strides } = view;
    const extent = torch.extents.get(storage);
    if (extent === undefined) throw unreadable(`the storage of its tensor ${shown(name)} is missing`);
    tensors.set(
      name,
      locate(name, { dtype: storage.dtype, shape, offset, strides }, storage.elements, extent),
    );
  }
  return { stateDict: found.path, tensors };
}

/** Many views of one large storage would make a small file fill any memory. */
function refuseRereads(tensors: ReadonlyMap<string, StoredTensor>, fileBytes: number): void {
  let stored = fileBytes;
  let read = 0;
  for (const extent of new Set([...tensors.values()].map((tensor) => tensor.extent))) {
    stored += extent.inflated ?? 0;
  }
  for (const tensor of tensors.values()) {
    read += Math.max(readingBytes(tensor), tensor.elements * bytesOf(tensor.dtype));
  }
  if (read > LIMITS.rereads * stored) {
    throw tooLarge(`its tensors have ${read} bytes together, but only ${stored} are stored`);
  }
}

function checkpointOf(
  path: string,
  file: FileHandle,
  { format, stateDict, tensors }: Index,
  signal: AbortSignal | undefined,
): Checkpoint {
  return {
    format,
    stateDict,
    tensors: new Map(
      [...tensors].map(([name, { dtype, shape, elements }]) => [name, { name, dtype, shape, elements }]),
    ),
    read: (name) =>
      namingFile(path, () => {
        const tensor = tensors.get(name);
        if (tensor === undefined) throw unreadable(`it has no tensor ${shown(name)}`);
        return readStoredTensor(file, tensor, signal);
      }),
    close: () => file.close(),
  };
}
