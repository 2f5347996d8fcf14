import type { Label } from '../models/labels.js';
import type { Hop } from './hop.js';
import { createRow } from './row.js';
import { onItemOf } from './run.js';
import type { OnItem, TagEvent } from './tag-event.js';
import { closeTrack, createFollow, trackOf, type Decided, type Track } from './track.js';
import {
  resolveWatched,
  type NamedItem,
  type TaggingSettings,
  type UnknownLabel,
  type Watched,
  type WatchedItem,
} from './watch.js';

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
   * @param labels those that the frames have from the next hop on, where they are others: labels are learnt
   */
  update(settings: TaggingSettings, decidedMs: number, labels?: readonly Label[]): TagEvent[];
  on(): OnItem[];
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
  const { newId } = options;
  let { labels } = options;
  let watched: Watched = resolveWatched(labels, options.settings);
  let tracks: Track[] = watched.items.map((item) => trackOf(item, -Infinity));
  const row = createRow();
  const follow = createFollow({ row, newId });

  const closeTracks = (which: readonly Track[], decidedMs: number): TagEvent[] => {
    const events: TagEvent[] = [];
    for (const track of which) {
      const event = closeTrack(track, decidedMs);
      if (event !== null) events.push(event);
    }
    return events;
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
      const isBroken = !row.fits(hop);
      const events = isBroken ? closeTracks(tracks, decidedMs) : [];
      if (isBroken) row.breakOff();
      if (row.nowMs === null) for (const track of tracks) track.floorMs = hop.startMs;
      const unseenMs = row.take(hop);
      if (hop.frames === 0) return events;
      const decided: Decided[] = [];
      for (const track of tracks) follow(track, unseenMs, decidedMs, decided);
      // In the order of the frames, offsets before onsets; those of one item are in order.
      decided.sort((a, b) => a.frame - b.frame || rank(a.event) - rank(b.event));
      for (const { event } of decided) events.push(event);
      return events;
    },
    close(decidedMs) {
      row.breakOff();
      return closeTracks(tracks, decidedMs);
    },
    update(next, decidedMs, nextLabels = labels) {
      watched = resolveWatched(nextLabels, next);
      labels = nextLabels;
      const before = new Map(tracks.map((track) => [track.item.key, track]));
      // What was over the old thresholds says nothing of the new ones: they are for what comes from now on.
      tracks = watched.items.map((item) => {
        const track = trackOf(item, row.nowMs ?? -Infinity);
        const same = before.get(item.key);
        // Another slug is another topic: what is on there has to end there.
        if (same?.item.slug !== item.slug) return track;
        before.delete(item.key);
        return { ...track, run: same.run?.id == null ? null : same.run };
      });
      return closeTracks([...before.values()], decidedMs);
    },
    on: () => tracks.flatMap(({ item, run }) => (run?.id == null ? [] : [onItemOf(item, run, run.id)])),
  };
}

function rank({ event_type: type }: TagEvent): number {
  return type === 'ended' ? 0 : 1;
}
