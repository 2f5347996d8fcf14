import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { bytesOf, readerOf, type Dtype } from './dtypes.js';
import { shown, tooLarge, unreadable } from './faults.js';
import { LIMITS } from './limits.js';

/** A stretch of the file. */
export interface Extent {
  /** Offset in bytes. */
  start: number;
  /** Length in the file, in bytes. */
  length: number;
  /** Length once inflated, or null where it is stored as it is. */
  inflated: number | null;
}

/** A tensor and where it lies; the result of `locate`, so its parts fit together. */
export interface StoredTensor {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  elements: number;
  /** Of the first element, in elements, as are the strides. */
  offset: number;
  strides: readonly number[];
  /** Elements from the first to the last one, both included. */
  span: number;
  extent: Extent;
}

export interface Layout {
  dtype: Dtype;
  shape: readonly number[];
  offset: number;
  strides: readonly number[];
}

/**
 * Checks a view of a storage of `capacity` elements, all of whose numbers are safe integers from 0. It must lie within
 * it, and must not have more elements than it has (as expanded tensors do). Throws faults.
 */
export function locate(name: string, layout: Layout, capacity: number, extent: Extent): StoredTensor {
  const { shape, strides, offset } = layout;
  if (name.length > LIMITS.nameLength || /\p{Cc}/u.test(name)) {
    throw unreadable(`the name of a tensor in it is no name ("${shown(name)}")`);
  }
  const title = `its tensor ${shown(name)} [${shape.join(', ')}]`;
  if (shape.length > LIMITS.dimensions) throw tooLarge(`${title} has too many dimensions`);
  if (shape.length !== strides.length) throw unreadable(`${title} has ${strides.length} strides`);
  const elements = product(shape);
  const span = elements === 0 ? 0 : shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 1);
  if (offset + span > capacity || !Number.isSafeInteger(offset + span)) {
    throw unreadable(`${title} reaches past the ${capacity} elements of its storage`);
  }
  if (elements > capacity) {
    throw tooLarge(`${title} has more elements than the ${capacity} of its storage`);
  }
  const tensor: StoredTensor = { name, ...layout, elements, span, extent };
  if (elements > LIMITS.elements || readingBytes(tensor) > LIMITS.bytesAtOnce) {
    throw tooLarge(`${title} is larger than any weight of a network that is known here`);
  }
  return tensor;
}

/** The number of elements of a shape; may be Infinity. An axis of 0 makes it 0, however long the others are. */
export const product = (shape: readonly number[]): number =>
  shape.includes(0) ? 0 : shape.reduce((all, size) => all * size, 1);

/** Row-major strides, in elements. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis -= 1) {
    strides[axis] = strides[axis + 1]! * Math.max(1, shape[axis + 1]!);
  }
  return strides;
}

function isContiguous(tensor: StoredTensor): boolean {
  const expected = rowMajor(tensor.shape);
  return tensor.shape.every((size, axis) => size === 1 || tensor.strides[axis] === expected[axis]);
}

/** Bytes that reading a tensor takes from the file, or from what is inflated of it. */
export function readingBytes(tensor: StoredTensor): number {
  return tensor.elements === 0 ? 0 : (tensor.extent.inflated ?? tensor.span * bytesOf(tensor.dtype));
}

/** Bytes converted or read in one piece. */
const PIECE_BYTES = 4 * 1024 * 1024;

/**
 * A tensor as float32, row-major, in memory of its own. What is contiguous takes no other memory than the result and
 * a piece of 4 MiB; what is strided or deflated takes its stored form beside it. Throws faults.
 */
export async function readStoredTensor(
  file: FileHandle,
  tensor: StoredTensor,
  signal?: AbortSignal,
): Promise<Float32Array<ArrayBuffer>> {
  signal?.throwIfAborted();
  const out = new Float32Array(tensor.elements);
  if (tensor.elements === 0) return out;
  const size = bytesOf(tensor.dtype);
  if (tensor.extent.inflated !== null) {
    const whole = await readExtent(file, tensor.extent, signal);
    gather(whole.subarray(tensor.offset * size), tensor, out);
    return out;
  }
  const start = tensor.extent.start + tensor.offset * size;
  if (!isContiguous(tensor)) {
    const raw = new Uint8Array(tensor.span * size);
    await readFully(file, raw, start, signal);
    gather(raw, tensor, out);
  } else if (tensor.dtype === 'float32' && LITTLE_ENDIAN) {
    await readFully(file, new Uint8Array(out.buffer), start, signal);
  } else {
    await convertInPieces(file, tensor, start, out, signal);
  }
  return out;
}

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

async function convertInPieces(
  file: FileHandle,
  tensor: StoredTensor,
  start: number,
  out: Float32Array,
  signal?: AbortSignal,
): Promise<void> {
  const size = bytesOf(tensor.dtype);
  const get = readerOf(tensor.dtype);
  const perPiece = Math.min(PIECE_BYTES / size, tensor.elements);
  const piece = new Uint8Array(perPiece * size);
  const view = new DataView(piece.buffer);
  for (let done = 0; done < tensor.elements; done += perPiece) {
    const count = Math.min(perPiece, tensor.elements - done);
    await readFully(file, piece.subarray(0, count * size), start + done * size, signal);
    for (let n = 0; n < count; n += 1) out[done + n] = get(view, n * size);
  }
}

/** Collects the elements in row-major order; `raw` begins with the tensor's first one. */
function gather(raw: Uint8Array, tensor: StoredTensor, out: Float32Array): void {
  const { shape, strides, dtype, elements } = tensor;
  const size = bytesOf(dtype);
  const get = readerOf(dtype);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const index = new Array<number>(shape.length).fill(0);
  let at = 0;
  for (let n = 0; n < elements; n += 1) {
    out[n] = get(view, at * size);
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      at += strides[axis]!;
      index[axis] = index[axis]! + 1;
      if (index[axis]! < shape[axis]!) break;
      at -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
}

const inflate = promisify(inflateRaw);

/** The bytes of an extent, inflated where it is deflated; the caller bounds its size. */
export async function readExtent(file: FileHandle, extent: Extent, signal?: AbortSignal): Promise<Buffer> {
  const raw = Buffer.allocUnsafe(extent.length);
  await readFully(file, raw, extent.start, signal);
  if (extent.inflated === null) return raw;
  const whole = await inflate(raw, { maxOutputLength: Math.max(1, extent.inflated) }).catch(() => undefined);
  if (whole?.length !== extent.inflated) throw unreadable('a deflated entry in it is damaged');
  return whole;
}

/** Fills `target` from a position of the file. */
export async function readFully(
  file: FileHandle,
  target: Uint8Array,
  position: number,
  signal?: AbortSignal,
): Promise<void> {
  for (let done = 0; done < target.length;) {
    signal?.throwIfAborted();
    const wanted = Math.min(PIECE_BYTES, target.length - done);
    const { bytesRead } = await file.read(target, done, wanted, position + done);
    if (bytesRead === 0) throw unreadable('it became shorter while it was read');
    done += bytesRead;
  }
}
