import type { Label } from '../models/labels.js';
import { isScore, type Hop } from './hop.js';
import type { WatchedItem } from './watch.js';

/** What a look at one frame of an item found; one object serves all looks, so that none is made per frame. */
export interface Found {
  /** The member with the highest score among those that reach their threshold; null where none does. */
  label: Label | null;
  score: number;
  /** Whether any label reaches its on-threshold. */
  over: boolean;
}

/** An object for `look` to write into. */
export function nothingFound(): Found {
  return { label: null, score: 0, over: false };
}

/**
 * The member with the highest score among those that reach their threshold in a frame: the off-threshold while there
 * is a run, else the on-threshold. A score that is missing or not a number reaches none.
 * @param found written over
 */
export function look(item: WatchedItem, hasRun: boolean, hop: Hop, frame: number, found: Found): void {
  found.label = null;
  found.score = -Infinity;
  found.over = false;
  for (const { label, onThreshold, offThreshold, here } of item.members) {
    // Of a label that came after the hop it says nothing.
    if (label.index >= hop.scores.length) continue;
    const value = hop.values[frame * hop.scores.length + label.index]!;
    const isOwn = isScore(hop, label.index);
    const score = isOwn ? value : hop.scores[label.index]!;
    if (!isOwn && !(value >= here)) continue;
    const over = score >= onThreshold;
    if (!over && !(hasRun && score >= offThreshold)) continue;
    found.over ||= over;
    if (score > found.score) {
      found.label = label;
      found.score = score;
    }
  }
}

/** Whether an item has labels that say nothing of frames that are looked at once more. */
export function isToldOnce({ members }: WatchedItem, { learnt }: Hop): boolean {
  return learnt?.once === true && members.some(({ label }) => label.index >= learnt.from);
}

/** Whether the window's scores allow an onset in any of its frames: most items need no look at them. */
export function isInWindow({ members }: WatchedItem, { scores }: Hop): boolean {
  for (const { label, onThreshold } of members) if (scores[label.index]! >= onThreshold) return true;
  return false;
}
