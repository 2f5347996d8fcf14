import { encodeRecord, type OutboxRecord, type Tally } from './outbox-record.js';
import type { OutboxState } from './outbox-replay.js';

/** A record that has been written. */
export interface WrittenRecord {
  readonly number: number;
  readonly record: OutboxRecord;
  /** Of its text in the file, in bytes. */
  readonly offset: number;
}

/** What is written in one go. */
export interface Lines {
  readonly buffer: Buffer;
  readonly records: readonly WrittenRecord[];
}

/** `records` and their commit as lines that follow `state`, to be written at `at` of a file, in bytes. Pure. */
export function linesOf(state: Readonly<OutboxState>, records: readonly OutboxRecord[], at: number): Lines {
  const lines: Buffer[] = [];
  const written: WrittenRecord[] = [];
  let { number } = state;
  let offset = at;
  for (const record of [...records, { kind: 'commit' as const, ...tallyAfter(state, records) }]) {
    number += 1;
    const { line, textOffset } = encodeRecord(number, record);
    lines.push(line);
    written.push({ number, record, offset: offset + textOffset });
    offset += line.length;
  }
  // The empty line behind the commit: one damaged newline does not make it look cut short.
  return { buffer: Buffer.concat([...lines, Buffer.from('\n')]), records: written };
}

/** What the events add up to once `records` are written. */
function tallyAfter(state: Readonly<OutboxState>, records: readonly OutboxRecord[]): Tally {
  const here = new Map<number, boolean>();
  let { written, lastKey } = state;
  for (const record of records) {
    if (record.kind === 'event') {
      written += 1;
      lastKey = Math.max(record.key, lastKey ?? -Infinity);
    }
    if (record.kind === 'event' || record.kind === 'removed') here.set(record.key, record.kind === 'event');
  }
  let waiting = state.events.size;
  for (const [key, is] of here) waiting += Number(is) - Number(state.events.has(key));
  return { waiting, written, lastKey };
}
