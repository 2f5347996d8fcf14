import type { Label } from '../models/labels.js';
import { frameStartMs, HERE, type Hop } from './hop.js';
import {
  resolveWatched,
  type NamedItem,
  type TaggingSettings,
  type UnknownLabel,
  type Watched,
  type WatchedItem,
} from './watch.js';

/**
 * The onset or the offset of a watched item, as in `B/event`; times are milliseconds since the epoch. Both
 * events of a pair carry the same `id`.
 */
export interface TagEvent {
  id: string;
  event_type: 'started' | 'ended';
  /** The watched item's level of `B/label/<slug>`. */
  slug: string;
  /** The label that was the strongest so far; for a group its strongest member. */
  label: string;
  mid: string | null;
  group: string | null;
  /** In the frame that decided it (`started`) or in which it was last heard (`ended`). */
  score: number;
  /** The highest score from the onset to now. */
  peak: number;
  /** When the sound begins. */
  started_at: number;
  /** When it ends; null while it is on. */
  ended_at: number | null;
  duration_s: number | null;
  /** When this was decided. */
  detected_at: number;
}

/** Something that is on now. */
export interface OnItem {
  id: string;
  name: string;
  slug: string;
  label: string;
  mid: string | null;
  group: string | null;
  peak: number;
  started_at: number;
  last_heard_at: number;
}

/**
 * Follows every watched item through the frames and tells when it begins and ends.
 *
 * An item is *over* in a frame when any of its labels reaches its own on-threshold, and *heard* when any reaches its
 * off-threshold; its score is the highest of the labels that do. With the role `location` these are the window's
 * scores, in the frames that say that the label is here.
 *
 * A *run* is a stretch of sound that begins with a frame in which the item is over and goes on while it is heard,
 * across gaps shorter than the minimum gap. A run becomes an event once it has lasted the minimum duration, and once
 * k of the last n hops had frames in which the item was over; the event then begins where the earliest of these hops
 * was first over. A sound that reaches from one hop into the next counts in the next only once it is longer than a hop,
 * so that one clap is one wherever it falls. An event ends with its run. Whatever comes on goes off exactly once.
 *
 * Hops make a row. Where the time of a hop does not fit behind the last one (more than 2 s back, or more than 10 min
 * ahead: the clock was set, the machine slept) a new row begins and everything that is on ends before it. Sound that
 * lies between two hops of a row and was never looked at (at slow rates) neither keeps an event on nor ends it.
 */
export interface Tagger {
  /** What watched items there are, in the order of the settings. */
  readonly items: readonly WatchedItem[];
  /** The same, and what is watched and the model does not know. */
  readonly named: readonly NamedItem[];
  /** Names in the settings that the model does not have. */
  readonly unknown: readonly UnknownLabel[];
  /**
   * The events in the order of the frames that decided them; offsets before onsets.
   * @param decidedMs when the frames are looked at, for `detected_at`.
   */
  hop(hop: Hop, decidedMs: number): TagEvent[];
  /**
   * Ends everything that is on and forgets what was about to come on: for a stop, a pause, a swap of models,
   * the loss of the microphone, and any other break in the sound. The tagger can be used on.
   */
  close(decidedMs: number): TagEvent[];
  /**
   * Takes new settings; ends what is on and no longer watched. What is on and still watched stays on, with
   * its new thresholds. Throws SoundpostError `invalid_tagging`, and then nothing has changed.
   */
  update(settings: TaggingSettings, decidedMs: number): TagEvent[];
  on(): OnItem[];
}

const backwardToleranceMs = 2_000;
const forwardLimitMs = 600_000;
/** Times are sums of fractions. */
const ROUNDING_MS = 1e-3;

/** A stretch of sound in which an item is heard; an event once it has an id. */
interface Run {
  id: string | null;
  /** Of the event where there is one, else of the first frame in which the item was over. */
  startedAt: number;
  /** The same as the values have it, with what they smear over the edges. */
  rawStart: number;
  /** End of the last frame in which it was heard, as the values have it. */
  heardUntil: number;
  /** How much sound has been looked at since then. */
  silentMs: number;
  spreadMs: number;
  confirmed: boolean;
  /** Since when it has been over in every frame; null where it is not over now. */
  overSince: number | null;
  lastScore: number;
  peak: number;
  peakLabel: Label;
}

/** What is remembered of a watched item: its run, and in which hops it was over of late. */
interface Track {
  item: WatchedItem;
  run: Run | null;
  hits: Hit[];
}

interface Hit {
  /** Number of the hop in its row. */
  readonly sequence: number;
  /** Of the first frame in which the item was over. */
  readonly startedAt: number;
  score: number;
  label: Label;
}

/** What a look at one frame of an item found; one object serves all looks, so that none is made per frame. */
interface Found {
  label: Label | null;
  score: number;
  /** Whether any label reaches its on-threshold. */
  over: boolean;
}

/**
 * `newId` names each pair of events; it must not repeat itself. Throws SoundpostError `invalid_tagging` where
 * the settings contradict themselves.
 */
export function createTagger(options: {
  labels: readonly Label[];
  settings: TaggingSettings;
  newId: () => string;
}): Tagger {
  const { labels, newId } = options;
  let watched: Watched = resolveWatched(labels, options.settings);
  let tracks: Track[] = watched.items.map((item) => ({ item, run: null, hits: [] }));
  let sequence = 0;
  let nowMs: number | null = null;
  /** Of the hop that is being taken. */
  let hopStartMs = 0;
  let hopMs = 0;
  const found: Found = { label: null, score: 0, over: false };

  const closeTracks = (which: readonly Track[], decidedMs: number): TagEvent[] => {
    const events: TagEvent[] = [];
    for (const track of which) {
      track.hits.length = 0;
      const { run } = track;
      track.run = null;
      if (run !== null && run.id !== null) events.push(eventOf('ended', track.item, run, run.id, decidedMs));
    }
    return events;
  };

  /** Makes an event of a run that has lasted and is confirmed; null as long as it has not or is not. */
  const onset = (track: Track, run: Run, decidedMs: number): TagEvent | null => {
    const { item, hits } = track;
    while (hits.length > 0 && hits[0]!.sequence <= sequence - item.confirm.n) hits.shift();
    if (!found.over) run.overSince = null;
    else run.overSince ??= nowMs!;
    // A clap on the border of two hops is in both, and yet is one.
    const isNew =
      run.overSince !== null &&
      (run.overSince >= hopStartMs || run.heardUntil - run.overSince >= hopMs - ROUNDING_MS);
    if (isNew) {
      const last = hits.at(-1);
      if (last?.sequence !== sequence) {
        const startedAt = nowMs! + run.spreadMs;
        hits.push({ sequence, startedAt, score: found.score, label: found.label! });
      } else if (found.score > last.score) {
        last.score = found.score;
        last.label = found.label!;
      }
    }
    run.confirmed ||= hits.length >= item.confirm.k;
    // A short, weak sound may reach less far than others smear.
    const lasted = Math.max(0, run.heardUntil - run.rawStart - 2 * run.spreadMs);
    if (!run.confirmed || lasted < item.minDurationMs) return null;
    // One hop is enough: what else it held, too short for an event, is no part of this one.
    for (const hit of item.confirm.k === 1 ? [] : hits) {
      run.startedAt = Math.min(run.startedAt, hit.startedAt);
      if (hit.score > run.peak) {
        run.peak = hit.score;
        run.peakLabel = hit.label;
      }
    }
    // What the values smear could make it begin after it was found.
    run.startedAt = Math.min(run.startedAt, Math.max(run.rawStart, decidedMs));
    hits.length = 0;
    run.id = newId();
    return eventOf('started', item, run, run.id, decidedMs);
  };

  /** Takes an item through a frame from `startMs` (which is `nowMs`) to `endMs`. */
  const step = (
    track: Track,
    hop: Hop,
    startMs: number,
    endMs: number,
    decidedMs: number,
  ): TagEvent | null => {
    const { item, run } = track;
    if (found.label !== null) {
      const heard = (track.run ??= beginRun(found, startMs, hop.spreadMs));
      heard.heardUntil = endMs;
      heard.silentMs = 0;
      heard.lastScore = found.score;
      if (found.score > heard.peak) {
        heard.peak = found.score;
        heard.peakLabel = found.label;
      }
      return heard.id === null ? onset(track, heard, decidedMs) : null;
    }
    if (run === null) return null;
    run.overSince = null;
    run.silentMs += endMs - startMs;
    // A sound that began right now would reach back over a part of the gap, as the last one reaches into it.
    if (run.silentMs + 2 * run.spreadMs < item.minGapMs) return null;
    track.run = null;
    return run.id === null ? null : eventOf('ended', item, run, run.id, decidedMs);
  };

  return {
    get items() {
      return watched.items;
    },
    get named() {
      return watched.named;
    },
    get unknown() {
      return watched.unknown;
    },
    hop(hop, decidedMs) {
      if (!Number.isFinite(hop.startMs) || !(hop.endMs >= hop.startMs)) return [];
      const broken =
        nowMs !== null && (hop.endMs < nowMs - backwardToleranceMs || hop.startMs > nowMs + forwardLimitMs);
      const events = broken ? closeTracks(tracks, decidedMs) : [];
      if (broken) nowMs = null;
      sequence += 1;
      hopStartMs = Math.max(nowMs ?? -Infinity, hop.startMs);
      hopMs = hop.endMs - hopStartMs;
      for (let frame = 0; frame < hop.frames; frame += 1) {
        // Within a row time never runs backwards, so that no event ends before it began.
        const startMs: number = Math.max(nowMs ?? -Infinity, frameStartMs(hop, frame));
        const endMs = Math.max(startMs, frame === hop.frames - 1 ? hop.endMs : frameStartMs(hop, frame + 1));
        nowMs = startMs;
        let onsets: TagEvent[] | null = null;
        for (const track of tracks) {
          look(track, hop, frame, labels.length, found);
          const event = step(track, hop, startMs, endMs, decidedMs);
          if (event?.event_type === 'ended') events.push(event);
          else if (event !== null) (onsets ??= []).push(event);
        }
        if (onsets !== null) events.push(...onsets);
        nowMs = endMs;
      }
      return events;
    },
    close(decidedMs) {
      nowMs = null;
      return closeTracks(tracks, decidedMs);
    },
    update(next, decidedMs) {
      watched = resolveWatched(labels, next);
      const before = new Map(tracks.map((track) => [track.item.key, track]));
      // Hops that were over the old thresholds say nothing of the new ones: confirmation starts again.
      tracks = watched.items.map((item) => {
        const same = before.get(item.key);
        // Another slug is another topic: what is on there has to end there.
        if (same?.item.slug !== item.slug) return { item, run: null, hits: [] };
        before.delete(item.key);
        return { item, run: same.run?.id == null ? null : same.run, hits: [] };
      });
      return closeTracks([...before.values()], decidedMs);
    },
    on() {
      return tracks.flatMap(({ item, run }) =>
        run?.id == null
          ? []
          : {
              id: run.id,
              name: item.name,
              slug: item.slug,
              label: run.peakLabel.name,
              mid: run.peakLabel.mid,
              group: item.group,
              peak: run.peak,
              started_at: run.startedAt,
              last_heard_at: offsetOf(run),
            },
      );
    },
  };
}

/**
 * The member with the highest score among those that reach their threshold in a frame: the off-threshold while there
 * is a run, else the on-threshold. A score that is missing or not a number reaches none.
 */
function look({ item, run }: Track, hop: Hop, frame: number, labelCount: number, found: Found): void {
  found.label = null;
  found.score = -Infinity;
  found.over = false;
  for (const { label, onThreshold, offThreshold } of item.members) {
    const value = hop.values[frame * labelCount + label.index]!;
    const score = hop.role === 'scores' ? value : hop.scores[label.index]!;
    if (hop.role === 'location' && !(value >= HERE)) continue;
    const over = score >= onThreshold;
    if (!over && !(run !== null && score >= offThreshold)) continue;
    found.over ||= over;
    if (score > found.score) {
      found.label = label;
      found.score = score;
    }
  }
}

function beginRun({ label, score }: Found, startMs: number, spreadMs: number): Run {
  return {
    id: null,
    startedAt: startMs + spreadMs,
    rawStart: startMs,
    heardUntil: startMs,
    silentMs: 0,
    spreadMs,
    confirmed: false,
    overSince: null,
    lastScore: score,
    peak: score,
    peakLabel: label!,
  };
}

/** Where a run ends, without what the values smear over its end. */
function offsetOf(run: Run): number {
  return Math.max(run.startedAt, run.heardUntil - run.spreadMs);
}

function eventOf(
  type: 'started' | 'ended',
  item: WatchedItem,
  run: Run,
  id: string,
  decidedMs: number,
): TagEvent {
  const endedAt = type === 'ended' ? offsetOf(run) : null;
  return {
    id,
    event_type: type,
    slug: item.slug,
    label: run.peakLabel.name,
    mid: run.peakLabel.mid,
    group: item.group,
    score: run.lastScore,
    peak: run.peak,
    started_at: run.startedAt,
    ended_at: endedAt,
    duration_s: endedAt === null ? null : (endedAt - run.startedAt) / 1000,
    detected_at: decidedMs,
  };
}
