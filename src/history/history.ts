import { join } from 'node:path';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createTurns } from '../common/turns.js';
import type { Stream } from './day-file.js';
import { createDayFiles } from './day-files.js';
import { createEventFinder, type EventPage, type EventQuery } from './event-finder.js';
import { forgetFiles } from './forget.js';
import { lastingScores } from './lasting-scores.js';
import type { FiringHour } from './firing-hour.js';
import { createPeakGatherer, type HeardPeak } from './judged-peaks.js';
import { createLineQueue } from './line-queue.js';
import { encodeRecord, isTime, type HistoryEvent, type HistoryRecord } from './record.js';
import { createClockTrust } from './retention.js';
import { createCurveBuilder, type CurveQuery, type ScoreCurve } from './score-curve.js';
import type { ScoreMinute } from './score-minutes.js';
import { createSearch, type Search } from './search.js';
import { defaultTuning, type HistoryTuning } from './tuning.js';
import { createWriting } from './writing.js';

/** No event that is published is nearly as long. */
const MAX_LINE_BYTES = 64 * 1024;

/** What is to be forgotten: everything, or what began before a moment (ms since the epoch). */
export type Forgetting = { readonly all: true } | { readonly beforeMs: number };

export interface HistoryStats {
  readonly files: number;
  /** What the files take on the disk. */
  readonly bytes: number;
  /** What waits in memory. */
  readonly waiting: { readonly events: number; readonly minutes: number; readonly hours: number };
  /** What was lost since the start, because the disk did not take it for long, or because it cannot be written. */
  readonly dropped: { readonly events: number; readonly minutes: number; readonly hours: number };
  /** Lines that were found damaged since the start. */
  readonly damaged: number;
  /** Whether the disk takes nothing now. */
  readonly failing: boolean;
}

/**
 * What was heard, kept whatever the broker does. Nothing of it throws or waits for the disk but what returns a promise.
 */
export interface History {
  /** Keeps an event; `started` and `ended` of one sound belong together by their id. */
  event(event: HistoryEvent): void;
  /** Keeps the highest scores of a minute; of a minute that comes twice the higher ones count. */
  scores(minute: ScoreMinute): void;
  /** Keeps what would have started in an hour with other thresholds. */
  firings(hour: FiringHour): void;
  /**
   * Keeps what somebody says about an event: the detection was right or wrong. The last word counts. Resolves to the
   * event, or to null where there is none of this id.
   */
  judge(eventId: string, right: boolean, signal?: AbortSignal): Promise<HistoryEvent | null>;
  /** The events that were asked for; rejects as `Search.run` does. */
  query(query: EventQuery, signal?: AbortSignal): Promise<EventPage>;
  /** The scores of a label over time; rejects as `Search.run` does. */
  scoreCurve(query: CurveQuery, signal?: AbortSignal): Promise<ScoreCurve>;
  /** Calls back with the hours that began between two moments (inclusive), in any order; rejects as `Search.run` does. */
  firingHours(
    range: { sinceMs: number; untilMs: number },
    take: (hour: FiringHour) => void,
    signal?: AbortSignal,
  ): Promise<void>;
  /** The events that began between two moments (inclusive), the newest 20,000 of them, with what was said of them. */
  peaks(range: { sinceMs: number; untilMs: number }, signal?: AbortSignal): Promise<HeardPeak[]>;
  /** Resolves to the bytes that are gone; rejects with SoundpostError `disk_write`, and a part may be gone then. */
  delete(what: Forgetting): Promise<{ bytes: number }>;
  stats(): HistoryStats;
  /** Resolves once what was given before is written, or cannot be now. */
  settled(): Promise<void>;
  /** A last attempt to write what waits, of 3 s at most. Nothing is taken afterwards. */
  close(): Promise<void>;
}

export interface HistoryOptions {
  /** The history is in its folder `history`. */
  readonly dataDir: string;
  /** Days that are kept. */
  readonly days: number;
  /** Room for it on the disk, in MB of 1,000,000 bytes; the oldest files go first. */
  readonly maxMb: number;
  readonly log: Logger;
  /** The wall clock, ms since the epoch. */
  readonly now?: () => number;
  /** Overrides for tests. */
  readonly tuning?: Partial<HistoryTuning>;
}

/**
 * The history in a folder, which is looked at in the background: a disk that hangs holds up nobody. One process has it,
 * which the lock of the outbox in the same data folder sees to.
 *
 * `record.ts` has the lines, `day-file.ts` and `day-files.ts` the files, `retention.ts` which of them go, `writing.ts`
 * the way there, `search.ts` the way back, `event-finder.ts` and `score-curve.ts` the answers.
 */
export function openHistory(options: HistoryOptions): History {
  const { dataDir, days, maxMb, log, now: nowMs = Date.now } = options;
  const tuning = { ...defaultTuning, ...options.tuning };
  const { monotonicMs } = tuning;
  const folder = join(dataDir, 'history');
  const inTurn = createTurns();
  const queues = {
    events: createLineQueue(tuning.eventBytes),
    scores: createLineQueue(tuning.scoreBytes),
    firings: createLineQueue(tuning.firingBytes),
  };
  const dropped = { events: 0, scores: 0, firings: 0 };
  const trust = createClockTrust({ nowMs, monotonicMs });
  const files = createDayFiles({ folder, maxBytes: maxMb * 1_000_000, days, trust, nowMs, monotonicMs });
  const writing = createWriting({ folder, files, queues, inTurn, tuning, log });
  let damaged = 0;
  let closed = false;
  const search = createSearch({
    folder,
    files: () => files.files,
    waiting: (stream) => queues[stream].lines(),
    damaged(file, lines) {
      if (damaged === 0) {
        log.warn(
          { code: 'history_damaged' },
          `${join(folder, file.name)} is damaged in ${lines} ${lines === 1 ? 'place' : 'places'}: what was there is lost, the rest of the history is not`,
        );
      }
      damaged += lines;
    },
  });
  /** The first look at the folder; where it fails there is only what waits in memory. */
  const ready = writing.write();

  function keep(record: HistoryRecord): void {
    const stream = streamOf(record);
    const line = closed ? null : lineOf(record);
    if (line === null) dropped[stream] += 1;
    else dropped[stream] += queues[stream].push({ line, atMs: record.atMs });
    void writing.write();
  }

  return {
    event: (event) => keep({ kind: 'event', atMs: Date.parse(event.started_at), event }),
    scores: (minute) => keep(lastingScores(minute)),
    firings: (hour) => keep({ kind: 'firings', atMs: hour.fromMs, hour }),
    async judge(eventId, right, signal) {
      await ready;
      const found = await findEvent(search, eventId, signal);
      if (found === undefined) return null;
      keep({ kind: 'judged', atMs: found.atMs, id: eventId, right });
      return found.event;
    },
    async query(query, signal) {
      await ready;
      const finder = createEventFinder(query);
      await search.run(
        {
          stream: 'events',
          get fromMs() {
            return finder.fromMs;
          },
          toMs: finder.toMs,
          take: (record) => finder.take(record),
          fileEnds: () => finder.fileEnds(),
        },
        signal,
      );
      return finder.end();
    },
    async scoreCurve(query, signal) {
      await ready;
      const curve = createCurveBuilder(query);
      await search.run(
        { stream: 'scores', fromMs: curve.fromMs, toMs: curve.toMs, take: (record) => curve.take(record) },
        signal,
      );
      return curve.end();
    },
    async firingHours({ sinceMs, untilMs }, take, signal) {
      await ready;
      await search.run(
        {
          stream: 'firings',
          fromMs: sinceMs,
          toMs: untilMs,
          take(record) {
            if (record.kind === 'firings') take(record.hour);
          },
        },
        signal,
      );
    },
    async peaks({ sinceMs, untilMs }, signal) {
      await ready;
      const gatherer = createPeakGatherer();
      await search.run(
        {
          stream: 'events',
          fromMs: sinceMs,
          toMs: untilMs,
          take: (record) => gatherer.take(record),
          fileEnds: () => gatherer.fileEnds(),
        },
        signal,
      );
      return gatherer.end();
    },
    async delete(what) {
      const beforeMs = 'all' in what ? Infinity : what.beforeMs;
      // At once: what comes from now on is not meant.
      for (const queue of Object.values(queues)) queue.forget(beforeMs);
      return inTurn(async () => {
        try {
          await files.load();
          return { bytes: await forgetFiles(files, folder, beforeMs) };
        } catch (error) {
          files.distrust();
          throw notDeleted(folder, error);
        }
      });
    },
    stats: () => ({
      files: files.files.length,
      bytes: files.bytes,
      waiting: { events: queues.events.size, minutes: queues.scores.size, hours: queues.firings.size },
      dropped: { events: dropped.events, minutes: dropped.scores, hours: dropped.firings },
      damaged,
      failing: writing.failing,
    }),
    settled: () => writing.write(),
    async close() {
      closed = true;
      await writing.close();
    },
  };
}

function streamOf({ kind }: HistoryRecord): Stream {
  if (kind === 'scores' || kind === 'firings') return kind;
  return 'events';
}

/** The line of a record, or null where it cannot be written. */
function lineOf(record: HistoryRecord): Buffer | null {
  if (!isTime(record.atMs)) return null;
  try {
    const line = encodeRecord(record);
    return line.length <= MAX_LINE_BYTES ? line : null;
  } catch {
    return null;
  }
}

type EventRecord = Extract<HistoryRecord, { kind: 'event' }>;

/** The newest record of an event; undefined where there is none. */
async function findEvent(
  search: Search,
  eventId: string,
  signal: AbortSignal | undefined,
): Promise<EventRecord | undefined> {
  const found: EventRecord[] = [];
  const quoted = JSON.stringify(eventId);
  await search.run(
    {
      stream: 'events',
      fromMs: -Infinity,
      toMs: Infinity,
      wants: ({ kind, json }) => kind === 'event' && json.includes(quoted),
      take(record) {
        if (record.kind === 'event' && record.event.id === eventId) found.push(record);
      },
      isOver: () => found.length > 0,
    },
    signal,
  );
  return found.at(-1);
}

function notDeleted(folder: string, error: unknown): SoundpostError {
  return new SoundpostError(
    'disk_write',
    `The history in ${folder} could not be deleted, or only in part (${messageOf(error)}). Check that the disk works and that this user may write there, and try again.`,
    { cause: error },
  );
}
