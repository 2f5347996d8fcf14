import { SoundpostError } from '../common/errors.js';
import type { CommandContext } from '../mqtt/command.js';
import { isoTime } from '../mqtt/contract.js';
import {
  LAST_EVENT,
  type HistoryCommandName,
  type HistoryData,
  type HistoryInput,
} from '../mqtt/history-specs.js';
import { cursorOfRow, type EventPage, type HistoryRow } from './event-finder.js';
import type { History } from './history.js';

/** What one reply carries of events at most; some brokers take no more than 128 KB in a message. */
const REPLY_BYTES = 96 * 1024;
const DAY_MS = 86_400_000;

/** What the commands of `historySpecs` do. */
export type HistoryCommands = {
  [K in HistoryCommandName]: (
    input: HistoryInput<K>,
    context: Pick<CommandContext, 'signal'>,
  ) => Promise<HistoryData<K>>;
};

/** @param nowMs the wall clock, ms since the epoch */
export function createHistoryCommands(history: History, nowMs: () => number = Date.now): HistoryCommands {
  return {
    async history({ since, until, ...query }, { signal }) {
      checkOrder(since, until);
      const page = await history.query({ ...query, sinceMs: msOf(since), untilMs: msOf(until) }, signal);
      return { ...inBounds(page) };
    },
    async 'history/scores'({ label, source, since, until, points }, { signal }) {
      const untilMs = msOf(until) ?? nowMs();
      const sinceMs = msOf(since) ?? untilMs - DAY_MS;
      checkOrder(isoTime(sinceMs), isoTime(untilMs));
      const curve = await history.scoreCurve({ label, source, sinceMs, untilMs, maxPoints: points }, signal);
      return {
        step_seconds: curve.stepMs / 1000,
        points: curve.points.map(({ tsMs, score }) => ({ ts: isoTime(tsMs), score })),
      };
    },
    async 'history/delete'(input) {
      const { bytes } = await history.delete('all' in input ? input : { beforeMs: Date.parse(input.before) });
      return { deleted: true, bytes };
    },
    async 'event/judge'({ id: given, right, source }, { signal }) {
      const id = given === LAST_EVENT ? await lastEvent(history, source, signal) : given;
      const event = await history.judge(id, right, signal);
      if (event === null) {
        throw new SoundpostError(
          'event_unknown',
          `The history has no event ${JSON.stringify(id)}; "history" lists them. It may be older than what is kept.`,
        );
      }
      return { id, label: event.label, right };
    },
  };
}

/** The id of the event that began last, at one source or at all; rejects where there is none. */
async function lastEvent(history: History, source: string | undefined, signal: AbortSignal): Promise<string> {
  const { events } = await history.query({ source, limit: 1 }, signal);
  const [last] = events;
  if (last !== undefined) return last.id;
  throw new SoundpostError(
    'event_unknown',
    `The history has no event${source === undefined ? '' : ` of the source ${JSON.stringify(source)}`} yet.`,
  );
}

function msOf(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time);
}

function checkOrder(since: string | undefined, until: string | undefined): void {
  if (since === undefined || until === undefined || Date.parse(since) < Date.parse(until)) return;
  throw new SoundpostError(
    'invalid_request',
    `since: has to be before until, and ${since} is not before ${until}.`,
  );
}

/** As many events as a reply has room for, one at least; the cursor gets the others. */
function inBounds({ events, cursor }: EventPage): { events: HistoryRow[]; cursor: string | null } {
  let bytes = 0;
  const fit: HistoryRow[] = [];
  for (const event of events) {
    bytes += Buffer.byteLength(JSON.stringify(event)) + 1;
    if (bytes > REPLY_BYTES && fit.length > 0) return { events: fit, cursor: cursorOfRow(fit.at(-1)!) };
    fit.push(event);
  }
  return { events: fit, cursor };
}
