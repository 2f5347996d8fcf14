import { readBytesOfFile, type ByteReader } from './byte-reader.js';
import { bytesOf } from './dtypes.js';
import { Fault, shown, unreadable } from './faults.js';
import type { OpenFile, TorchFile } from './open-file.js';
import { PickleList, type PickleValue, type Storage } from './pickle-values.js';
import type { Extent } from './stored-tensor.js';
import { unpickle, type UnpickleOptions } from './unpickle.js';

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;

/**
 * The format of torch.save before 1.6: five pickles (magic number, protocol, the saving machine, the object, the keys
 * of the storages), then each storage as its number of elements (int64) and their bytes (torch/serialization.py,
 * `_legacy_save`). Throws faults.
 */
export async function readTorchLegacy({ file, bytes, budget, signal }: OpenFile): Promise<TorchFile> {
  const reader = readBytesOfFile(file.fd, 0, bytes);
  const storages = new Map<string, Storage>();
  const options: UnpickleOptions = { budget, storages, signal };
  if ((await firstPickle(reader, options)) !== MAGIC) {
    throw unreadable('it is a pickle, but not one of torch.save');
  }
  if ((await unpickle(reader, options)) !== PROTOCOL) {
    throw unreadable('it is of an unknown version of the format of torch.save');
  }
  const machine = await unpickle(reader, options);
  if (machine instanceof Map && machine.get('little_endian') === false) {
    throw unreadable('it was saved on a big-endian machine');
  }
  const object = await unpickle(reader, options);
  const keys = await unpickle(reader, options);
  return { object, extents: locateStorages(reader, keys, storages) };
}

/** Any file may end up here, so most that goes wrong in the first pickle means that there is none. */
async function firstPickle(reader: ByteReader, options: UnpickleOptions): Promise<PickleValue> {
  try {
    return await unpickle(reader, options);
  } catch (error) {
    if (error instanceof Fault && error.code === 'checkpoint_unreadable') {
      throw unreadable('it is neither a file of torch.save nor one of safetensors');
    }
    throw error;
  }
}

function locateStorages(
  reader: ByteReader,
  keys: PickleValue,
  storages: ReadonlyMap<string, Storage>,
): Map<Storage, Extent> {
  if (!(keys instanceof PickleList)) throw unreadable('its list of storages is malformed');
  const extents = new Map<Storage, Extent>();
  for (const key of keys.items) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (storage === undefined || extents.has(storage)) {
      throw unreadable('its list of storages does not fit its tensors');
    }
    const title = `its storage ${shown(storage.key)}`;
    if (reader.take(8).readBigInt64LE() !== BigInt(storage.elements)) {
      throw unreadable(`${title} has another length than its tensors say`);
    }
    const length = storage.elements * bytesOf(storage.dtype);
    if (length > reader.left)
      throw unreadable(`it is cut off: ${title} has ${reader.left} bytes of ${length}`);
    extents.set(storage, { start: reader.position, length, inflated: null });
    reader.skip(length);
  }
  if (extents.size < storages.size) throw unreadable('its list of storages lacks one that its tensors need');
  return extents;
}
