import { round } from '../common/round.js';
import { ONLY_SOURCE } from '../common/only-source.js';
import type { EventPayload } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import type { SourceLink } from '../mqtt/source-link.js';
import { createFusion, type FusedEvent } from '../tagging/fusion.js';
import type { TagEvent } from '../tagging/tag-event.js';
import type { Keeping, SourceKeeping } from './keeping.js';
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

/** Clips of events that have ended at one source and not at all; more wait for nothing. */
const MOST_CLIPS = 1000;

/**
 * @param options.sourceCount how many sources there are
 * @param options.windowMs how far apart sources may hear a sound begin that is one event; 0: each tells its own
 */
export function createEventTeller(options: {
  link: Pick<Link, 'publish'>;
  sourceCount: number;
  windowMs: number;
  newId: () => string;
  /** What is kept of events, and the clips that are made of them; nothing where it is left out. */
  kept?: Kept;
}): EventTeller {
  const { link, sourceCount, windowMs, kept = keepsNothing } = options;
  const fusion = createFusion({ windowMs, sourceCount, newId: options.newId });
  const isFused = sourceCount > 1 && windowMs > 0;
  /** The clip that a source makes, by the id of its own event, until the fused event has ended. */
  const clipOf = new Map<string, string>();

  function tellAll(payload: EventPayload): void {
    link.publish('event', payload);
    kept.event(payload);
  }

  function keepClip(eventId: string, clip: string): void {
    clipOf.set(eventId, clip);
    if (clipOf.size > MOST_CLIPS) clipOf.delete(clipOf.keys().next().value!);
  }

  /** The clip of the source that heard a fused event loudest, among those that made one. */
  function takeClip(sources: FusedEvent['sources']): string | undefined {
    const clips = sources.flatMap(({ eventId }) => clipOf.get(eventId) ?? []);
    for (const { eventId } of sources) clipOf.delete(eventId);
    return clips[0];
  }

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
    const clip = event.event_type === 'ended' ? takeClip(sources) : undefined;
    tellAll({ ...payload, ...(clip !== undefined && { clip }) });
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
      const keeping = kept.of(source ?? ONLY_SOURCE);
      return (event, heardBy, levelDbfs) => {
        const clip = keeping.event(event);
        const payload: EventPayload = { ...eventPayload(event, heardBy), ...(clip !== null && { clip }) };
        if (source === null) {
          tellAll(payload);
          return;
        }
        own.event({ ...payload, source });
        if (!isFused) tellAll({ ...payload, source });
        else {
          if (clip !== null) keepClip(event.id, clip);
          tell(fusion.take({ event, source, levelDbfs, heardBy }, performance.now()));
        }
      };
    },
    stop() {
      tell(fusion.close(performance.now()));
    },
  };
}

type Kept = Pick<Keeping, 'event'> & { of(source: string): Pick<SourceKeeping, 'event'> };

const keepsNothing: Kept = { event: () => undefined, of: () => ({ event: () => null }) };
