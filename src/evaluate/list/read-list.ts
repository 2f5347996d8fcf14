import { dirname, resolve } from 'node:path';
import { readPlain } from '../../common/bounded-read.js';
import { codeOf, messageOf, SoundpostError } from '../../common/errors.js';
import { announcedSeconds, createFileFinder } from './find-files.js';
import { splitLabels, type KnownLabels, type Meaning } from './known-labels.js';
import { createProblems, refusal, type Problems } from './problems.js';
import { readRows, type ListKind, type Row } from './rows.js';

/** A label, or a group of the configuration, that the list is about. */
export interface Target {
  /** As the first of the models that knows it spells it. */
  name: string;
  mid: string | null;
  group: string | null;
  /** What it is called in the list. */
  texts: string[];
}

/** A sound of a target; seconds since the beginning of its recording. */
export interface ListedEvent {
  target: number;
  onset: number;
  offset: number;
  line: number;
}

/** A recording, or a part of one, and what is in it. */
export interface ListedRecording {
  line: number;
  /** As the list calls it. */
  file: string;
  path: string;
  /** How long the file says it is (s); null where only reading it tells. */
  seconds: number | null;
  /** The part that is meant (s); null where it is the whole file. Where `seconds` is null, it may be the whole all the same. */
  part: { from: number; to: number } | null;
  /** Numbers of targets; in a list with events, those that have one. */
  targets: readonly number[];
  /** Null where the list says nothing of times. */
  events: readonly ListedEvent[] | null;
}

export interface EvaluationList {
  kind: ListKind;
  targets: readonly Target[];
  recordings: readonly ListedRecording[];
  /** What is wrong with it and is left out; empty unless `keepGoing`. */
  leftOut: readonly string[];
}

/** AudioSet's largest list has 100 MB. */
const MAX_BYTES = 128 << 20;
/** How much later than the end of a file an event may end: ends are rounded. */
export const END_SLACK_SECONDS = 0.1;
/** How much longer than its segment a file may be that is the segment alone. */
const SEGMENT_SLACK_SECONDS = 0.5;

/**
 * Reads a list of recordings, finds their files and says what their labels mean. All that can be told before a recording
 * is decoded is told at once.
 *
 * @param models the labels of each model that is to be evaluated: a name has to be known to one of them
 * @param audioFolder where the recordings are; the folder of the list where it is left out
 * @param onlySome leaves out what is wrong, and says so in `leftOut`
 * @throws SoundpostError `evaluation_list`, with a line for each problem
 */
export async function readList(
  path: string,
  options: {
    models: readonly KnownLabels[];
    audioFolder?: string | undefined;
    keepGoing: boolean;
    signal: AbortSignal;
    onProgress?: (done: number, of: number) => void;
  },
): Promise<EvaluationList> {
  const problems = createProblems(path);
  const read = readRows(await textOf(path), problems);
  // Nothing of it can be read: there is nothing to go on with.
  if (read === null) throw refusal(path, problems);
  const { kind, rows } = read;
  const labels = createTargets(options.models);
  const meant = rows.map((row) => ({ row, targets: targetsOf(row, labels, problems) }));
  labels.tellUnknown(problems);
  const finder = createFileFinder(resolve(options.audioFolder ?? dirname(path)));
  const recordings: ListedRecording[] = [];
  const groups = kind === 'strong' ? byFile(meant) : meant.map((each) => [each]);
  const seen = new Map<string, number>();
  for (const [index, group] of groups.entries()) {
    options.signal.throwIfAborted();
    options.onProgress?.(index, groups.length);
    const first = group[0]!;
    const found = await recordingOf(kind, first.row, finder, problems);
    if (found === null) continue;
    const key = `${found.path}\n${found.part?.from ?? ''}`;
    const before = seen.get(key);
    if (before !== undefined) {
      problems.add(
        first.row.line,
        `${first.row.file} stands in line ${before} already; put its labels together`,
      );
      continue;
    }
    seen.set(key, first.row.line);
    const events = kind === 'strong' ? eventsOf(group, found.seconds, problems) : null;
    const targets = events === null ? first.targets : [...new Set(events.map(({ target }) => target))];
    const { line, file } = first.row;
    recordings.push({ line, file, ...found, targets, events });
  }
  if (problems.count > 0 && !options.keepGoing) throw refusal(path, problems);
  if (recordings.length === 0) throw refusal(path, problems);
  return { kind, recordings, leftOut: problems.told(), targets: labels.targets };
}

async function textOf(path: string): Promise<string> {
  const read = await readPlain(path, MAX_BYTES);
  if ('problem' in read) throw new SoundpostError('evaluation_list', `${path} ${read.problem}.`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(read.bytes);
  } catch {
    throw new SoundpostError('evaluation_list', `${path} is no text in UTF-8.`);
  }
}

/** The targets of a list, made as its names come. */
interface Targets {
  readonly targets: readonly Target[];
  isKnown(text: string): boolean;
  /** The number of a target; null where no model knows it, which `tellUnknown` then tells. */
  numberOf(text: string, line: number): number | null;
  /** Once for each name, with the lines that it is in. */
  tellUnknown(problems: Problems): void;
}

function createTargets(models: readonly KnownLabels[]): Targets {
  const targets: Target[] = [];
  const meanings = new Map<string, Meaning | null>();
  const numbers = new Map<string, number>();
  const unknown = new Map<string, number[]>();
  const meaningOf = (text: string): Meaning | null => {
    const known = meanings.get(text);
    if (known !== undefined) return known;
    const found = models.reduce<Meaning | null>((before, model) => before ?? model.find(text), null);
    meanings.set(text, found);
    return found;
  };
  return {
    targets,
    isKnown: (text) => meaningOf(text) !== null,
    numberOf(text, line) {
      const meaning = meaningOf(text);
      if (meaning === null) {
        const lines = unknown.get(text) ?? [];
        lines.push(line);
        unknown.set(text, lines);
        return null;
      }
      const { name, mid, group } = meaning;
      const key = group === null ? `label ${mid ?? name.toLowerCase()}` : `group ${group}`;
      const number = numbers.get(key) ?? targets.push({ name, mid, group, texts: [] }) - 1;
      numbers.set(key, number);
      const { texts } = targets[number]!;
      if (!texts.includes(text)) texts.push(text);
      return number;
    },
    tellUnknown(problems) {
      for (const [text, lines] of unknown) {
        const rest = lines.length > 1 ? ` (and in ${lines.length - 1} more lines)` : '';
        const who = models.length === 1 ? 'the model does not know' : 'none of the models knows';
        const meant = models.map((model) => model.suggestion(text)).find((each) => each !== '') ?? '';
        problems.add(lines[0]!, `${who} the label "${text.slice(0, 80)}"${rest}.${meant}`);
      }
    },
  };
}

interface MeantRow {
  row: Row;
  targets: readonly number[];
}

function targetsOf({ says, line }: Row, labels: Targets, problems: Problems): number[] {
  if (says.kind === 'none') return [];
  const texts =
    says.kind === 'event'
      ? [says.label]
      : says.labels.flatMap((cell) => splitLabels(cell, (text) => labels.isKnown(text)));
  const numbers = texts.flatMap((text) => labels.numberOf(text, line) ?? []);
  const unique = [...new Set(numbers)];
  if (unique.length < numbers.length) problems.add(line, 'a label stands here twice');
  return unique;
}

/** The rows of each file, in the order of the list. */
function byFile(rows: readonly MeantRow[]): MeantRow[][] {
  const files = new Map<string, MeantRow[]>();
  for (const each of rows) {
    const known = files.get(each.row.file);
    if (known === undefined) files.set(each.row.file, [each]);
    else known.push(each);
  }
  return [...files.values()];
}

async function recordingOf(
  kind: ListKind,
  { line, file, says }: Row,
  finder: ReturnType<typeof createFileFinder>,
  problems: Problems,
): Promise<{ path: string; part: ListedRecording['part']; seconds: number | null } | null> {
  const part =
    says.kind === 'labels' && says.from !== null && says.to !== null
      ? { from: says.from, to: says.to }
      : null;
  const found =
    kind === 'segments' && part !== null
      ? await finder.findSegment(file, part.from, part.to)
      : await finder.find(file);
  if ('problem' in found) {
    problems.add(line, found.problem);
    return null;
  }
  try {
    const seconds = await announcedSeconds(found.path);
    if (part === null || seconds === null) return { path: found.path, part, seconds };
    const what = placeOf(part, seconds);
    if (what === 'outside') {
      problems.add(line, outside(file, part.from, part.to, seconds));
      return null;
    }
    return { path: found.path, part: what === 'whole' ? null : part, seconds };
  } catch (error) {
    if (codeOf(error) === 'internal' || codeOf(error) === 'no_resources') throw error;
    problems.add(line, messageOf(error));
    return null;
  }
}

/** Whether a file is the segment alone (`whole`), holds it among other sound, or has no such part. */
export function placeOf(
  { from, to }: { from: number; to: number },
  seconds: number,
): 'whole' | 'part' | 'outside' {
  if (seconds <= to - from + SEGMENT_SLACK_SECONDS) return 'whole';
  return to <= seconds + SEGMENT_SLACK_SECONDS ? 'part' : 'outside';
}

export function outside(file: string, from: number, to: number, seconds: number): string {
  return `${from} s to ${to} s lies outside of ${file}, which lasts ${seconds.toFixed(2)} s`;
}

/** The events of a recording in the order of their onsets. */
function eventsOf(rows: readonly MeantRow[], seconds: number | null, problems: Problems): ListedEvent[] {
  const events = rows
    .flatMap(({ row: { says, line, file }, targets: [target] }) => {
      if (says.kind !== 'event' || target === undefined) return [];
      const { onset, offset } = says;
      if (seconds !== null && !liesWithin(says, seconds)) {
        problems.add(line, outside(file, onset, offset, seconds));
        return [];
      }
      return [{ target, onset, offset: Math.min(offset, seconds ?? Infinity), line }];
    })
    .sort((a, b) => a.onset - b.onset || a.line - b.line);
  /** The last event of each target. */
  const last = new Map<number, ListedEvent>();
  return events.filter((event) => {
    const before = last.get(event.target);
    if (before !== undefined && event.onset < before.offset) {
      const isSame = event.onset === before.onset && event.offset === before.offset;
      const [earlier, later] = [before.line, event.line].sort((a, b) => a - b) as [number, number];
      problems.add(
        later,
        isSame ? `the same stands in line ${earlier}` : `it overlaps line ${earlier}, of the same label`,
      );
      return false;
    }
    last.set(event.target, event);
    return true;
  });
}

/** Whether a sound lies within a recording, but for the rounding of its end. */
export function liesWithin({ onset, offset }: { onset: number; offset: number }, seconds: number): boolean {
  return onset < seconds && offset <= seconds + END_SLACK_SECONDS;
}
