import type { Label } from '../models/labels.js';
import {
  resolveWatched,
  type Member,
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
  /** In the window that confirmed it (`started`) or in which it was last heard (`ended`). */
  score: number;
  /** The highest score from the onset to now. */
  peak: number;
  /** End of the earliest of the windows that confirmed it. */
  started_at: number;
  /** End of the window in which it was last heard; null while it is on. */
  ended_at: number | null;
  duration_s: number | null;
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

/** One result of the network. */
export interface ScoredWindow {
  /** Milliseconds since the epoch of the window's last sample. */
  endMs: number;
  /** Float32Array, [labels], 0 … 1, by `Label.index`. */
  scores: ArrayLike<number>;
}

/**
 * Follows every watched item through the windows and tells when it begins and ends.
 *
 * An item is *over* in a window when any of its labels reaches its own on-threshold, and *heard* when any
 * reaches its off-threshold; its score is the highest of the labels that do. It comes on in a window in which
 * it is over, once k of the last n windows (this one included) were, and goes off in a window in which it is
 * not heard, once that window ends at least the minimum gap after the last one in which it was. Whatever comes
 * on goes off exactly once.
 *
 * Windows make a row. Where the time of a window does not fit behind the last one (more than 2 s back, or more
 * than 10 min ahead: the clock was set, the machine slept) a new row begins and everything that is on ends
 * before it. The slowest rate has a hop of 100 s, so that no hop is taken for a jump.
 */
export interface Tagger {
  /** What watched items there are, in the order of the settings. */
  readonly items: readonly WatchedItem[];
  /** The same, and what is watched and the model does not know. */
  readonly named: readonly NamedItem[];
  /** Names in the settings that the model does not have. */
  readonly unknown: readonly UnknownLabel[];
  /** Offsets first, then onsets. */
  window(window: ScoredWindow): TagEvent[];
  /**
   * Ends everything that is on and forgets what was about to come on: for a stop, a pause, a swap of models,
   * the loss of the microphone, and any other break in the sound. The tagger can be used on.
   */
  close(): TagEvent[];
  /**
   * Takes new settings; ends what is on and no longer watched. What is on and still watched stays on, with
   * its new thresholds. Throws SoundpostError `invalid_tagging`, and then nothing has changed.
   */
  update(settings: TaggingSettings): TagEvent[];
  on(): OnItem[];
}

const backwardToleranceMs = 2_000;
const forwardLimitMs = 600_000;

/** A pair of events between its two halves. */
interface Episode {
  readonly id: string;
  readonly startedAt: number;
  lastHeardAt: number;
  lastScore: number;
  peak: number;
  peakLabel: Label;
}

/** What is remembered of a watched item: while it is on, its episode; while off, when it was over of late. */
interface Track {
  item: WatchedItem;
  episode: Episode | null;
  hits: Hit[];
}

interface Hit {
  /** Number of the window in its row. */
  readonly sequence: number;
  readonly endMs: number;
  readonly score: number;
  readonly label: Label;
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
  let settings = options.settings;
  let watched: Watched = resolveWatched(labels, settings);
  let tracks: Track[] = watched.items.map((item) => ({ item, episode: null, hits: [] }));
  let sequence = 0;
  let nowMs: number | null = null;

  const closeTracks = (which: readonly Track[]): TagEvent[] => {
    const events: TagEvent[] = [];
    for (const track of which) {
      track.hits.length = 0;
      if (track.episode) events.push(end(track));
    }
    return events;
  };

  const onset = (track: Track, score: number, label: Label, endMs: number): TagEvent | null => {
    const { hits } = track;
    while (hits.length > 0 && hits[0]!.sequence <= sequence - settings.confirm.n) hits.shift();
    hits.push({ sequence, endMs, score, label });
    if (hits.length < settings.confirm.k) return null;
    const strongest = hits.reduce((best, hit) => (hit.score > best.score ? hit : best));
    track.episode = {
      id: newId(),
      startedAt: hits[0]!.endMs,
      lastHeardAt: endMs,
      lastScore: score,
      peak: strongest.score,
      peakLabel: strongest.label,
    };
    hits.length = 0;
    return eventOf('started', track.item, track.episode);
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
    window({ endMs, scores }) {
      if (!Number.isFinite(endMs)) return [];
      const broken =
        nowMs !== null && (endMs < nowMs - backwardToleranceMs || endMs > nowMs + forwardLimitMs);
      const ended = broken ? closeTracks(tracks) : [];
      const started: TagEvent[] = [];
      // Within a row time never runs backwards, so that no event ends before it began.
      const time: number = broken || nowMs === null ? endMs : Math.max(nowMs, endMs);
      nowMs = time;
      sequence += 1;
      for (const track of tracks) {
        const { episode } = track;
        const strongest = strongestOf(track.item.members, scores, episode !== null);
        if (episode && strongest) {
          hear(episode, scores[strongest.label.index]!, strongest.label, time);
        } else if (episode) {
          if (time - episode.lastHeardAt >= settings.minGapSeconds * 1000) ended.push(end(track));
        } else if (strongest) {
          const event = onset(track, scores[strongest.label.index]!, strongest.label, time);
          if (event) started.push(event);
        }
      }
      return ended.length > 0 ? ended.concat(started) : started;
    },
    close() {
      nowMs = null;
      return closeTracks(tracks);
    },
    update(next) {
      watched = resolveWatched(labels, next);
      settings = next;
      const before = new Map(tracks.map((track) => [track.item.key, track]));
      // Windows that were over the old thresholds say nothing of the new ones: confirmation starts again.
      tracks = watched.items.map((item) => {
        const same = before.get(item.key);
        // Another slug is another topic: what is on there has to end there.
        if (same?.item.slug !== item.slug) return { item, episode: null, hits: [] };
        before.delete(item.key);
        return { item, episode: same.episode, hits: [] };
      });
      return closeTracks([...before.values()]);
    },
    on() {
      return tracks.flatMap(({ item, episode }) =>
        episode
          ? {
              id: episode.id,
              name: item.name,
              slug: item.slug,
              label: episode.peakLabel.name,
              mid: episode.peakLabel.mid,
              group: item.group,
              peak: episode.peak,
              started_at: episode.startedAt,
              last_heard_at: episode.lastHeardAt,
            }
          : [],
      );
    },
  };
}

/**
 * The member with the highest score among those that reach their threshold: the off-threshold while the item
 * is on, else the on-threshold. A score that is missing or not a number reaches none.
 */
function strongestOf(members: readonly Member[], scores: ArrayLike<number>, isOn: boolean): Member | null {
  let best: Member | null = null;
  let bestScore = -Infinity;
  for (const member of members) {
    const score = scores[member.label.index];
    if (score === undefined || !(score >= (isOn ? member.offThreshold : member.onThreshold))) continue;
    if (score > bestScore) {
      best = member;
      bestScore = score;
    }
  }
  return best;
}

function hear(episode: Episode, score: number, label: Label, atMs: number): void {
  episode.lastHeardAt = atMs;
  episode.lastScore = score;
  if (score > episode.peak) {
    episode.peak = score;
    episode.peakLabel = label;
  }
}

function end(track: Track): TagEvent {
  const event = eventOf('ended', track.item, track.episode!);
  track.episode = null;
  return event;
}

function eventOf(type: 'started' | 'ended', item: WatchedItem, episode: Episode): TagEvent {
  const ended = type === 'ended';
  return {
    id: episode.id,
    event_type: type,
    slug: item.slug,
    label: episode.peakLabel.name,
    mid: episode.peakLabel.mid,
    group: item.group,
    score: episode.lastScore,
    peak: episode.peak,
    started_at: episode.startedAt,
    ended_at: ended ? episode.lastHeardAt : null,
    duration_s: ended ? (episode.lastHeardAt - episode.startedAt) / 1000 : null,
  };
}
