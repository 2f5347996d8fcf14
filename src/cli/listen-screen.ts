import { Writable } from 'node:stream';
import { LEVEL_FLOOR_DBFS } from '../audio/level.js';
import type { Tag } from '../tagging/top.js';
import type { CommandContext } from './context.js';
import { clip, terminalWidth } from './table.js';

const METER_WIDTH = 30;

/** What `soundpost listen` shows. */
export interface Screen {
  /** A picture that is drawn over, instead of lines. */
  readonly live: boolean;
  /** Where logs go: above the picture. */
  readonly stderr: Writable & { isTTY: boolean };
  say(text: string): void;
  /** Of a source, by its number. */
  level(source: number, dbfs: number): void;
  tags(source: number, tags: readonly Tag[], endMs: number): void;
  draw(): void;
}

/** What is shown of one source. */
interface Shown {
  /** Null for the only one. */
  readonly name: string | null;
  tags: readonly Tag[];
  levelDbfs: number;
}

/**
 * On a terminal one picture that is drawn over; elsewhere a line for each window; with --json an object for each window.
 * @param top how many tags of a source are shown
 * @param names of the sources where there are several; null for the only one
 */
export function createScreen(
  { json, stdout }: CommandContext,
  { top, names }: { top: number; names: readonly (string | null)[] },
): Screen {
  const live = !json && process.stdout.isTTY;
  const sources = names.map((name): Shown => ({ name, tags: [], levelDbfs: LEVEL_FLOOR_DBFS }));
  const nameWidth = Math.max(...names.map((name) => name?.length ?? 0));
  const picture = createPicture(stdout, () => linesOf(sources, top, nameWidth));
  const aside = (text: string) => {
    if (live) picture.erase();
    process.stderr.write(text);
  };
  return {
    live,
    stderr: Object.assign(
      new Writable({
        write(line: Buffer, _encoding, done) {
          aside(line.toString());
          done();
        },
      }),
      { isTTY: process.stderr.isTTY },
    ),
    say: (text) => aside(`${text}\n`),
    level(source, dbfs) {
      sources[source]!.levelDbfs = dbfs;
    },
    tags(source, next, endMs) {
      const shown = sources[source]!;
      shown.tags = next;
      if (live) picture.draw();
      else stdout.write(`${json ? jsonOf(shown, endMs) : lineOf(shown, endMs, nameWidth)}\n`);
    },
    draw() {
      if (live) picture.draw();
    },
  };
}

/** Lines at the bottom of a terminal that are drawn over. */
function createPicture(stdout: CommandContext['stdout'], lines: () => readonly string[]) {
  let drawnLines = 0;
  const erased = () => {
    const text = drawnLines === 0 ? '' : `\x1b[${drawnLines}A\x1b[J`;
    drawnLines = 0;
    return text;
  };
  return {
    erase() {
      stdout.write(erased());
    },
    draw() {
      const { rows } = process.stdout;
      // A line that the terminal wraps, or a picture higher than it, could not be drawn over.
      const shown = rows > 1 ? lines().slice(0, rows - 1) : lines();
      const text = shown.map((line) => `${clip(line, terminalWidth(process.stdout) - 1)}\n`).join('');
      // In one piece, so that the picture does not flicker.
      stdout.write(erased() + text);
      drawnLines = shown.length;
    },
  };
}

/** One source has a line for each tag, several a line each. */
function linesOf(sources: readonly Shown[], top: number, nameWidth: number): string[] {
  const [only] = sources;
  if (sources.length > 1 || only === undefined) {
    return sources.map(
      ({ name, levelDbfs, tags }) =>
        `${name!.padEnd(nameWidth)} ${meterOf(levelDbfs)}  ${tags.map(textOf).join(' · ')}`,
    );
  }
  const tagLines = Array.from({ length: top }, (_, place) => {
    const tag = only.tags[place];
    return tag === undefined ? '' : `${bar(tag.score)} ${tag.score.toFixed(2)} ${tag.label}`;
  });
  return [meterOf(only.levelDbfs), ...tagLines];
}

function lineOf({ name, levelDbfs, tags }: Shown, endMs: number, nameWidth: number): string {
  const which = name === null ? '' : `${name.padEnd(nameWidth)}  `;
  return `${timeOf(endMs)}  ${which}${dbfsText(levelDbfs)}  ${tags.map(textOf).join(' · ')}`;
}

function jsonOf({ name, levelDbfs, tags }: Shown, endMs: number): string {
  const which = name === null ? {} : { source: name };
  return JSON.stringify({ ts: timeOf(endMs), ...which, level_dbfs: levelDbfs, tags });
}

const timeOf = (endMs: number) => new Date(endMs).toISOString();
const textOf = ({ label, score }: Tag) => `${label} ${score.toFixed(2)}`;
const dbfsText = (dbfs: number) => `${dbfs.toFixed(0).padStart(4)} dBFS`;

/** -60 dBFS is a quiet room: the left end of the meter. */
const meterOf = (dbfs: number) => `${bar(1 + dbfs / 60)} ${dbfsText(dbfs)}`;

function bar(share: number): string {
  const full = Math.round(Math.max(0, Math.min(1, share)) * METER_WIDTH);
  return '█'.repeat(full) + '░'.repeat(METER_WIDTH - full);
}
