import { round } from '../common/round.js';
import type { EventPayload } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import type { SourceLink } from '../mqtt/source-link.js';
import { createFusion, type FusedEvent } from '../tagging/fusion.js';
import type { TagEvent } from '../tagging/tag-event.js';
import { eventPayload, SCORE_DIGITS } from './tag-payloads.js';

/** Tells the events of one source. */
export interface TellEvent {
  /**
   * @param heardBy id of the model, or what else heard it
   * @param levelDbfs how loud it is there; null where that is not known
   */
  (event: TagEvent, heardBy: string, levelDbfs: number | null): void;
}

/**
 * `B/event`: of one source as it hears; of several with the name of the source, and one event for a sound that several
 * hear, where that is asked for.
 */
export interface EventTeller {
  /** How one source tells its events. */
  of(link: SourceLink): TellEvent;
  /** Tells what waits for other sources. */
  stop(): void;
}

/**
 * @param options.sourceCount how many sources there are
 * @param options.windowMs how far apart sources may hear a sound begin that is one event; 0: each tells its own
 */
export function createEventTeller(options: {
  link: Pick<Link, 'publish'>;
  sourceCount: number;
  windowMs: number;
  newId: () => string;
}): EventTeller {
  const { link, sourceCount, windowMs } = options;
  const fusion = createFusion({ windowMs, sourceCount, newId: options.newId });
  const isFused = sourceCount > 1 && windowMs > 0;
  let timer: NodeJS.Timeout | null = null;

  function publish({ event, source, sources, heardBy }: FusedEvent): void {
    const payload: EventPayload = {
      ...eventPayload(event, heardBy),
      source,
      sources: sources.map(({ name, score, levelDbfs }) => ({
        name,
        score: round(score, SCORE_DIGITS),
        level_dbfs: levelDbfs === null ? null : round(levelDbfs, 1),
      })),
    };
    link.publish('event', payload);
  }

  function tell(events: readonly FusedEvent[]): void {
    for (const event of events) publish(event);
    if (timer !== null) clearTimeout(timer);
    const { nextDueMs } = fusion;
    timer =
      nextDueMs === null
        ? null
        : setTimeout(() => tell(fusion.due(performance.now())), Math.max(0, nextDueMs - performance.now()));
  }

  return {
    of(own) {
      const { source } = own;
      return (event, heardBy, levelDbfs) => {
        const payload = eventPayload(event, heardBy);
        if (source === null) {
          link.publish('event', payload);
          return;
        }
        own.event({ ...payload, source });
        if (!isFused) link.publish('event', { ...payload, source });
        else tell(fusion.take({ event, source, levelDbfs, heardBy }, performance.now()));
      };
    },
    stop() {
      tell(fusion.close(performance.now()));
    },
  };
}
