import { createDiskRetry } from '../common/disk-retry.js';
import { createGroupWriter } from '../common/group-writer.js';
import type { Logger } from '../common/log.js';
import { within } from '../common/within.js';
import { STREAMS, type Stream, type TimeRange } from './day-file.js';
import type { DayFiles } from './day-files.js';
import type { LineQueue, WaitingLine } from './line-queue.js';
import type { HistoryTuning } from './tuning.js';

/** Lines that are written at once, in bytes; a file has room for a few such writes. */
const WRITE_BYTES = 24 * 1024;

/** Brings what waits to the disk, and goes on trying where the disk does not work. */
export interface Writing {
  /** The disk does not take anything now. */
  readonly failing: boolean;
  /** Something waits. Resolves, and never rejects, when it is written or cannot be written now. */
  write(): Promise<void>;
  /** A last attempt, in bounded time. */
  close(): Promise<void>;
}

/** @param options.inTurn what is done to the files is done one after the other */
export function createWriting(options: {
  folder: string;
  files: DayFiles;
  queues: Readonly<Record<Stream, LineQueue>>;
  inTurn: (work: () => Promise<void>) => Promise<void>;
  tuning: HistoryTuning;
  log: Logger;
}): Writing {
  const { folder, files, queues, inTurn, tuning, log } = options;
  const disk = createDiskRetry({
    what: `The history in ${folder}`,
    code: 'history_not_written',
    meanwhile: 'the newest of it is kept in memory until it can',
    firstRetryMs: tuning.firstRetryMs,
    maxRetryMs: tuning.maxRetryMs,
    log,
    again: () => void writer.write(),
  });
  let closed = false;
  /** At the start too: the folder may have grown old while the service was off. */
  let isToTidy = true;

  const isBehind = (): boolean => isToTidy || STREAMS.some((stream) => queues[stream].size > 0);

  /** At the end there is no second attempt. */
  const mayWrite = (): boolean => !disk.isWaiting && !(closed && disk.failing);

  async function writeSome(): Promise<void> {
    try {
      await files.load();
      if (isToTidy) await files.tidy();
      isToTidy = false;
      for (const stream of STREAMS) await append(stream);
    } catch (error) {
      files.distrust();
      throw error;
    }
    disk.worked();
  }

  async function append(stream: Stream): Promise<void> {
    const queue = queues[stream];
    const lines = queue.take(WRITE_BYTES);
    if (lines.length === 0) return;
    try {
      await files.append(
        stream,
        lines.map(({ line }) => line),
        rangeOf(lines),
      );
      queue.arrived();
    } catch (error) {
      queue.returned();
      throw error;
    }
  }

  const writer = createGroupWriter({
    next: () => (mayWrite() && isBehind() ? () => inTurn(writeSome) : null),
    patienceMs: tuning.patienceMs,
    fail: (error) => disk.failed(error),
  });

  const tidying = setInterval(() => {
    isToTidy = true;
    void writer.write();
  }, tuning.tidyMs);
  tidying.unref();

  async function finish(): Promise<void> {
    const wasFailing = disk.failing;
    await writer.write();
    if (wasFailing && isBehind()) await inTurn(writeSome).catch(() => undefined);
    await inTurn(() => files.sync()).catch(() => undefined);
  }

  return {
    get failing() {
      return disk.failing;
    },
    write: () => writer.write(),
    async close() {
      if (closed) return;
      clearInterval(tidying);
      closed = true;
      disk.close();
      await within(finish(), tuning.closeMs);
    },
  };
}

function rangeOf(lines: readonly WaitingLine[]): TimeRange {
  const times = lines.map(({ atMs }) => atMs);
  return { fromMs: Math.min(...times), toMs: Math.max(...times) };
}
