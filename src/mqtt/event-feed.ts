import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { EventPayload } from './contract.js';
import type { Delivery } from './delivery.js';
import { createEventCourse, type EventCourse } from './event-course.js';
import type { Outbox, OutboxEntry } from './outbox.js';
import { outgoing } from './outgoing.js';
import { createAsyncRounds } from './rounds.js';
import type { Suspects, Verdict } from './suspects.js';
import type { Candidate, Trials } from './trials.js';

/** About an event, in bytes. */
const EVENT_BYTES = 512;

/** Takes events from the outbox to the broker, in order, and out of the outbox once the broker has them. */
export interface EventFeed {
  /** Keeps an event, and hands it over when it may be read. */
  append(event: EventPayload): void;
  /** A connection is ready. Whatever is in the outbox now has waited. */
  begin(delivery: Pick<Delivery, 'send' | 'freePlaces' | 'congested'>, trials: Trials): void;
  /** Asks for the outbox to be looked at; one look at a time, and a new one after every call during it. */
  handOver(): void;
  /** The connection is gone; what was not acknowledged is sent again in the next one. */
  end(): void;
  /** Events wait that may go like any other message. */
  readonly moreIsFree: boolean;
  /** What may be tried alone now, or null. */
  candidate(): Candidate | null;
  /** Nothing is left of what a connected broker would take now. */
  readonly isDone: boolean;
  counters(): { queued: number; dropped: number };
}

/** What is true of one connection only. */
interface Feeding {
  readonly delivery: Pick<Delivery, 'send' | 'freePlaces' | 'congested'>;
  readonly trials: Trials;
  readonly course: EventCourse;
  /** Runs while the broker refuses events. */
  pause: NodeJS.Timeout | null;
}

/**
 * @param refusedMs how long events wait after the broker has refused one
 * @param pump asks for another look at what may be sent, events among it (`handOver`)
 */
export function createEventFeed(options: {
  outbox: Outbox;
  topic: string;
  refusedMs: number;
  suspects: Suspects;
  log: Logger;
  pump: () => void;
}): EventFeed {
  const { outbox, topic, refusedMs, suspects, log, pump } = options;
  let feeding: Feeding | null = null;
  /** Events that the broker can never take. */
  let unfit = 0;

  const handOver = createAsyncRounds(async () => {
    if (feeding !== null) await feed(feeding);
  }, failed);

  function failed(error: unknown): void {
    log.error({ code: 'outbox_failed', err: error }, `The outbox of events failed: ${messageOf(error)}`);
  }

  /** One event is as long as another. */
  function verdict(): Verdict {
    return suspects.any ? suspects.verdict(topic, EVENT_BYTES) : 'free';
  }

  function takesOne({ delivery, trials, course }: Feeding): boolean {
    const found = verdict();
    if (found !== 'free') return found === 'alone' && trials.running && suspects.onTheirWay === 0;
    return !trials.exclusive && !delivery.congested && course.goesOn;
  }

  async function feed(f: Feeding): Promise<void> {
    while (f === feeding && takesOne(f)) {
      const entries = await outbox.read(f.course.last, f.delivery.freePlaces);
      if (f !== feeding || entries.length === 0) return;
      for (const entry of entries) {
        // States may have taken the places meanwhile; the rest is read again.
        if (!takesOne(f)) return;
        send(f, entry);
        f.trials.look();
      }
    }
  }

  function send(f: Feeding, { key, event }: OutboxEntry): void {
    const handed = f.course.handedOver(key);
    f.delivery.send(outgoing('event', topic, event), (fate) => {
      f.course.answered(handed, fate);
      if (fate === 'refused') resumeLater(f);
      else {
        if (fate === 'unfit') unfit += 1;
        outbox.remove(key).then(pump, failed);
      }
    });
  }

  /** Access rules and quotas change. */
  function resumeLater(f: Feeding): void {
    f.pause ??= setTimeout(() => {
      f.pause = null;
      f.course.resume();
      pump();
    }, refusedMs);
  }

  outbox.onRewind(() => {
    feeding?.course.rewind();
    pump();
  });

  return {
    append: (event) => void outbox.append(event).then(pump, failed),
    begin(delivery, trials) {
      feeding = { delivery, trials, course: createEventCourse(), pause: null };
      outbox.markLate();
    },
    handOver,
    end() {
      clearTimeout(feeding?.pause ?? undefined);
      feeding = null;
    },
    get moreIsFree() {
      if (feeding === null || verdict() !== 'free' || feeding.course.held) return false;
      return outbox.counters().queued > feeding.course.onTheirWay;
    },
    candidate() {
      if (feeding === null || verdict() !== 'alone' || feeding.course.held) return null;
      if (outbox.counters().queued === 0) return null;
      // It is read from the disk first: see `feed`.
      return { name: topic, bytes: EVENT_BYTES, begin: handOver };
    },
    get isDone() {
      return feeding?.course.held === true || verdict() !== 'free' || outbox.counters().queued === 0;
    },
    counters() {
      const { queued, dropped } = outbox.counters();
      return { queued, dropped: dropped + unfit };
    },
  };
}
