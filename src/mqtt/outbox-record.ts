import { crc32c } from '../common/crc32c.js';

/*
 * The lines of the outbox's files. A line is `<check> <number> <kind> <content>`: the CRC-32C of what follows it, in
 * eight hexadecimal digits; a number that runs through all files; what it says. A damaged line is one line lost, for
 * the next one begins behind a newline (JSON has none), and its number tells how many are missing before it.
 *
 * A write ends with `commit` and an empty line: what has no commit behind it was never promised to anybody.
 */

export type OutboxRecord =
  /** An event that the broker has not acknowledged. */
  | { kind: 'event'; key: number; text: string }
  /** The same once more, in a newer file. */
  | { kind: 'moved'; key: number; text: string }
  | { kind: 'removed'; key: number }
  /** A sound has begun: what its end is made of where the service breaks off. */
  | { kind: 'begun'; id: string; text: string }
  | { kind: 'over'; id: string }
  /** The service was at work then; milliseconds since the epoch. */
  | { kind: 'alive'; atMs: number }
  /** The end of a write. */
  | ({ kind: 'commit' } & Tally);

/** What every write ends with, so that the next start knows what ought to be there. */
export interface Tally {
  /** Events that were ever written. */
  readonly written: number;
  /** Events that wait now. */
  readonly waiting: number;
  /** The highest key of all that were written; null where there was none. */
  readonly lastKey: number | null;
}

export interface NumberedRecord {
  readonly number: number;
  readonly record: OutboxRecord;
  /** Where `text` begins in the line, in bytes. */
  readonly textOffset: number;
}

const NEWLINE = 0x0a;
const CHECK_DIGITS = 8;

/** The line of a record with its newline, and where its text begins in it, in bytes. */
export function encodeRecord(number: number, record: OutboxRecord): { line: Buffer; textOffset: number } {
  const { head, text } = contentOf(record);
  const body = Buffer.from(`${number} ${record.kind} ${head}${text}`);
  const check = crc32c(body).toString(16).padStart(CHECK_DIGITS, '0');
  const line = Buffer.concat([Buffer.from(`${check} `), body, Buffer.of(NEWLINE)]);
  return { line, textOffset: line.length - 1 - Buffer.byteLength(text) };
}

function contentOf(record: OutboxRecord): { head: string; text: string } {
  switch (record.kind) {
    case 'event':
    case 'moved':
      return { head: `${record.key} `, text: record.text };
    case 'removed':
      return { head: String(record.key), text: '' };
    case 'begun':
      return { head: `${JSON.stringify(record.id)} `, text: record.text };
    case 'over':
      return { head: JSON.stringify(record.id), text: '' };
    case 'alive':
      return { head: String(record.atMs), text: '' };
    case 'commit':
      return { head: `${record.written} ${record.waiting} ${record.lastKey ?? 'none'}`, text: '' };
  }
}

/** The record of a line without its newline, or null where it is not whole. */
export function decodeRecord(line: Uint8Array): NumberedRecord | null {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.length);
  const check = bytes.toString('latin1', 0, CHECK_DIGITS);
  const body = bytes.subarray(CHECK_DIGITS + 1);
  if (!/^[0-9a-f]{8}$/.test(check) || bytes[CHECK_DIGITS] !== 0x20) return null;
  if (Number.parseInt(check, 16) !== crc32c(body)) return null;
  const [, number, kind = '', content = ''] = /^(\d+) ([a-z]+) (.*)$/s.exec(body.toString('utf8')) ?? [];
  const record = recordOf(kind, content);
  if (number === undefined || record === null) return null;
  const text = 'text' in record ? record.text : '';
  return { number: Number(number), record, textOffset: bytes.length - Buffer.byteLength(text) };
}

function recordOf(kind: string, content: string): OutboxRecord | null {
  if (kind === 'event' || kind === 'moved') {
    const [, key, text] = /^(-?\d+) (.*)$/s.exec(content) ?? [];
    return key === undefined || text === undefined ? null : { kind, key: Number(key), text };
  }
  if (kind === 'removed') return { kind, key: Number(content) };
  if (kind === 'begun') {
    const [, id, text] = /^("(?:[^"\\]|\\.)*") (.*)$/s.exec(content) ?? [];
    return id === undefined || text === undefined ? null : { kind, id: JSON.parse(id) as string, text };
  }
  if (kind === 'over') return { kind, id: JSON.parse(content) as string };
  if (kind === 'alive') return { kind, atMs: Number(content) };
  const [written, waiting, lastKey] = content.split(' ');
  if (kind !== 'commit') return null;
  return {
    kind,
    written: Number(written),
    waiting: Number(waiting),
    lastKey: lastKey === 'none' ? null : Number(lastKey),
  };
}
