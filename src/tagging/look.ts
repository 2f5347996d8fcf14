import type { Label } from '../models/labels.js';
import type { Hop } from './hop.js';
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
 * @param labelCount of the model: the width of a frame in `hop.values`
 * @param found written over
 */
export function look(
  item: WatchedItem,
  hasRun: boolean,
  hop: Hop,
  frame: number,
  labelCount: number,
  found: Found,
): void {
  found.label = null;
  found.score = -Infinity;
  found.over = false;
  for (const { label, onThreshold, offThreshold, here } of item.members) {
    const value = hop.values[frame * labelCount + label.index]!;
    const score = hop.role === 'scores' ? value : hop.scores[label.index]!;
    if (hop.role === 'location' && !(value >= here)) continue;
    const over = score >= onThreshold;
    if (!over && !(hasRun && score >= offThreshold)) continue;
    found.over ||= over;
    if (score > found.score) {
      found.label = label;
      found.score = score;
    }
  }
}

/** Whether the window's scores allow an onset in any of its frames: most items need no look at them. */
export function isInWindow({ members }: WatchedItem, { scores }: Hop): boolean {
  for (const { label, onThreshold } of members) if (scores[label.index]! >= onThreshold) return true;
  return false;
}
