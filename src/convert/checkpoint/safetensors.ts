import { bytesOf, type Dtype } from './dtypes.js';
import { shown, tooLarge, unreadable } from './faults.js';
import { LIMITS } from './limits.js';
import type { OpenFile } from './open-file.js';
import { locate, product, readFully, rowMajor, type StoredTensor } from './stored-tensor.js';

const DTYPES: ReadonlyMap<unknown, Dtype> = new Map<unknown, Dtype>([
  ['F64', 'float64'],
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U64', 'uint64'],
  ['U32', 'uint32'],
  ['U16', 'uint16'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]);

/** Whether a file that begins with these 16 bytes (or fewer) can be one of safetensors. */
export function looksLikeSafetensors(head: Buffer, fileBytes: number): boolean {
  if (head.length < 9 || head[8] !== '{'.charCodeAt(0)) return false;
  return head.readBigUInt64LE(0) <= BigInt(fileBytes - 8);
}

/**
 * The format of safetensors: the length of the header (uint64), the header in JSON, the tensors, row-major, one after
 * another without gaps (github.com/huggingface/safetensors, "Format"). Throws faults.
 */
export async function readSafetensors({
  file,
  bytes,
  budget,
  signal,
}: OpenFile): Promise<Map<string, StoredTensor>> {
  if (bytes < 8) throw unreadable('it is cut off');
  const lengthField = Buffer.alloc(8);
  await readFully(file, lengthField, 0, signal);
  const headerBytes = Number(lengthField.readBigUInt64LE());
  if (headerBytes > bytes - 8) throw unreadable('it is cut off, or the length of its header is wrong');
  if (headerBytes > LIMITS.safetensorsHeaderBytes) throw tooLarge(`its header has ${headerBytes} bytes`);
  // A parsed JSON text takes some multiple of its length.
  budget.charge(4 * headerBytes);
  const raw = Buffer.alloc(headerBytes);
  await readFully(file, raw, 8, signal);
  const start = 8 + headerBytes;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of Object.entries(parseHeader(raw))) {
    if (name === '__metadata__') continue;
    tensors.set(name, parseTensor(name, entry, start, bytes));
  }
  checkCoverage([...tensors.values()], start, bytes);
  return tensors;
}

function parseHeader(raw: Buffer): object {
  let header: unknown;
  try {
    header = JSON.parse(raw.toString('utf8'));
  } catch {
    throw unreadable('its header is not JSON');
  }
  if (!isObject(header)) throw unreadable('its header is not a JSON object');
  return header;
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parseTensor(name: string, entry: unknown, dataStart: number, fileBytes: number): StoredTensor {
  const title = `its tensor ${shown(name)}`;
  const field = (key: string): unknown =>
    isObject(entry) ? Object.getOwnPropertyDescriptor(entry, key)?.value : undefined;
  const dtype = DTYPES.get(field('dtype'));
  if (dtype === undefined) {
    const stated = field('dtype');
    const type = typeof stated === 'string' ? `the unknown type ${shown(stated)}` : 'no stated type';
    throw unreadable(`${title} is of ${type}`);
  }
  const shape = field('shape');
  const offsets = field('data_offsets');
  if (!isCounts(shape) || !isCounts(offsets) || offsets.length !== 2) {
    throw unreadable(`${title} is malformed`);
  }
  if (shape.length > LIMITS.dimensions) throw tooLarge(`${title} has ${shape.length} dimensions`);
  const [begin, end] = offsets as [number, number];
  const elements = product(shape);
  if (begin > end || end > fileBytes - dataStart) throw unreadable(`${title} lies outside of it`);
  if (elements * bytesOf(dtype) !== end - begin) {
    throw unreadable(`${title} [${shape.join(', ')}] does not fit its ${end - begin} bytes`);
  }
  const extent = { start: dataStart + begin, length: end - begin, inflated: null };
  return locate(name, { dtype, shape, offset: 0, strides: rowMajor(shape) }, elements, extent);
}

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);

/** Every byte belongs to one tensor, so that two cannot share any and nothing is hidden. */
function checkCoverage(tensors: StoredTensor[], dataStart: number, fileBytes: number): void {
  const inOrder = tensors.toSorted(
    (a, b) => a.extent.start - b.extent.start || a.extent.length - b.extent.length,
  );
  let at = dataStart;
  for (const { extent, name } of inOrder) {
    if (extent.start !== at)
      throw unreadable(`there is a gap or an overlap before its tensor ${shown(name)}`);
    at += extent.length;
  }
  if (at !== fileBytes) throw unreadable(`${fileBytes - at} bytes at its end belong to no tensor`);
}
