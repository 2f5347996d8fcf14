import type { Label } from '../models/labels.js';
import { frameStartMs, type Hop } from './hop.js';
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
 * Each piece of sound counts once. Where frames are looked at once more, the newest word on them counts: as long as no
 * event has come of them, runs are found in them anew; an event that is on may be found to have lasted longer. What
 * has been told stands.
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
  /** How much of the time since then was never looked at. */
  unseenMs: number;
  spreadMs: number;
  confirmed: boolean;
  lastScore: number;
  peak: number;
  peakLabel: Label;
}

/** What is remembered of a watched item: its run, and where it was over of late. */
interface Track {
  item: WatchedItem;
  run: Run | null;
  hits: Hit[];
  /** Stretches in which it was over in every frame, while it is off; the last one may be open, up to Infinity. */
  overs: { since: number; until: number }[];
  /** What lies before this has been told of, or is nobody's business: no run begins there. */
  floorMs: number;
}

interface Hit {
  /** Number of the hop in its row. */
  readonly sequence: number;
  /** Of the first frame in which the item was over. */
  readonly startedAt: number;
  readonly atMs: number;
  score: number;
  label: Label;
}

/** A hop of the past, as far as its frames may be looked at once more. */
interface Past {
  readonly sequence: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** What a look at one frame of an item found; one object serves all looks, so that none is made per frame. */
interface Found {
  label: Label | null;
  score: number;
  /** Whether any label reaches its on-threshold. */
  over: boolean;
}

/** An event and the number of the frame that decided it. */
interface Decided {
  readonly frame: number;
  readonly event: TagEvent;
}

/** The frames of a hop with their times. */
interface Frames {
  hop: Hop;
  decidedMs: number;
  /** Of each frame, in order. */
  starts: Float64Array;
  ends: Float64Array;
  count: number;
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
  let tracks: Track[] = watched.items.map((item) => trackOf(item, -Infinity));
  let sequence = 0;
  let nowMs: number | null = null;
  /** The hops of this row that frames may still be looked at of, the newest last. */
  let past: Past[] = [];
  const found: Found = { label: null, score: 0, over: false };
  const frames: Frames = {
    hop: emptyHop,
    decidedMs: 0,
    starts: new Float64Array(64),
    ends: new Float64Array(64),
    count: 0,
  };

  const closeTracks = (which: readonly Track[], decidedMs: number): TagEvent[] => {
    const events: TagEvent[] = [];
    for (const track of which) {
      track.hits.length = 0;
      track.overs.length = 0;
      const { run } = track;
      track.run = null;
      if (run !== null && run.id !== null) events.push(eventOf('ended', track.item, run, run.id, decidedMs));
    }
    return events;
  };

  /** Works out the times of the frames: within a row they never run backwards. */
  const takeTimes = (hop: Hop, decidedMs: number): void => {
    const count = hop.before + hop.frames;
    if (frames.starts.length < count) {
      frames.starts = new Float64Array(2 * count);
      frames.ends = new Float64Array(2 * count);
    }
    const firstMs = Math.max(nowMs ?? -Infinity, hop.startMs);
    let atMs = -Infinity;
    for (let frame = 0; frame < count; frame += 1) {
      const isNew = frame >= hop.before;
      const startMs = Math.max(atMs, isNew ? firstMs : -Infinity, frameStartMs(hop, frame));
      const next = frame === count - 1 ? hop.endMs : frameStartMs(hop, frame + 1);
      frames.starts[frame] = isNew ? startMs : Math.min(startMs, firstMs);
      atMs = Math.max(startMs, isNew ? next : Math.min(next, firstMs));
      frames.ends[frame] = atMs;
    }
    Object.assign(frames, { hop, decidedMs, count });
  };

  /** The hop that a frame was new in. */
  const pastOf = (frame: number): Past => {
    const middleMs = (frames.starts[frame]! + frames.ends[frame]!) / 2;
    for (let at = past.length - 1; at > 0; at -= 1) if (past[at]!.startMs <= middleMs) return past[at]!;
    return past[0]!;
  };

  /** Counts the hop of a frame in which an item is over, unless the sound only reaches into it. */
  const countHop = (track: Track, frame: number): void => {
    const { hits, overs } = track;
    const startMs = frames.starts[frame]!;
    if (overs.at(-1)?.until !== Infinity) overs.push({ since: startMs, until: Infinity });
    const { since } = overs.at(-1)!;
    while (overs[0]!.until < past[0]!.startMs) overs.shift();
    const own = pastOf(frame);
    // Frames of the oldest hop that is still looked at may yet be confirmed by those before it.
    while (hits.length > 0 && hits[0]!.sequence <= past[0]!.sequence - track.item.confirm.n) hits.shift();
    // A clap on the border of two hops is in both, and yet is one.
    const reachesIn = since < own.startMs - ROUNDING_MS;
    if (reachesIn && frames.ends[frame]! - since < own.endMs - own.startMs - ROUNDING_MS) return;
    const last = hits.at(-1);
    if (last?.sequence !== own.sequence) {
      const times = { startedAt: startMs + frames.hop.spreadMs, atMs: startMs };
      hits.push({ sequence: own.sequence, ...times, score: found.score, label: found.label! });
    } else if (found.score > last.score) {
      last.score = found.score;
      last.label = found.label!;
    }
  };

  /** Makes an event of a run that has lasted and is confirmed; null as long as it has not or is not. */
  const onset = (track: Track, run: Run, frame: number): TagEvent | null => {
    const { item, hits } = track;
    if (found.over) countHop(track, frame);
    else endOver(track, frames.starts[frame]!);
    const oldest = pastOf(frame).sequence - item.confirm.n;
    let confirming = 0;
    for (const hit of hits) if (hit.sequence > oldest) confirming += 1;
    run.confirmed ||= confirming >= item.confirm.k;
    // A short, weak sound may reach less far than others smear.
    const lasted = Math.max(0, run.heardUntil - run.rawStart - 2 * run.spreadMs);
    if (!run.confirmed || lasted < item.minDurationMs) return null;
    // One hop is enough: what else it held, too short for an event, is no part of this one.
    for (const hit of item.confirm.k === 1 ? [] : hits) {
      if (hit.sequence <= oldest) continue;
      run.startedAt = Math.min(run.startedAt, hit.startedAt);
      if (hit.score > run.peak) {
        run.peak = hit.score;
        run.peakLabel = hit.label;
      }
    }
    // What the values smear could make it begin after all that was heard.
    run.startedAt = Math.min(run.startedAt, Math.max(run.rawStart, frames.hop.windowEndMs));
    hits.length = 0;
    track.overs.length = 0;
    run.id = newId();
    return eventOf('started', item, run, run.id, frames.decidedMs);
  };

  /** Takes an item through one frame. */
  const step = (track: Track, frame: number): TagEvent | null => {
    const { item, run } = track;
    const startMs = frames.starts[frame]!;
    const endMs = frames.ends[frame]!;
    if (found.label !== null) {
      const heard = (track.run ??= beginRun(found, startMs, frames.hop.spreadMs));
      heard.heardUntil = endMs;
      heard.unseenMs = 0;
      heard.lastScore = found.score;
      if (found.score > heard.peak) {
        heard.peak = found.score;
        heard.peakLabel = found.label;
      }
      return heard.id === null ? onset(track, heard, frame) : null;
    }
    if (run === null) return null;
    endOver(track, startMs);
    // A sound that began right now would reach back over a part of the gap, as the last one reaches into it.
    const silentMs = endMs - run.heardUntil - run.unseenMs + 2 * run.spreadMs;
    if (silentMs < item.minGapMs - ROUNDING_MS) return null;
    track.run = null;
    if (run.id === null) return null;
    track.floorMs = endMs;
    return eventOf('ended', item, run, run.id, frames.decidedMs);
  };

  /** Takes an item through all frames of a hop that concern it. */
  const follow = (track: Track, unseenMs: number, decided: Decided[]): void => {
    const { before } = frames.hop;
    let first = before;
    if (track.run?.id != null) {
      // What comes behind the last frame in which it was heard may be found to hold it after all.
      while (first > 0 && frames.starts[first - 1]! >= track.run.heardUntil - ROUNDING_MS) first -= 1;
    } else {
      while (first > 0 && frames.starts[first - 1]! >= track.floorMs - ROUNDING_MS) first -= 1;
      if (first < before) rewind(track, frames.starts[first]!);
    }
    if (track.run === null && frames.hop.role === 'location' && !isInWindow(track.item, frames.hop)) return;
    for (let frame = first; frame < frames.count; frame += 1) {
      if (frame === before && track.run !== null) track.run.unseenMs += unseenMs;
      look(track, frames.hop, frame, labels.length, found);
      const event = step(track, frame);
      if (event !== null) decided.push({ frame, event });
    }
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
      if (nowMs === null) {
        past = [];
        for (const track of tracks) track.floorMs = hop.startMs;
      }
      sequence += 1;
      if (hop.frames === 0) return events;
      takeTimes(hop, decidedMs);
      const firstMs = frames.starts[hop.before]!;
      const unseenMs = nowMs === null ? 0 : firstMs - nowMs;
      past = past.filter(({ endMs }) => endMs > frames.starts[0]! - ROUNDING_MS);
      past.push({ sequence, startMs: firstMs, endMs: frames.ends[frames.count - 1]! });
      const decided: Decided[] = [];
      for (const track of tracks) follow(track, unseenMs, decided);
      nowMs = frames.ends[frames.count - 1]!;
      // In the order of the frames, offsets before onsets; those of one item are in order.
      decided.sort((a, b) => a.frame - b.frame || rank(a.event) - rank(b.event));
      for (const { event } of decided) events.push(event);
      return events;
    },
    close(decidedMs) {
      nowMs = null;
      return closeTracks(tracks, decidedMs);
    },
    update(next, decidedMs) {
      watched = resolveWatched(labels, next);
      const before = new Map(tracks.map((track) => [track.item.key, track]));
      // What was over the old thresholds says nothing of the new ones: they are for what comes from now on.
      tracks = watched.items.map((item) => {
        const track = trackOf(item, nowMs ?? -Infinity);
        const same = before.get(item.key);
        // Another slug is another topic: what is on there has to end there.
        if (same?.item.slug !== item.slug) return track;
        before.delete(item.key);
        return { ...track, run: same.run?.id == null ? null : same.run };
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

const emptyHop: Hop = {
  startMs: 0,
  endMs: 0,
  frameMs: 0,
  frames: 0,
  before: 0,
  windowEndMs: 0,
  values: [],
  spreadMs: 0,
  role: 'scores',
  scores: [],
};

function trackOf(item: WatchedItem, floorMs: number): Track {
  return { item, run: null, hits: [], overs: [], floorMs };
}

function rank({ event_type: type }: TagEvent): number {
  return type === 'ended' ? 0 : 1;
}

/** Forgets what frames from `fromMs` on have said of a run that is no event yet: they are looked at once more. */
function rewind(track: Track, fromMs: number): void {
  const { run, hits, overs } = track;
  while (overs.length > 0 && overs.at(-1)!.since >= fromMs - ROUNDING_MS) overs.pop();
  const last = overs.at(-1);
  if (last !== undefined && last.until > fromMs + ROUNDING_MS) last.until = Infinity;
  while (hits.length > 0 && hits.at(-1)!.atMs >= fromMs - ROUNDING_MS) hits.pop();
  if (run === null) return;
  if (run.rawStart >= fromMs - ROUNDING_MS) {
    track.run = null;
    return;
  }
  run.heardUntil = Math.min(run.heardUntil, fromMs);
  run.unseenMs = 0;
}

function endOver({ overs }: Track, atMs: number): void {
  const last = overs.at(-1);
  if (last?.until === Infinity) last.until = atMs;
}

/** Whether the window's scores allow an onset in any of its frames: most items need no look at them. */
function isInWindow({ members }: WatchedItem, { scores }: Hop): boolean {
  for (const { label, onThreshold } of members) if (scores[label.index]! >= onThreshold) return true;
  return false;
}

/**
 * The member with the highest score among those that reach their threshold in a frame: the off-threshold while there
 * is a run, else the on-threshold. A score that is missing or not a number reaches none.
 */
function look({ item, run }: Track, hop: Hop, frame: number, labelCount: number, found: Found): void {
  found.label = null;
  found.score = -Infinity;
  found.over = false;
  for (const { label, onThreshold, offThreshold, here } of item.members) {
    const value = hop.values[frame * labelCount + label.index]!;
    const score = hop.role === 'scores' ? value : hop.scores[label.index]!;
    if (hop.role === 'location' && !(value >= here)) continue;
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
    unseenMs: 0,
    spreadMs,
    confirmed: false,
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
