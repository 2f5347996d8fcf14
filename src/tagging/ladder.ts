import type { Evidence } from './evidence.js';
import { hereFrom, type Hop } from './hop.js';
import { ROUNDING_MS, createRow } from './row.js';
import { closeTrack, createFollow, trackOf, type Decided, type Track } from './track.js';
import type { WatchedItem } from './watch.js';

/** How many thresholds are tried: 0.01, 0.02 … 0.99, the steps in which people set them. */
export const RUNGS = 99;

/** The threshold of a rung, counted from 0. */
export function thresholdOfRung(rung: number): number {
  return (rung + 1) / 100;
}

/** The rung of a threshold, rounded to the nearest one; null where it is above or below all of them. */
export function rungOf(threshold: number): number | null {
  const rung = Math.round(threshold * 100) - 1;
  return rung >= 0 && rung < RUNGS ? rung : null;
}

/** A watched item and how often it would have started, by the threshold. */
export interface LadderItem {
  readonly item: WatchedItem;
  /** Uint32Array, [RUNGS]: events that would have started with this threshold since the counts were cleared. */
  readonly onsets: Uint32Array;
}

/**
 * What would have been heard with other thresholds: each watched item is followed with each threshold of `RUNGS`, by
 * the rules of the tagger and by its code (`track.ts`). The counts are those of a tagger that had this threshold for
 * all labels of the item and was given the same hops since the last change of settings.
 *
 * A rung costs nothing while the score is below it and it has nothing on, and next to nothing while the score stays
 * above its off-threshold; only those between are followed frame by frame. A rung that was never reached takes no
 * memory.
 */
export interface Ladder {
  readonly items: readonly LadderItem[];
  /** How much sound it was given since the counts were cleared, in ms. */
  readonly heardMs: number;
  hop(hop: Hop): void;
  /** A break in the sound; as `Tagger.close`. */
  close(): void;
  /**
   * Other settings. An item whose rules are the same goes on as it was, for its own threshold changes nothing here.
   * @param offFraction see `TaggingSettings.offFraction`
   */
  update(items: readonly WatchedItem[], offFraction: number): void;
  /** Counts from 0 on. */
  clear(): void;
}

interface Climbing extends LadderItem {
  /** [RUNGS]; undefined where the score has never been so high. */
  readonly tracks: (Track | undefined)[];
  /** Above it no rung has anything on, or evidence that may still count. */
  highestAlive: number;
  /** No run begins before it. */
  floorMs: number;
}

export function createLadder(options: { items: readonly WatchedItem[]; offFraction: number }): Ladder {
  let { offFraction } = options;
  const row = createRow();
  const { frames } = row;
  const follow = createFollow({ row, newId: () => 'would-be' });
  let climbing: readonly Climbing[] = options.items.map((item) => climb(item, -Infinity));
  let heardMs = 0;
  /** One list for all, so that none is made per window. */
  const decided: Decided[] = [];
  const scores = { highest: 0, lowest: 0 };

  /** The highest and the lowest score of an item in the frames of the hop. */
  function takeScores({ members }: WatchedItem, hop: Hop): void {
    scores.highest = -Infinity;
    scores.lowest = hop.role === 'scores' ? Infinity : -Infinity;
    // With the role `location`: what a frame can be at most; which frames are, is up to `follow`.
    if (hop.role === 'location') scores.highest = highestOf(members, hop.scores, 0, hop.scores.length);
    if (hop.role === 'location' && hop.learnt === undefined) return;
    for (let frame = 0; frame < frames.count; frame += 1) {
      const score = highestOf(members, hop.values, frame, hop.scores.length);
      if (score > scores.highest) scores.highest = score;
      if (hop.role === 'scores' && score < scores.lowest) scores.lowest = score;
    }
  }

  function trackAt(one: Climbing, rung: number): Track {
    return (one.tracks[rung] ??= trackOf(withThreshold(one.item, rung, offFraction), one.floorMs));
  }

  /** Takes an item through the hop with one threshold. Returns whether anything of it may count in the next one. */
  function takeRung(one: Climbing, rung: number, isReached: boolean, unseenMs: number): boolean {
    const track = isReached ? trackAt(one, rung) : one.tracks[rung];
    if (track === undefined) return false;
    const { run } = track;
    if (!isReached && run === null && !isRecent(track.evidence, frames.starts[0]!)) {
      // A later hop may look further back.
      return track.evidence.hits.length > 0 || track.evidence.overs.length > 0;
    }
    if (run?.id != null && scores.lowest >= track.item.members[0]!.offThreshold) {
      // On, and heard in every frame: that is all that would be found.
      run.heardUntil = frames.ends[frames.count - 1]!;
      run.unseenMs = 0;
      return true;
    }
    decided.length = 0;
    follow(track, unseenMs, 0, decided);
    for (let n = 0; n < decided.length; n += 1) {
      if (decided[n]!.event.event_type === 'started') one.onsets[rung]! += 1;
    }
    return true;
  }

  function takeItem(one: Climbing, hop: Hop, unseenMs: number): void {
    takeScores(one.item, hop);
    const reached = highestRung(scores.highest);
    let alive = -1;
    for (let rung = 0; rung <= Math.max(reached, one.highestAlive); rung += 1) {
      if (takeRung(one, rung, rung <= reached, unseenMs)) alive = rung;
    }
    one.highestAlive = alive;
  }

  function closeAll(): void {
    for (const { tracks } of climbing)
      for (const track of tracks) if (track !== undefined) closeTrack(track, 0);
  }

  /** No run of the row that begins now begins before it. */
  function raiseFloor(startMs: number): void {
    for (const one of climbing) {
      one.floorMs = startMs;
      for (const track of one.tracks) if (track !== undefined) track.floorMs = startMs;
    }
  }

  return {
    get items() {
      return climbing;
    },
    get heardMs() {
      return heardMs;
    },
    hop(hop) {
      if (!Number.isFinite(hop.startMs) || !(hop.endMs >= hop.startMs)) return;
      if (!row.fits(hop)) {
        closeAll();
        row.breakOff();
      }
      if (row.nowMs === null) raiseFloor(hop.startMs);
      const unseenMs = row.take(hop);
      if (hop.frames === 0) return;
      heardMs += frames.ends[frames.count - 1]! - frames.starts[hop.before]!;
      for (let n = 0; n < climbing.length; n += 1) takeItem(climbing[n]!, hop, unseenMs);
    },
    close() {
      row.breakOff();
      closeAll();
    },
    update(items, nextFraction) {
      const isSameFraction = nextFraction === offFraction;
      const before = new Map(climbing.map((one) => [one.item.key, one]));
      climbing = items.map((item) => {
        const same = before.get(item.key);
        const goesOn = isSameFraction && same !== undefined && hasSameRules(same.item, item);
        return goesOn ? { ...same, item } : climb(item, row.nowMs ?? -Infinity);
      });
      offFraction = nextFraction;
    },
    clear() {
      heardMs = 0;
      for (const { onsets } of climbing) onsets.fill(0);
    },
  };
}

function climb(item: WatchedItem, floorMs: number): Climbing {
  return { item, onsets: new Uint32Array(RUNGS), tracks: [], highestAlive: -1, floorMs };
}

/** The highest score of any member in a row of `width` scores; -Infinity where none is a number. */
function highestOf(
  members: WatchedItem['members'],
  values: ArrayLike<number>,
  row: number,
  width: number,
): number {
  let highest = -Infinity;
  for (let n = 0; n < members.length; n += 1) {
    const { index } = members[n]!.label;
    // Of a label that came after the hop it says nothing.
    const value = index < width ? values[row * width + index]! : -Infinity;
    if (value > highest) highest = value;
  }
  return highest;
}

/** The highest rung whose threshold a score reaches; -1 where it reaches none. */
function highestRung(score: number): number {
  if (!(score >= thresholdOfRung(0))) return -1;
  let rung = Math.min(RUNGS - 1, Math.floor(score * 100) - 1);
  // A product of fractions may be a little off.
  while (rung + 1 < RUNGS && thresholdOfRung(rung + 1) <= score) rung += 1;
  while (rung >= 0 && thresholdOfRung(rung) > score) rung -= 1;
  return rung;
}

/** Whether frames from `fromMs` on may change what is remembered. */
function isRecent({ hits, overs }: Evidence, fromMs: number): boolean {
  const hit = hits.at(-1);
  const over = overs.at(-1);
  const reaches = fromMs - ROUNDING_MS;
  return (hit !== undefined && hit.atMs >= reaches) || (over !== undefined && over.until >= reaches);
}

function withThreshold(item: WatchedItem, rung: number, offFraction: number): WatchedItem {
  const onThreshold = thresholdOfRung(rung);
  const offThreshold = onThreshold * offFraction;
  const here = hereFrom(onThreshold);
  return { ...item, members: item.members.map((member) => ({ ...member, onThreshold, offThreshold, here })) };
}

/** Whether two items differ in nothing that a ladder goes by. */
function hasSameRules(one: WatchedItem, other: WatchedItem): boolean {
  return (
    one.confirm.k === other.confirm.k &&
    one.confirm.n === other.confirm.n &&
    one.minDurationMs === other.minDurationMs &&
    one.minGapMs === other.minGapMs &&
    one.members.length === other.members.length &&
    one.members.every(({ label }, n) => label === other.members[n]!.label)
  );
}
