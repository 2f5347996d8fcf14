import { crc32c } from '../common/crc32c.js';
import { decodeRecord, type NumberedRecord, type OutboxRecord } from './outbox-record.js';

/** One file of the outbox, and how much of it is still of use. */
export interface Segment {
  /** Of the file, in the outbox's folder. */
  readonly name: string;
  /** The next file has a higher one. */
  readonly place: number;
  bytes: number;
  /** Events and beginnings whose newest line is here. */
  readonly keys: Set<number>;
  readonly begun: Set<string>;
}

/** Where a text lies. */
export interface Location {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: number;
  /** Its CRC-32C, so that what the disk makes of it later is noticed. */
  readonly check: number;
}

export interface Begun {
  readonly segment: Segment;
  readonly text: string;
  /** That of its line. */
  readonly number: number;
}

/** What the lines of all files add up to. */
export interface OutboxState {
  readonly events: Map<number, Location>;
  readonly begun: Map<string, Begun>;
  aliveMs: number | null;
  /** That of the last line. */
  number: number;
  /** Events ever written, and the highest key of them. */
  written: number;
  lastKey: number | null;
}

export interface Damage {
  /** Lines that are missing or cannot be read. */
  lines: number;
  /** Events that waited and are gone; as many as can be known. */
  lostEvents: number;
}

export function emptyState(): OutboxState {
  return { events: new Map(), begun: new Map(), aliveMs: null, number: 0, written: 0, lastKey: null };
}

/**
 * Takes one committed record into the state. `offset`: where its text lies in the segment, in bytes. Returns false
 * where it removes or moves what is not there.
 */
export function apply(
  state: OutboxState,
  segment: Segment,
  { number, record, offset }: { number: number; record: OutboxRecord; offset: number },
): boolean {
  state.number = number;
  switch (record.kind) {
    case 'event':
    case 'moved': {
      const known = forget(state, record.key);
      const text = Buffer.from(record.text);
      state.events.set(record.key, { segment, offset, bytes: text.length, check: crc32c(text) });
      segment.keys.add(record.key);
      state.lastKey = Math.max(record.key, state.lastKey ?? -Infinity);
      if (record.kind === 'event') state.written += 1;
      return known || record.kind === 'event';
    }
    case 'removed':
      return forget(state, record.key);
    case 'begun':
      endBegun(state, record.id);
      state.begun.set(record.id, { segment, text: record.text, number });
      segment.begun.add(record.id);
      return true;
    case 'over':
      endBegun(state, record.id);
      return true;
    case 'alive':
      state.aliveMs = record.atMs;
      return true;
    case 'commit':
      state.lastKey = record.lastKey;
      return true;
  }
}

function forget(state: OutboxState, key: number): boolean {
  state.events.get(key)?.segment.keys.delete(key);
  return state.events.delete(key);
}

function endBegun(state: OutboxState, id: string): void {
  state.begun.get(id)?.segment.begun.delete(id);
  state.begun.delete(id);
}

/**
 * Reads files one after the other. Invariants:
 * - a write that was cut short by a loss of power (its commit never came, and nothing of it is damaged) is not there;
 * - of damaged files everything that is whole is taken;
 * - sounds that had begun before a hole in the row of numbers are forgotten: their end may have been in the hole, and
 *   must not be made up.
 */
export function createReplay() {
  const state = emptyState();
  let first = true;
  let lines = 0;
  let lost = 0;
  /** Events whose loss shows in no count, because no commit came after it. */
  let lostAtEnd = 0;
  let damagedAtEnd = false;
  /** Events that are missing and were acknowledged or moved since; those of files that are gone for good apart. */
  let strangers = 0;
  let firstKey: number | null = null;
  let lastWaiting: number | null = null;

  function hole(before: number, missing: number): void {
    lines += missing;
    for (const [id, { number }] of state.begun) if (number < before) endBegun(state, id);
  }

  function take(segment: Segment, { found, offset }: Line): void {
    const { number, record, textOffset } = found;
    if (!first && number !== state.number + 1) hole(number, Math.max(1, number - state.number - 1));
    else if (damagedAtEnd) hole(number, first ? 1 : 0);
    first = false;
    damagedAtEnd = false;
    const known = apply(state, segment, { number, record, offset: offset + textOffset });
    if (!known && 'key' in record && record.key >= (firstKey ?? Infinity)) strangers += 1;
    if (record.kind !== 'commit') return;
    firstKey ??= (record.lastKey ?? -Infinity) + 1;
    if (lastWaiting !== null) lost += Math.max(0, record.written - state.written);
    state.written = record.written;
    lastWaiting = record.waiting;
    lostAtEnd = 0;
  }

  return {
    /** The next file. */
    read(segment: Segment, bytes: Uint8Array): void {
      let uncommitted: Line[] = [];
      let damaged = 0;
      for (const { line, offset, ended } of linesOf(bytes)) {
        if (line.length === 0) continue;
        const found = recordIn(line, offset);
        if (found !== null) {
          uncommitted.push(found);
          if (found.found.record.kind !== 'commit') continue;
          for (const item of uncommitted) take(segment, item);
          uncommitted = [];
          damaged = 0;
        } else if (ended || !mayBeCutShort(line)) {
          damaged += 1;
          damagedAtEnd = true;
          if (Buffer.from(line.subarray(0, HEAD_BYTES)).includes(' event ')) lostAtEnd += 1;
        }
      }
      if (damaged > 0) {
        for (const item of uncommitted) take(segment, item);
        damagedAtEnd = true;
        lines += damaged;
      }
    },
    /** A file that cannot be read at all. */
    unreadable(): void {
      damagedAtEnd = true;
      lines += 1;
    },
    end(): { state: OutboxState; damage: Damage | null } {
      if (damagedAtEnd) hole(Infinity, 0);
      const counted = Math.max(lost - strangers, (lastWaiting ?? 0) - state.events.size, 0);
      const lostEvents = counted + lostAtEnd;
      const isDamaged = lines > 0 || damagedAtEnd || lostEvents > 0;
      return { state, damage: isDamaged ? { lines: Math.max(1, lines), lostEvents } : null };
    },
  };
}

/** The check, the number and the kind of a line are in front of this. */
const HEAD_BYTES = 40;

interface Line {
  readonly found: NumberedRecord;
  /** Of the line, in the file. */
  readonly offset: number;
}

/** Whether a line without a newline is the beginning of one, as a loss of power leaves it: text, and no other bytes. */
function mayBeCutShort(line: Uint8Array): boolean {
  const head = Buffer.from(line.subarray(0, HEAD_BYTES)).toString('latin1');
  return line.every((byte) => byte >= 0x20) && /^[0-9a-f]{0,8}($| \d*($| [a-z]*($| )))/.test(head);
}

/** A byte at one of its ends may be the newline that was. */
function recordIn(line: Uint8Array, offset: number): Line | null {
  const found = decodeRecord(line) ?? decodeRecord(line.subarray(0, -1));
  if (found !== null) return { found, offset };
  const behind = decodeRecord(line.subarray(1));
  return behind === null ? null : { found: behind, offset: offset + 1 };
}

/** `ended`: with a newline. */
function* linesOf(bytes: Uint8Array): Generator<{ line: Uint8Array; offset: number; ended: boolean }> {
  let offset = 0;
  while (offset < bytes.length) {
    const newline = bytes.indexOf(0x0a, offset);
    const end = newline === -1 ? bytes.length : newline;
    yield { line: bytes.subarray(offset, end), offset, ended: newline !== -1 };
    offset = end + 1;
  }
}
