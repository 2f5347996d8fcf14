import { crc32c } from '../common/crc32c.js';
import type { QuantisedRows } from './quantised.js';

/*
 * What the files of the background hold: records one behind the other, each of which can be read without the others.
 *
 *   mark (4 bytes) | bytes of the body (4) | CRC-32C of the body (4) | body
 *   body: time (8, double) | seconds (4, float) | rows (2) | numbers of a row (2) | length of the source (1) | source
 *         | for each row: scale (4, float), a byte for each number
 *
 * All of it little-endian. Behind what is damaged the next mark with a body that fits its check is looked for.
 */

/** A moment that was heard: nothing of its sound, only what the network made of it. */
export interface Moment {
  /** When it began, ms since the epoch. */
  readonly atMs: number;
  /** How long it was. */
  readonly seconds: number;
  /** Name of the source. */
  readonly source: string;
  /** One embedding, or one for each frame. */
  readonly rows: QuantisedRows;
}

const MARK = Buffer.from([0x53, 0x50, 0x45, 0xb1]);
const HEAD_BYTES = 12;
const FIXED_BYTES = 17;
const MOST_SOURCE_BYTES = 64;
/** What has more is no record of ours. */
export const MOST_RECORD_BYTES = 256 * 1024;

/** The record of a moment. Throws RangeError where it does not fit: a fault in the program. */
export function encodeMoment({ atMs, seconds, source, rows }: Moment): Buffer {
  const name = Buffer.from(source).subarray(0, MOST_SOURCE_BYTES);
  const bodyBytes = FIXED_BYTES + name.length + rows.count * (4 + rows.dim);
  if (rows.count < 1 || rows.dim < 1 || bodyBytes + HEAD_BYTES > MOST_RECORD_BYTES)
    throw new RangeError(`no record has ${rows.count} rows of ${rows.dim} numbers`);
  const record = Buffer.alloc(HEAD_BYTES + bodyBytes);
  MARK.copy(record, 0);
  record.writeUInt32LE(bodyBytes, 4);
  let at = HEAD_BYTES;
  at = record.writeDoubleLE(atMs, at);
  at = record.writeFloatLE(seconds, at);
  at = record.writeUInt16LE(rows.count, at);
  at = record.writeUInt16LE(rows.dim, at);
  at = record.writeUInt8(name.length, at);
  at += name.copy(record, at);
  for (let n = 0; n < rows.count; n += 1) {
    at = record.writeFloatLE(rows.scales[n]!, at);
    for (let d = 0; d < rows.dim; d += 1) at = record.writeInt8(rows.codes[n * rows.dim + d]!, at);
  }
  record.writeUInt32LE(crc32c(record.subarray(HEAD_BYTES)), 8);
  return record;
}

/** A whole record, as it stands in a file. */
export interface FoundRecord {
  readonly moment: Moment;
  /** A view of the bytes that it was found in. */
  readonly bytes: Buffer;
}

/** Every whole record of a file in its order; what lies between them is counted as `damaged` stretches. */
export function decodeMoments(bytes: Buffer): { records: FoundRecord[]; damaged: number } {
  const records: FoundRecord[] = [];
  let damaged = 0;
  let isLost = false;
  for (let at = 0; at < bytes.length;) {
    const found = recordAt(bytes, at);
    if (found !== null) {
      records.push(found);
      at += found.bytes.length;
      isLost = false;
      continue;
    }
    if (!isLost) damaged += 1;
    isLost = true;
    const next = bytes.indexOf(MARK, at + 1);
    at = next < 0 ? bytes.length : next;
  }
  return { records, damaged };
}

/** Where the last whole record of a file ends, in bytes: behind it is nothing that can be read. */
export function endOfWhole(bytes: Buffer): number {
  const last = decodeMoments(bytes).records.at(-1);
  return last === undefined ? 0 : last.bytes.byteOffset - bytes.byteOffset + last.bytes.length;
}

function recordAt(bytes: Buffer, at: number): FoundRecord | null {
  if (bytes.length - at < HEAD_BYTES || bytes.compare(MARK, 0, MARK.length, at, at + MARK.length) !== 0)
    return null;
  const bodyBytes = bytes.readUInt32LE(at + 4);
  const end = at + HEAD_BYTES + bodyBytes;
  if (bodyBytes < FIXED_BYTES || end - at > MOST_RECORD_BYTES || end > bytes.length) return null;
  const body = bytes.subarray(at + HEAD_BYTES, end);
  if (crc32c(body) !== bytes.readUInt32LE(at + 8)) return null;
  const moment = momentOf(body);
  return moment === null ? null : { moment, bytes: bytes.subarray(at, end) };
}

function momentOf(body: Buffer): Moment | null {
  const atMs = body.readDoubleLE(0);
  const seconds = body.readFloatLE(8);
  const count = body.readUInt16LE(12);
  const dim = body.readUInt16LE(14);
  const nameBytes = body.readUInt8(16);
  const begin = FIXED_BYTES + nameBytes;
  // The check says that these are the bytes that were written, not that this program has written them.
  if (!Number.isFinite(atMs) || !(seconds > 0) || !Number.isFinite(seconds)) return null;
  if (count < 1 || dim < 1 || body.length !== begin + count * (4 + dim)) return null;
  const codes = new Int8Array(count * dim);
  const scales = new Float32Array(count);
  for (let n = 0, at = begin; n < count; n += 1, at += 4 + dim) {
    const scale = body.readFloatLE(at);
    if (!Number.isFinite(scale) || scale < 0) return null;
    scales[n] = scale;
    codes.set(new Int8Array(body.buffer, body.byteOffset + at + 4, dim), n * dim);
  }
  const source = body.toString('utf8', FIXED_BYTES, begin);
  return { atMs, seconds, source, rows: { codes, scales, count, dim } };
}
