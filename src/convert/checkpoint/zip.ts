import type { FileHandle } from 'node:fs/promises';
import { shown, tooLarge, unreadable } from './faults.js';
import { LIMITS, type Budget } from './limits.js';
import { readFully, type Extent } from './stored-tensor.js';

const LOCAL_HEADER = { signature: 0x04034b50, bytes: 30 };
const DIRECTORY_ENTRY = { signature: 0x02014b50, bytes: 46 };
const END = { signature: 0x06054b50, bytes: 22, maxComment: 0xffff };
const END_64 = { signature: 0x06064b50, bytes: 56 };
const END_64_LOCATOR = { signature: 0x07064b50, bytes: 20 };
const STORED = 0;
const DEFLATED = 8;
const ENCRYPTED = 1;

interface Entry {
  name: string;
  method: number;
  compressed: number;
  uncompressed: number;
  /** Of the local header. */
  offset: number;
}

/**
 * The entries of a zip file by name (APPNOTE 6.3, with the 64-bit form). Only where they are is read, never what is in
 * them. Entries that overlap, or that would inflate to many times the file, are refused; names are only keys. Throws
 * faults.
 */
export async function readZipDirectory(
  file: FileHandle,
  fileBytes: number,
  budget: Budget,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Extent>> {
  const directory = await findDirectory(file, fileBytes);
  if (directory.entries > LIMITS.zipEntries || directory.bytes > LIMITS.zipDirectoryBytes) {
    throw tooLarge(`its directory lists ${directory.entries} entries in ${directory.bytes} bytes`);
  }
  if (directory.offset + directory.bytes > directory.end) throw damaged('its directory lies outside of it');
  if (directory.entries * DIRECTORY_ENTRY.bytes > directory.bytes)
    throw damaged('its directory is too short');
  budget.charge(directory.bytes);
  const raw = Buffer.alloc(directory.bytes);
  await readFully(file, raw, directory.offset, signal);
  const entries = parseDirectory(raw, directory.entries);
  budget.charge(entries.length * 512);
  refuseBombs(entries, fileBytes);
  return locateEntries(file, entries, directory.offset, signal);
}

const damaged = (what: string) => unreadable(`the zip file is cut off or damaged (${what})`);

interface Directory {
  entries: number;
  bytes: number;
  offset: number;
  /** Where the record that follows the directory begins. */
  end: number;
}

async function findDirectory(file: FileHandle, fileBytes: number): Promise<Directory> {
  const tailBytes = Math.min(fileBytes, END.bytes + END.maxComment);
  const tailStart = fileBytes - tailBytes;
  const tail = Buffer.alloc(tailBytes);
  await readFully(file, tail, tailStart);
  for (let at = tailBytes - END.bytes; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) !== END.signature) continue;
    if (at + END.bytes + tail.readUInt16LE(at + 20) !== tailBytes) continue;
    const found: Directory = {
      entries: tail.readUInt16LE(at + 10),
      bytes: tail.readUInt32LE(at + 12),
      offset: tail.readUInt32LE(at + 16),
      end: tailStart + at,
    };
    const is64 = found.entries === 0xffff || found.bytes === 0xffffffff || found.offset === 0xffffffff;
    return is64 ? findDirectory64(file, found) : found;
  }
  throw damaged('it has no directory');
}

async function findDirectory64(file: FileHandle, short: Directory): Promise<Directory> {
  const locatorAt = short.end - END_64_LOCATOR.bytes;
  if (locatorAt < END_64.bytes) throw damaged('its directory is missing');
  const locator = Buffer.alloc(END_64_LOCATOR.bytes);
  await readFully(file, locator, locatorAt);
  // Exactly 0xffff entries need no 64-bit record.
  if (locator.readUInt32LE(0) !== END_64_LOCATOR.signature) return short;
  const end = uint64(locator, 8);
  if (end > locatorAt - END_64.bytes) throw damaged('its directory lies outside of it');
  const record = Buffer.alloc(END_64.bytes);
  await readFully(file, record, end);
  if (record.readUInt32LE(0) !== END_64.signature) throw damaged('its directory is missing');
  return { entries: uint64(record, 32), bytes: uint64(record, 40), offset: uint64(record, 48), end };
}

/** Numbers that are no safe integers are past the end of every file, and stay so. */
const uint64 = (raw: Buffer, at: number): number => raw.readUInt32LE(at + 4) * 2 ** 32 + raw.readUInt32LE(at);

function parseDirectory(raw: Buffer, count: number): Entry[] {
  const entries: Entry[] = [];
  let at = 0;
  for (let n = 0; n < count; n += 1) {
    if (at + DIRECTORY_ENTRY.bytes > raw.length || raw.readUInt32LE(at) !== DIRECTORY_ENTRY.signature) {
      throw damaged('its directory is malformed');
    }
    const nameAt = at + DIRECTORY_ENTRY.bytes;
    const extraAt = nameAt + raw.readUInt16LE(at + 28);
    const commentAt = extraAt + raw.readUInt16LE(at + 30);
    const next = commentAt + raw.readUInt16LE(at + 32);
    if (next > raw.length) throw damaged('its directory is malformed');
    const entry: Entry = {
      name: raw.toString('utf8', nameAt, extraAt),
      method: raw.readUInt16LE(at + 10),
      compressed: raw.readUInt32LE(at + 20),
      uncompressed: raw.readUInt32LE(at + 24),
      offset: raw.readUInt32LE(at + 42),
    };
    widen(entry, raw.subarray(extraAt, commentAt));
    checkEntry(entry, raw.readUInt16LE(at + 8));
    entries.push(entry);
    at = next;
  }
  return entries;
}

/** Takes the numbers that do not fit 32 bits from the extra field 1, which has them in this order. */
function widen(entry: Entry, extra: Buffer): void {
  for (let at = 0; at + 4 <= extra.length;) {
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1) {
      let part = at + 4;
      for (const key of ['uncompressed', 'compressed', 'offset'] as const) {
        if (entry[key] !== 0xffffffff) continue;
        if (part + 8 > Math.min(end, extra.length)) throw damaged('its directory is malformed');
        entry[key] = uint64(extra, part);
        part += 8;
      }
      return;
    }
    at = end;
  }
}

function checkEntry(entry: Entry, flags: number): void {
  const title = `its entry ${shown(entry.name)}`;
  if ((flags & ENCRYPTED) !== 0) throw unreadable(`${title} is encrypted`);
  if (entry.method !== STORED && entry.method !== DEFLATED) {
    throw unreadable(`${title} is packed by an unknown method (${entry.method})`);
  }
  if (entry.method === STORED && entry.compressed !== entry.uncompressed) {
    throw damaged(`${title} has two lengths`);
  }
  // Deflate adds at most five bytes to 16 KiB that it cannot pack.
  if (entry.method === DEFLATED && entry.compressed > 1.01 * entry.uncompressed + 1024) {
    throw damaged(`${title} is longer packed than unpacked`);
  }
}

function refuseBombs(entries: readonly Entry[], fileBytes: number): void {
  const inflated = entries.reduce((sum, e) => sum + (e.method === DEFLATED ? e.uncompressed : 0), 0);
  if (inflated > LIMITS.inflation * fileBytes) {
    throw tooLarge(`its entries would inflate to ${inflated} bytes, from a file of ${fileBytes}`);
  }
}

async function locateEntries(
  file: FileHandle,
  entries: Entry[],
  directoryOffset: number,
  signal?: AbortSignal,
): Promise<Map<string, Extent>> {
  const extents = new Map<string, Extent>();
  const inOrder = entries.toSorted((a, b) => a.offset - b.offset);
  for (const [n, entry] of inOrder.entries()) {
    signal?.throwIfAborted();
    const title = `its entry ${shown(entry.name)}`;
    if (extents.has(entry.name)) throw damaged(`${title} is there twice`);
    const limit = inOrder[n + 1]?.offset ?? directoryOffset;
    const start = await dataStart(file, entry, Math.min(limit, directoryOffset));
    if (start === undefined || start + entry.compressed > limit || limit > directoryOffset) {
      throw damaged(`${title} reaches into what follows it`);
    }
    const inflated = entry.method === DEFLATED ? entry.uncompressed : null;
    extents.set(entry.name, { start, length: entry.compressed, inflated });
  }
  return extents;
}

/** Where an entry's bytes begin, or undefined where its header does not end before `limit`. */
async function dataStart(file: FileHandle, entry: Entry, limit: number): Promise<number | undefined> {
  if (entry.offset + LOCAL_HEADER.bytes > limit) return undefined;
  const header = Buffer.alloc(LOCAL_HEADER.bytes);
  await readFully(file, header, entry.offset);
  if (header.readUInt32LE(0) !== LOCAL_HEADER.signature) {
    throw damaged(`its entry ${shown(entry.name)} is not where its directory says`);
  }
  return entry.offset + LOCAL_HEADER.bytes + header.readUInt16LE(26) + header.readUInt16LE(28);
}
