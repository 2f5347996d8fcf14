import { didYouMean } from '../../common/nearest.js';
import { cellsOfCsv, cellsOfTsv, type Cells } from './cells.js';
import type { Problems } from './problems.js';

/** A line that says what a recording holds, or a part of it. */
export interface Row {
  /** From 1. */
  line: number;
  /** As it is written. */
  file: string;
  /**
   * `labels`: of the whole recording, or of its part `from` … `to` (s). `event`: one sound of one label. `none`: a
   * recording in which none of the events is.
   */
  says:
    | { kind: 'labels'; labels: readonly string[]; from: number | null; to: number | null }
    | { kind: 'event'; label: string; onset: number; offset: number }
    | { kind: 'none' };
}

/**
 * What a list is: `clips`, files and their labels; `segments`, parts of files and their labels, as AudioSet's; `strong`,
 * sounds with their times, as DESED's.
 */
export type ListKind = 'clips' | 'segments' | 'strong';

export interface Rows {
  kind: ListKind;
  rows: Row[];
}

/** What the columns are called, in lower case. */
const FILE = ['filename', 'file', 'path', 'fname', 'filepath', 'segment_id'];
const ONSET = ['onset', 'onset_s', 'start', 'start_seconds', 'start_time_seconds'];
const OFFSET = ['offset', 'offset_s', 'end', 'end_seconds', 'end_time_seconds'];
const LABEL = ['event_label', 'event_labels', 'label', 'labels', 'category', 'tags'];
const YTID = 'ytid';
const SEGMENT_COLUMNS = 4;

interface Line {
  number: number;
  text: string;
}

interface Layout {
  kind: ListKind;
  cells: (text: string) => Cells;
  /** Where the file, the labels, the onset and the offset are; -1 where there is no such column. */
  file: number;
  label: number;
  onset: number;
  offset: number;
  /** How many columns there are; null where each cell behind the file is a label. */
  columns: number | null;
}

/**
 * The rows of a list. What kind it is, its heading says: `filename onset offset event_label` (tabs or commas), AudioSet's
 * `# YTID, start_seconds, end_seconds, positive_labels`, or `file,labels`; without a heading it is a file and its labels
 * in each line, or AudioSet's columns. What is wrong with single lines goes to `problems`, and the others are returned.
 *
 * @returns null where there is nothing to read
 */
export function readRows(text: string, problems: Problems): Rows | null {
  const lines = linesOf(text);
  const first = lines[0];
  if (first === undefined) {
    problems.add(0, 'there is no line with a recording in it');
    return null;
  }
  const { layout, heading } = layoutOf(text, first, problems);
  if (layout === null) return null;
  const rows: Row[] = [];
  for (const line of heading ? lines.slice(1) : lines) {
    const cells = layout.cells(line.text);
    if ('fault' in cells) {
      problems.add(line.number, cells.fault);
      continue;
    }
    const row = rowOf(layout, line.number, cells, problems);
    if (row !== null) rows.push(row);
  }
  if (rows.length === 0 && problems.count === 0) {
    problems.add(0, 'there is no line with a recording in it, only a heading');
  }
  return { kind: layout.kind, rows };
}

/** Lines that say something, without comments. */
function linesOf(text: string): Line[] {
  return text
    .split(/\r\n|\n|\r/)
    .map((each, index) => ({ number: index + 1, text: each.replace(/^\uFEFF/, '') }))
    .filter(({ text: each }) => each.trim() !== '' && !each.startsWith('#'));
}

function layoutOf(
  text: string,
  first: Line,
  problems: Problems,
): { layout: Layout | null; heading: boolean } {
  const cells = first.text.includes('\t') ? cellsOfTsv : cellsOfCsv;
  const found = cells(first.text);
  const names = 'fault' in found ? [] : found.map((cell) => cell.toLowerCase());
  const at = (wanted: readonly string[]) => names.findIndex((name) => wanted.includes(name));
  if (names[0] === YTID || isSegment(found) || /^\uFEFF?#[^\n]*\bYTID\b/m.test(text)) {
    const columns = { file: 0, onset: 1, offset: 2, label: 3, columns: SEGMENT_COLUMNS };
    return { layout: { kind: 'segments', cells, ...columns }, heading: names[0] === YTID };
  }
  const [file, label, onset, offset] = [at(FILE), at(LABEL), at(ONSET), at(OFFSET)];
  const isHeading = file !== -1 || label !== -1 || onset !== -1 || offset !== -1;
  if (!isHeading) {
    const columns = { file: 0, onset: -1, offset: -1, label: 1, columns: null };
    return { layout: { kind: 'clips', cells, ...columns }, heading: false };
  }
  const isStrong = onset !== -1 || offset !== -1;
  const missing = [
    ['the files', FILE[0]!, file],
    ['the labels', isStrong ? LABEL[0]! : 'labels', label],
    ...(isStrong
      ? ([
          ['the onsets', ONSET[0]!, onset],
          ['the offsets', OFFSET[0]!, offset],
        ] as const)
      : []),
  ].flatMap(([what, name, column]) => (column === -1 ? [`${what} (${name})`] : []));
  if (missing.length > 0) {
    const known = [...FILE, ...LABEL, ...ONSET, ...OFFSET];
    const strange = names.find((name) => name.length > 3 && !known.includes(name));
    const near = strange === undefined ? '' : didYouMean(strange, known);
    problems.add(first.number, `the heading has no column for ${missing.join(' and ')}.${near}`);
    return { layout: null, heading: true };
  }
  const kind = isStrong ? 'strong' : 'clips';
  return { layout: { kind, cells, file, label, onset, offset, columns: names.length }, heading: true };
}

/** A line such as `--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"`. */
function isSegment(cells: Cells): boolean {
  if ('fault' in cells || cells.length !== SEGMENT_COLUMNS) return false;
  const [id = '', from = '', to = '', labels = ''] = cells;
  return (
    /^[\w-]{11}$/.test(id) && secondsOf(from) !== null && secondsOf(to) !== null && labels.startsWith('/')
  );
}

function rowOf(layout: Layout, line: number, cells: readonly string[], problems: Problems): Row | null {
  const { kind, columns } = layout;
  const file = cells[layout.file] ?? '';
  if (file === '') {
    problems.add(line, 'there is no name of a file');
    return null;
  }
  // DESED has recordings without any sound as a name alone, or with empty cells.
  const isNameAlone = cells.every((cell, index) => index === layout.file || cell === '');
  const isOtherKind = cells.length === 1 && file.includes(',');
  if (kind === 'strong' && isNameAlone && !isOtherKind) {
    return { line, file, says: { kind: 'none' } };
  }
  if (columns !== null && cells.length !== columns) {
    problems.add(
      line,
      `there are ${cells.length} columns where the list has ${columns}; are there two kinds of list in it, or is a quote (") missing?`,
    );
    return null;
  }
  if (columns === null && cells.length === 1) {
    problems.add(line, `there is no label; a recording without any is written "${file},"`);
    return null;
  }
  const labelCells = columns === null ? cells.slice(layout.label) : [cells[layout.label] ?? ''];
  const labels = labelCells.filter((cell) => cell !== '');
  if (kind === 'clips') return { line, file, says: { kind: 'labels', labels, from: null, to: null } };
  const times = timesOf(cells[layout.onset] ?? '', cells[layout.offset] ?? '', line, problems);
  if (times === null) return null;
  if (kind === 'segments') return { line, file, says: { kind: 'labels', labels, ...times } };
  const [label] = labels;
  if (label === undefined) {
    problems.add(line, 'there is a time, and no label');
    return null;
  }
  return { line, file, says: { kind: 'event', label, onset: times.from, offset: times.to } };
}

function timesOf(
  fromText: string,
  toText: string,
  line: number,
  problems: Problems,
): { from: number; to: number } | null {
  const before = problems.count;
  const [from, to] = [fromText, toText].map((text) => {
    const value = secondsOf(text);
    if (value === null) {
      const hint = /^\d+,\d+$/.test(text) ? ': write a point in place of the comma' : '';
      problems.add(line, `"${text.slice(0, 40)}" is no time in seconds${hint}`);
    } else if (value < 0) problems.add(line, `the time ${text} lies before the beginning`);
    return value;
  });
  if (problems.count > before || from == null || to == null) return null;
  if (to <= from) {
    problems.add(
      line,
      to === from ? `it begins and ends at ${from} s` : `it ends (${to} s) before it begins (${from} s)`,
    );
    return null;
  }
  return { from, to };
}

/** A decimal number, as people and programs write it; null for anything else. */
function secondsOf(text: string): number | null {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i.test(text) && Number.isFinite(Number(text))
    ? Number(text)
    : null;
}
