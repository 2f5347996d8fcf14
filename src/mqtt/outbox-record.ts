import { bodyOf, checkedLine } from '../common/checked-line.js';

/*
 * The lines of the outbox's files. A line is `<check> <number> <kind> <content>`: its check (`checked-line.ts`); a
 * number that runs through all files; what it says. A damaged line is one line lost, and the number of the next one
 * tells how many are missing before it.
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

/** The line of a record with its newline, and where its text begins in it, in bytes. */
export function encodeRecord(number: number, record: OutboxRecord): { line: Buffer; textOffset: number } {
  const { head, text } = contentOf(record);
  const body = Buffer.from(`${number} ${record.kind} ${head}${text}`);
  const line = checkedLine(body);
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
  const body = bodyOf(line);
  if (body === null) return null;
  const [, number, kind = '', content = ''] = /^(\d+) ([a-z]+) (.*)$/s.exec(body.toString('utf8')) ?? [];
  const record = recordOf(kind, content);
  if (number === undefined || record === null) return null;
  const text = 'text' in record ? record.text : '';
  return { number: Number(number), record, textOffset: line.length - Buffer.byteLength(text) };
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
