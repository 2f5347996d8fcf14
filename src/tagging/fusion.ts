import type { TagEvent } from './tag-event.js';

/** An event of one source, as its tagger tells it. */
export interface HeardEvent {
  readonly event: TagEvent;
  /** The name of the source. */
  readonly source: string;
  /** How loud it is there, dBFS; null where that is not known. */
  readonly levelDbfs: number | null;
  /** The id of the model that heard it, or what else did. */
  readonly heardBy: string;
}

/** How one source heard a fused event. */
export interface HeardAt {
  readonly name: string;
  /** The id of the source's own event. */
  readonly eventId: string;
  /** The highest score there so far. */
  readonly score: number;
  /** The loudest that is known of it there, dBFS; null where nothing is. */
  readonly levelDbfs: number | null;
}

/** An event as it is told, whether one source heard it or several. */
export interface FusedEvent {
  readonly event: TagEvent;
  /** The name of the source that heard it loudest. */
  readonly source: string;
  /** Each source that heard it, once, the loudest first; see `byLoudness`. */
  readonly sources: readonly HeardAt[];
  /** Of the source with the highest peak, as the label is. */
  readonly heardBy: string;
}

/**
 * One sound, one event: what several sources hear of the same watched item at the same time is told once.
 *
 * Events of one item (by its slug) are *joined* where all of them begin within the window: none more than `windowMs`
 * after the earliest. A source joins once; what it hears anew is another sound, and so is what begins outside of the
 * window while the fused event is still on. Where a start fits to several, it joins the nearest.
 *
 * `started` is told `windowMs` after the first was taken, so that the list of sources is whole, or as soon as every
 * source has joined. Who joins later is in the list of `ended`, which follows once the last has ended. An event that
 * is told has an id of its own, the earliest beginning (in `ended` that may be earlier than in `started`), the latest
 * end, and the label with the highest peak. Each `started` is followed by exactly one `ended`.
 *
 * No timers: `nextDueMs` says when to ask again. Every `nowMs` is of a monotonic clock (performance.now()), so that
 * nothing waits longer where the wall clock, of which the events tell, is set.
 */
export interface Fusion {
  /**
   * Takes an event and returns what is to be told now: what is due, then what follows from this one. An `ended` whose
   * `started` was never taken is nobody's end and is dropped; a source that begins an item anew without having ended
   * it has ended it then.
   */
  take(heard: HeardEvent, nowMs: number): FusedEvent[];
  /** What has waited long enough. */
  due(nowMs: number): FusedEvent[];
  /** When `due` has something to tell (monotonic, ms); null: nothing waits. */
  readonly nextDueMs: number | null;
  /**
   * A source has stopped, and its tagger has ended what was on: should an end have been lost, it is made up for, at
   * the time of the last word on it. Without a source: all have stopped, and what waits is told.
   */
  close(nowMs: number, source?: string): FusedEvent[];
}

/** A flood of short events makes no more than these wait; the oldest is told earlier then. */
const MOST_WAITING = 1000;

/** What one source has to do with a fused event. */
interface Joined {
  readonly source: string;
  /** Its last word: `started` as long as it is on there. */
  event: TagEvent;
  levelDbfs: number | null;
  readonly heardBy: string;
}

interface Fused {
  readonly id: string;
  readonly slug: string;
  /** When `started` is told at the latest. */
  readonly dueMs: number;
  /** In the order in which they joined. */
  readonly joined: Joined[];
  /** The earliest and the latest beginning (wall clock, ms). */
  earliestMs: number;
  latestMs: number;
  isTold: boolean;
}

/** What is on at a source, and the fused event that it is a part of. */
interface Part {
  readonly fused: Fused;
  readonly joined: Joined;
}

/**
 * @param options.windowMs how far apart (ms) sources may hear the same sound begin; 0: every event passes at once, as
 * it is
 * @param options.sourceCount how many sources there are
 * @param options.newId names each fused event; it must not repeat itself
 */
export function createFusion(options: {
  windowMs: number;
  sourceCount: number;
  newId: () => string;
}): Fusion {
  const { windowMs, sourceCount, newId } = options;
  /** What may still be joined or has to be ended, by its slug. */
  const open = new Map<string, Set<Fused>>();
  /** Those whose `started` is not told, the next one first. */
  const waiting = new Set<Fused>();
  /** What is on, by source and slug: a source has an item on once. */
  const parts = new Map<string, Map<string, Part>>();

  function tellStart(fused: Fused, told: FusedEvent[]): void {
    waiting.delete(fused);
    fused.isTold = true;
    told.push(startOf(fused));
    tellEndOnceOver(fused, told);
  }

  function tellEndOnceOver(fused: Fused, told: FusedEvent[]): void {
    if (!fused.isTold || fused.joined.some(isOn)) return;
    const sameSlug = open.get(fused.slug);
    sameSlug?.delete(fused);
    if (sameSlug?.size === 0) open.delete(fused.slug);
    told.push(endOf(fused));
  }

  function oldestWaiting(): Fused | null {
    for (const fused of waiting) return fused;
    return null;
  }

  function tellDue(nowMs: number, told: FusedEvent[]): void {
    for (const fused of waiting) {
      if (fused.dueMs > nowMs) return;
      tellStart(fused, told);
    }
  }

  function begin({ event, source, levelDbfs, heardBy }: HeardEvent, nowMs: number, told: FusedEvent[]): void {
    const before = parts.get(source)?.get(event.slug);
    if (before?.joined.event.id === event.id) return;
    if (before !== undefined) end(before, endedAt(before.joined.event, event.started_at), null, told);
    const fused = nearest(event, source) ?? newFused(event, nowMs);
    const joined: Joined = { source, event, levelDbfs, heardBy };
    fused.joined.push(joined);
    fused.earliestMs = Math.min(fused.earliestMs, event.started_at);
    fused.latestMs = Math.max(fused.latestMs, event.started_at);
    partsOf(source).set(event.slug, { fused, joined });
    if (!fused.isTold && fused.joined.length >= sourceCount) tellStart(fused, told);
    if (waiting.size > MOST_WAITING) tellStart(oldestWaiting()!, told);
  }

  function end(part: Part, event: TagEvent, levelDbfs: number | null, told: FusedEvent[]): void {
    const { fused, joined } = part;
    joined.event = event;
    joined.levelDbfs = louder(joined.levelDbfs, levelDbfs);
    const there = parts.get(joined.source);
    there?.delete(fused.slug);
    if (there?.size === 0) parts.delete(joined.source);
    tellEndOnceOver(fused, told);
  }

  /** The fused event that `event` of `source` joins; null where it is one of its own. */
  function nearest(event: TagEvent, source: string): Fused | null {
    let best: Fused | null = null;
    let bestMs = Infinity;
    for (const fused of open.get(event.slug) ?? []) {
      const startMs = event.started_at;
      const spanMs = Math.max(fused.latestMs, startMs) - Math.min(fused.earliestMs, startMs);
      if (!(spanMs <= windowMs) || fused.joined.some((joined) => joined.source === source)) continue;
      const awayMs = Math.abs(startMs - fused.earliestMs);
      if (awayMs < bestMs) [best, bestMs] = [fused, awayMs];
    }
    return best;
  }

  function newFused({ slug, started_at: startMs }: TagEvent, nowMs: number): Fused {
    const fused: Fused = {
      id: newId(),
      slug,
      dueMs: nowMs + windowMs,
      joined: [],
      earliestMs: startMs,
      latestMs: startMs,
      isTold: false,
    };
    waiting.add(fused);
    const sameSlug = open.get(slug);
    if (sameSlug === undefined) open.set(slug, new Set([fused]));
    else sameSlug.add(fused);
    return fused;
  }

  function partsOf(source: string): Map<string, Part> {
    const there = parts.get(source) ?? new Map<string, Part>();
    parts.set(source, there);
    return there;
  }

  return {
    take(heard, nowMs) {
      if (windowMs <= 0) return [passed(heard)];
      const told: FusedEvent[] = [];
      tellDue(nowMs, told);
      const { event, source, levelDbfs } = heard;
      if (event.event_type === 'started') begin(heard, nowMs, told);
      else {
        const part = parts.get(source)?.get(event.slug);
        if (part?.joined.event.id === event.id) end(part, event, levelDbfs, told);
      }
      return told;
    },
    due(nowMs) {
      const told: FusedEvent[] = [];
      tellDue(nowMs, told);
      return told;
    },
    get nextDueMs() {
      return oldestWaiting()?.dueMs ?? null;
    },
    close(nowMs, source) {
      const told: FusedEvent[] = [];
      tellDue(nowMs, told);
      const stopped =
        source === undefined ? [...parts.values()] : [parts.get(source) ?? new Map<string, Part>()];
      const on = stopped.flatMap((there) => [...there.values()]);
      for (const part of on) {
        const { event } = part.joined;
        end(part, endedAt(event, event.detected_at), null, told);
      }
      if (source === undefined) for (const fused of waiting) tellStart(fused, told);
      return told;
    },
  };
}

type Loudness = Omit<HeardAt, 'eventId'>;

/** The loudest first; then those of which no level is known; of equals the surer one, then by name. */
export function byLoudness(a: Loudness, b: Loudness): number {
  const aDbfs = a.levelDbfs ?? -Infinity;
  const bDbfs = b.levelDbfs ?? -Infinity;
  if (aDbfs !== bDbfs) return aDbfs < bDbfs ? 1 : -1;
  if (a.score !== b.score) return b.score - a.score;
  return a.name < b.name ? -1 : 1;
}

function isOn({ event }: Joined): boolean {
  return event.event_type === 'started';
}

function louder(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}

/** The end that was not told of an event that is on. */
function endedAt(event: TagEvent, wallMs: number): TagEvent {
  const endMs = Math.max(event.started_at, wallMs);
  return {
    ...event,
    event_type: 'ended',
    ended_at: endMs,
    duration_s: (endMs - event.started_at) / 1000,
    detected_at: Math.max(event.detected_at, endMs),
  };
}

function passed({ event, source, levelDbfs, heardBy }: HeardEvent): FusedEvent {
  return {
    event,
    source,
    sources: [{ name: source, eventId: event.id, score: event.peak, levelDbfs }],
    heardBy,
  };
}

function startOf(fused: Fused): FusedEvent {
  return telling(fused, { event_type: 'started', ended_at: null, duration_s: null });
}

function endOf(fused: Fused): FusedEvent {
  const endMs = Math.max(fused.earliestMs, ...fused.joined.map(({ event }) => event.ended_at ?? -Infinity));
  const durationSeconds = (endMs - fused.earliestMs) / 1000;
  return telling(fused, { event_type: 'ended', ended_at: endMs, duration_s: durationSeconds });
}

function telling(
  { id, slug, joined, earliestMs }: Fused,
  what: Pick<TagEvent, 'event_type' | 'ended_at' | 'duration_s'>,
): FusedEvent {
  const events = joined.map(({ event }) => event);
  const best = joined.reduce((before, each) => (each.event.peak > before.event.peak ? each : before));
  const { label, mid, group, peak } = best.event;
  const sources = joined
    .map(({ source, event, levelDbfs }) => ({
      name: source,
      eventId: event.id,
      score: event.peak,
      levelDbfs,
    }))
    .sort(byLoudness);
  const event: TagEvent = {
    id,
    event_type: what.event_type,
    slug,
    label,
    mid,
    group,
    score: Math.max(...events.map(({ score }) => score)),
    peak,
    started_at: earliestMs,
    ended_at: what.ended_at,
    duration_s: what.duration_s,
    detected_at: Math.max(...events.map(({ detected_at: detectedAt }) => detectedAt)),
  };
  return { event, source: sources[0]!.name, sources, heardBy: best.heardBy };
}
