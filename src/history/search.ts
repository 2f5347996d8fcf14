import { join } from 'node:path';
import { codeOfErrno } from '../common/errno.js';
import { SoundpostError } from '../common/errors.js';
import { createTurns } from '../common/turns.js';
import { mayHold, union, type DayFile, type Stream } from './day-file.js';
import type { WaitingLine } from './line-queue.js';
import { readLines } from './read-lines.js';
import { headOf, recordOf, type HistoryRecord, type LineHead } from './record.js';

/** More searches than this do not wait for each other. */
const MAX_WAITING = 32;

/** What a search looks for. */
export interface SearchFor {
  readonly stream: Stream;
  /** Only lines about these times, both inclusive, are looked at; they may come closer together on the way. */
  readonly fromMs: number;
  readonly toMs: number;
  /** Is given the records of the newest file first, and within a file in order. */
  take(record: HistoryRecord): void;
  /** Whether the content of a line is looked at at all; all of them where it is left out. */
  wants?(head: LineHead): boolean;
  /** All of a file has been given. */
  fileEnds?(): void;
  /** Nothing more is looked at. */
  isOver?(): boolean;
}

export interface Search {
  /**
   * Reads what lies on the disk and what waits to be written, one search at a time. Rejects with SoundpostError `busy`
   * where too many wait, `file_unreadable` where the disk does not give a file, and with the signal's reason.
   */
  run(search: SearchFor, signal?: AbortSignal): Promise<void>;
}

/**
 * @param options.files those on the disk, oldest first
 * @param options.waiting lines of a stream that are not on the disk yet
 * @param options.damaged told of the damaged lines of a file, each file once
 */
export function createSearch(options: {
  folder: string;
  files: () => readonly DayFile[];
  waiting: (stream: Stream) => readonly WaitingLine[];
  damaged: (file: DayFile, lines: number) => void;
}): Search {
  const { folder, files, waiting, damaged } = options;
  const inTurn = createTurns();
  const told = new Set<string>();
  let queued = 0;

  /** Gives the record of a line, if it is about the right time. */
  function give(search: SearchFor, head: LineHead): void {
    if (head.atMs < search.fromMs || head.atMs > search.toMs) return;
    if (search.wants?.(head) === false) return;
    const record = recordOf(head);
    if (record !== null) search.take(record);
  }

  async function readFile(
    search: SearchFor,
    file: DayFile,
    bytes: number,
    signal?: AbortSignal,
  ): Promise<void> {
    let fromMs = Infinity;
    let toMs = -Infinity;
    const take = (head: LineHead): void => {
      fromMs = Math.min(fromMs, head.atMs);
      toMs = Math.max(toMs, head.atMs);
      give(search, head);
    };
    const lines = await readLines(join(folder, file.name), take, { bytes, signal });
    if (fromMs <= toMs) file.found = union(file.found, { fromMs, toMs });
    if (file.bytes === bytes) file.isKnown = true;
    if (lines > 0 && !told.has(file.name)) {
      told.add(file.name);
      damaged(file, lines);
    }
  }

  async function run(search: SearchFor, signal?: AbortSignal): Promise<void> {
    // At once and together: what is written meanwhile is in one of the two, or in both.
    const memory = waiting(search.stream);
    const disk = files()
      .filter((file) => file.stream === search.stream)
      .map((file) => ({ file, bytes: file.bytes }))
      .reverse();
    for (const { line } of memory) {
      const head = headOf(line.subarray(0, line.length - 1));
      if (head !== null) give(search, head);
    }
    search.fileEnds?.();
    for (const { file, bytes } of disk) {
      signal?.throwIfAborted();
      if (search.isOver?.() === true) return;
      if (!mayHold(file, search.fromMs, search.toMs)) continue;
      await readFile(search, file, bytes, signal).catch((error: unknown) => {
        // It was too old, or somebody has deleted it.
        if (codeOfErrno(error) !== 'ENOENT') throw unreadable(folder, error);
      });
      search.fileEnds?.();
    }
  }

  return {
    async run(search, signal) {
      if (queued >= MAX_WAITING) {
        throw new SoundpostError('busy', 'Too many questions to the history wait already; try again later.');
      }
      queued += 1;
      try {
        await inTurn(() => run(search, signal));
      } finally {
        queued -= 1;
      }
    },
  };
}

function unreadable(folder: string, error: unknown): unknown {
  const code = codeOfErrno(error);
  if (code === 'unknown' || code.startsWith('ERR_') || code === 'ABORT_ERR') return error;
  return new SoundpostError('file_unreadable', `The history in ${folder} cannot be read (${code}).`, {
    cause: error,
  });
}
