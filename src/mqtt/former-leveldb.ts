import { crc32c } from '../common/crc32c.js';

/*
 * Reads the files of a LevelDB database, and only those parts whose own check is right. It never writes, and nothing
 * in a file can make it do anything but pass over a part. The formats: doc/log_format.md and doc/table_format.md of
 * LevelDB, db/write_batch.cc, db/version_edit.cc, and Snappy's format_description.txt.
 */

/** One change of one key. The one with the highest `sequence` holds. */
export interface Entry {
  readonly key: string;
  /** Null: it was deleted. */
  readonly value: string | null;
  readonly sequence: number;
}

/** `damaged`: something of the file is missing. */
export interface FileRead<T> {
  readonly found: T[];
  readonly damaged: boolean;
}

const LOG_BLOCK_BYTES = 32 * 1024;
const LOG_HEADER_BYTES = 7;
const FOOTER_BYTES = 48;
const TABLE_MAGIC = 0xdb4775248b80fb57n;
/** Whatever a file claims, no block of ours is larger. */
const MAX_BLOCK_BYTES = 16 * 1024 * 1024;

/** What goes wrong while reading: the part is passed over. */
class Damaged extends Error {}

/** LevelDB does not store a CRC as it is. */
function unmasked(stored: number): number {
  const rotated = (stored - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

class Cursor {
  offset = 0;
  constructor(readonly bytes: Buffer) {}

  get atEnd(): boolean {
    return this.offset >= this.bytes.length;
  }

  byte(): number {
    const byte = this.bytes[this.offset];
    if (byte === undefined) throw new Damaged();
    this.offset += 1;
    return byte;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (!Number.isSafeInteger(value)) throw new Damaged();
      if (byte < 128) return value;
    }
  }

  take(length: number): Buffer {
    if (this.offset + length > this.bytes.length) throw new Damaged();
    this.offset += length;
    return this.bytes.subarray(this.offset - length, this.offset);
  }

  text(): Buffer {
    return this.take(this.varint());
  }
}

/** The records of a log (`*.log`, `MANIFEST-*`). */
export function readLog(bytes: Buffer): FileRead<Buffer> {
  const found: Buffer[] = [];
  let damaged = false;
  let parts: Buffer[] | null = null;
  for (let start = 0; start < bytes.length; start += LOG_BLOCK_BYTES) {
    const block = bytes.subarray(start, start + LOG_BLOCK_BYTES);
    let at = 0;
    while (at + LOG_HEADER_BYTES <= block.length) {
      const length = block.readUInt16LE(at + 4);
      const type = block[at + 6]!;
      const end = at + LOG_HEADER_BYTES + length;
      const isWhole =
        type >= 1 &&
        type <= 4 &&
        end <= block.length &&
        unmasked(block.readUInt32LE(at)) === crc32c(block.subarray(at + 6, end));
      if (!isWhole) {
        damaged = true;
        parts = null;
        // The length may be what is damaged: the next whole record is looked for byte by byte.
        at += 1;
        continue;
      }
      const data = block.subarray(at + LOG_HEADER_BYTES, end);
      at = end;
      const isFirst = type === 1 || type === 2;
      if (isFirst ? parts !== null : parts === null) damaged = true;
      if (isFirst) parts = [data];
      else parts?.push(data);
      if ((type === 1 || type === 4) && parts !== null) {
        found.push(Buffer.concat(parts));
        parts = null;
      }
    }
    // What is left of a block is filled with zeros; at the end of the file it is half a header.
    if (block.subarray(at).some((byte) => byte !== 0)) damaged = true;
  }
  return { found, damaged: damaged || parts !== null };
}

/** The changes in a record of a log of events. */
export function readBatch(record: Buffer): FileRead<Entry> {
  const found: Entry[] = [];
  try {
    const cursor = new Cursor(record);
    const first = Number(cursor.take(8).readBigUInt64LE());
    const count = cursor.take(4).readUInt32LE();
    for (let n = 0; n < count; n += 1) {
      const isPut = cursor.byte() === 1;
      const key = cursor.text().toString('utf8');
      found.push({ key, value: isPut ? cursor.text().toString('utf8') : null, sequence: first + n });
    }
    return { found, damaged: !cursor.atEnd };
  } catch {
    return { found, damaged: true };
  }
}

/** The entries of a table (`*.ldb`). */
export function readTable(bytes: Buffer): FileRead<Entry> {
  const found: Entry[] = [];
  let damaged = false;
  try {
    const footer = bytes.subarray(-FOOTER_BYTES);
    if (footer.length < FOOTER_BYTES || footer.readBigUInt64LE(FOOTER_BYTES - 8) !== TABLE_MAGIC) {
      return { found, damaged: true };
    }
    const cursor = new Cursor(footer);
    handleIn(cursor);
    for (const { value } of entriesOf(blockAt(bytes, handleIn(cursor)))) {
      try {
        for (const { key, value: text } of entriesOf(blockAt(bytes, handleIn(new Cursor(value))))) {
          // The last eight bytes of a key: its sequence number and whether it is a deletion.
          if (key.length < 8) throw new Damaged();
          const tag = key.readBigUInt64LE(key.length - 8);
          const isPut = (tag & 0xffn) === 1n;
          found.push({
            key: key.toString('utf8', 0, key.length - 8),
            value: isPut ? text.toString('utf8') : null,
            sequence: Number(tag >> 8n),
          });
        }
      } catch {
        damaged = true;
      }
    }
  } catch {
    damaged = true;
  }
  return { found, damaged };
}

interface Handle {
  readonly offset: number;
  readonly size: number;
}

function handleIn(cursor: Cursor): Handle {
  return { offset: cursor.varint(), size: cursor.varint() };
}

function blockAt(bytes: Buffer, { offset, size }: Handle): Buffer {
  if (offset + size + 5 > bytes.length) throw new Damaged();
  const checked = bytes.subarray(offset, offset + size + 1);
  if (unmasked(bytes.readUInt32LE(offset + size + 1)) !== crc32c(checked)) throw new Damaged();
  const block = checked.subarray(0, size);
  return checked[size] === 1 ? unsnap(block) : block;
}

function* entriesOf(block: Buffer): Generator<{ key: Buffer; value: Buffer }> {
  if (block.length < 4) throw new Damaged();
  const end = block.length - 4 - 4 * block.readUInt32LE(block.length - 4);
  if (end < 0) throw new Damaged();
  const cursor = new Cursor(block.subarray(0, end));
  let key = Buffer.alloc(0);
  while (!cursor.atEnd) {
    const [shared, rest, length] = [cursor.varint(), cursor.varint(), cursor.varint()];
    if (shared > key.length) throw new Damaged();
    key = Buffer.concat([key.subarray(0, shared), cursor.take(rest)]);
    yield { key, value: cursor.take(length) };
  }
}

/** Decompresses a block of Snappy. */
function unsnap(block: Buffer): Buffer {
  const cursor = new Cursor(block);
  const length = cursor.varint();
  if (length > MAX_BLOCK_BYTES) throw new Damaged();
  const out = Buffer.alloc(length);
  let at = 0;
  while (!cursor.atEnd) {
    const tag = cursor.byte();
    const kind = tag & 3;
    if (kind === 0) {
      const code = tag >>> 2;
      const bytes = code < 60 ? code + 1 : cursor.take(code - 59).readUIntLE(0, code - 59) + 1;
      const literal = cursor.take(bytes);
      if (at + bytes > length) throw new Damaged();
      literal.copy(out, at);
      at += bytes;
      continue;
    }
    const bytes = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const back =
      kind === 1
        ? ((tag >>> 5) << 8) | cursor.byte()
        : cursor.take(kind === 2 ? 2 : 4).readUIntLE(0, kind === 2 ? 2 : 4);
    if (back === 0 || back > at || at + bytes > length) throw new Damaged();
    // Byte by byte: what is copied may begin in what was just written.
    for (let n = 0; n < bytes; n += 1) out[at + n] = out[at + n - back]!;
    at += bytes;
  }
  if (at !== length) throw new Damaged();
  return out;
}

/** What a MANIFEST says is in use. */
export interface FilesInUse {
  readonly tables: ReadonlySet<number>;
  /** Logs from this number on. */
  readonly firstLog: number;
}

/** Null where a part of it cannot be understood. */
export function readManifest(bytes: Buffer): FilesInUse | null {
  const { found, damaged } = readLog(bytes);
  if (damaged || found.length === 0) return null;
  const tables = new Set<number>();
  let firstLog = 0;
  try {
    for (const record of found) {
      const cursor = new Cursor(record);
      while (!cursor.atEnd) {
        const tag = cursor.varint();
        if (tag === 1) cursor.text();
        else if (tag === 2) firstLog = cursor.varint();
        else if (tag === 3 || tag === 4 || tag === 9) cursor.varint();
        else if (tag === 5) {
          cursor.varint();
          cursor.text();
        } else if (tag === 6) {
          cursor.varint();
          tables.delete(cursor.varint());
        } else if (tag === 7) {
          cursor.varint();
          tables.add(cursor.varint());
          cursor.varint();
          cursor.text();
          cursor.text();
        } else return null;
      }
    }
  } catch {
    return null;
  }
  return { tables, firstLog };
}
