import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder, writeFileAtomic } from '../common/atomic-file.js';
import { isPassing, readPlain } from '../common/bounded-read.js';
import {
  readBatch,
  readLog,
  readManifest,
  readTable,
  type Entry,
  type FilesInUse,
} from './former-leveldb.js';

/*
 * The outbox of version 0.1: a LevelDB database.
 *
 *   e<key>   an event that the broker has not acknowledged, as JSON
 *   u<id>    a `started` event whose `ended` has not been written yet
 *   alive    milliseconds since the epoch: the service was at work then
 */
export interface FormerOutbox {
  /** By growing keys. */
  readonly events: { key: number; text: string }[];
  /** None where something is missing: their ends may be in it. */
  readonly begun: { begin: string; text: string }[];
  readonly aliveMs: number | null;
  /** What is damaged, for people. */
  readonly problem: string | null;
  /** Events that are missing in the row of their numbers. */
  readonly lost: number;
}

const DATA_FILE = /^(\d+)\.(ldb|sst|log)$/;
const OTHER_FILE = /^(CURRENT|LOCK|LOG(\.old)?|MANIFEST-\d+|\d+\.dbtmp|lost)$/;
/** Half a removal is no damage: while this is there, the files are only to be removed. */
const TAKEN_OVER = 'taken-over';
/** A file has 2 MB at most, or a single entry. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** Shifted keys, which may be negative, to where their decimal digits sort as they do. */
const KEY_OFFSET = BigInt(Number.MAX_SAFE_INTEGER);

/** What is whole in it; null where there is none among these files of the folder. */
export async function readFormerOutbox(
  folder: string,
  names: readonly string[],
): Promise<FormerOutbox | null> {
  const files = names.filter((name) => DATA_FILE.test(name));
  if (files.length === 0 && !names.some((name) => /^(CURRENT|MANIFEST-\d+)$/.test(name))) return null;
  if (names.includes(TAKEN_OVER)) return outboxOf([], null);
  const problems: string[] = [];
  const inUse = await filesInUse(folder);
  if (inUse === null) problems.push('it is not known which of its files are in use');
  for (const table of inUse?.tables ?? []) {
    if (!files.some((name) => numberOf(name) === table && !name.endsWith('.log')))
      problems.push(`${table}.ldb is missing`);
  }
  const newest = new Map<string, Entry>();
  for (const name of files.filter((name) => isInUse(name, inUse))) {
    const read = await readPlain(join(folder, name), MAX_FILE_BYTES);
    if ('error' in read && isPassing(read.error)) throw read.error;
    const entries = 'bytes' in read ? entriesIn(name, read.bytes) : null;
    if (entries === null || entries.damaged) problems.push(`${name} is damaged`);
    for (const entry of entries?.found ?? []) {
      if (entry.sequence >= (newest.get(entry.key)?.sequence ?? -1)) newest.set(entry.key, entry);
    }
  }
  return outboxOf([...newest.values()], problems.length === 0 ? null : problems.join(', '));
}

/** Removes its files, once what was in them is elsewhere. */
export async function removeFormerFiles(folder: string, names: readonly string[]): Promise<void> {
  await writeFileAtomic(join(folder, TAKEN_OVER), '');
  const files = names.filter((name) => DATA_FILE.test(name) || OTHER_FILE.test(name));
  for (const name of files) await rm(join(folder, name), { recursive: true, force: true });
  await syncFolder(folder);
  await rm(join(folder, TAKEN_OVER), { force: true });
}

function outboxOf(entries: readonly Entry[], problem: string | null): FormerOutbox {
  const events: { key: number; text: string }[] = [];
  const begun: { begin: string; text: string }[] = [];
  let aliveMs: number | null = null;
  for (const { key, value } of entries) {
    if (value === null) continue;
    if (/^e\d{17}$/.test(key)) events.push({ key: Number(BigInt(key.slice(1)) - KEY_OFFSET), text: value });
    else if (key.startsWith('u') && problem === null) begun.push({ begin: key.slice(1), text: value });
    else if (key === 'alive' && Number(value) > 0) aliveMs = Number(value);
  }
  events.sort((one, other) => one.key - other.key);
  const [first, last] = [events[0]?.key, events.at(-1)?.key];
  const span = first === undefined || last === undefined ? 0 : last - first + 1;
  return { events, begun, aliveMs, problem, lost: problem === null ? 0 : span - events.length };
}

function numberOf(name: string): number {
  return Number(DATA_FILE.exec(name)?.[1]);
}

/** Files that are not in use any more may have what was deleted long ago. */
function isInUse(name: string, inUse: FilesInUse | null): boolean {
  if (inUse === null) return true;
  const number = numberOf(name);
  return name.endsWith('.log') ? number >= inUse.firstLog : inUse.tables.has(number);
}

async function filesInUse(folder: string): Promise<FilesInUse | null> {
  const current = await readPlain(join(folder, 'CURRENT'), 1024);
  const name = 'bytes' in current ? current.bytes.toString('latin1').trim() : '';
  if (!/^MANIFEST-\d+$/.test(name)) return null;
  const manifest = await readPlain(join(folder, name), MAX_FILE_BYTES);
  return 'bytes' in manifest ? readManifest(manifest.bytes) : null;
}

function entriesIn(name: string, bytes: Buffer): { found: Entry[]; damaged: boolean } {
  if (!name.endsWith('.log')) return readTable(bytes);
  const { found, damaged } = readLog(bytes);
  const batches = found.map(readBatch);
  return {
    found: batches.flatMap((batch) => batch.found),
    damaged: damaged || batches.some((batch) => batch.damaged),
  };
}
