import type { FileHandle } from 'node:fs/promises';
import { readBytesOf, readBytesOfFile, type ByteReader } from './byte-reader.js';
import { bytesOf } from './dtypes.js';
import { shown, tooLarge, unreadable } from './faults.js';
import { LIMITS } from './limits.js';
import type { PickleValue, Storage } from './pickle-values.js';
import type { OpenFile, TorchFile } from './open-file.js';
import { readExtent, type Extent } from './stored-tensor.js';
import { unpickle } from './unpickle.js';
import { readZipDirectory } from './zip.js';

/**
 * The zip format of torch.save since 1.6: `<root>/data.pkl` is the object, `<root>/data/<key>` the storages
 * (torch/serialization.py, `_save`). Throws faults.
 */
export async function readTorchZip(open: OpenFile): Promise<TorchFile> {
  const { file, bytes, budget, signal } = open;
  const entries = await readZipDirectory(file, bytes, budget, signal);
  const root = findRoot(entries);
  await refuseBigEndian(file, entries.get(`${root}/byteorder`));
  const storages = new Map<string, Storage>();
  const pickle = await openPickle(open, entries.get(`${root}/data.pkl`)!);
  const object: PickleValue = await unpickle(pickle, { budget, storages, signal });
  const extents = new Map<Storage, Extent>();
  for (const storage of storages.values()) {
    extents.set(storage, extentOf(storage, entries.get(`${root}/data/${storage.key}`)));
  }
  return { object, extents };
}

function findRoot(entries: ReadonlyMap<string, Extent>): string {
  const roots = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (roots.length !== 1)
    throw unreadable('it is a zip file, but not one of torch.save (no data.pkl in a folder)');
  return roots[0]!.slice(0, -'/data.pkl'.length);
}

async function refuseBigEndian(file: FileHandle, extent: Extent | undefined): Promise<void> {
  if (extent === undefined || extent.length > 16 || extent.inflated !== null) return;
  const order = await readExtent(file, extent);
  if (order.toString('latin1') === 'big') throw unreadable('it was saved on a big-endian machine');
}

/** A stored pickle is read where it lies, so that its size does not matter. */
async function openPickle({ file, budget, signal }: OpenFile, extent: Extent): Promise<ByteReader> {
  if (extent.inflated === null) return readBytesOfFile(file.fd, extent.start, extent.start + extent.length);
  if (extent.inflated > LIMITS.inflatedPickleBytes) {
    throw tooLarge(`its pickle would inflate to ${extent.inflated} bytes`);
  }
  budget.charge(extent.inflated);
  return readBytesOf(await readExtent(file, extent, signal));
}

function extentOf(storage: Storage, extent: Extent | undefined): Extent {
  const title = `its storage data/${shown(storage.key)}`;
  if (extent === undefined) throw unreadable(`${title} is missing`);
  const needed = storage.elements * bytesOf(storage.dtype);
  const present = extent.inflated ?? extent.length;
  if (present < needed) throw unreadable(`${title} has ${present} bytes instead of ${needed}`);
  return extent;
}
