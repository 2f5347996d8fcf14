import { createHash } from 'node:crypto';
import type { InstalledModel } from '../models/registry.js';
import type { Hop } from '../tagging/hop.js';
import { createLadder, type Ladder, type LadderItem } from '../tagging/ladder.js';
import type { WatchedItem } from '../tagging/watch.js';
import type { FiringHour, Firings } from './firing-hour.js';

const HOUR_MS = 3_600_000;
/** Where more is watched, only what would have started with the highest thresholds is written down. */
const MOST_WRITTEN = 128;

/** What is watched at a source now, and what counts about it have to say to be about the same. */
export interface Tallied {
  readonly item: WatchedItem;
  readonly model: string;
  readonly rules: string;
}

/** Counts at one source, hour by hour, how often what is watched would have started with other thresholds. */
export interface FiringTally {
  /** Another model answers; see `Ladder.update` for the others. */
  modelChanged(
    model: Pick<InstalledModel, 'manifest' | 'labels'>,
    items: readonly WatchedItem[],
    offFraction: number,
  ): void;
  /** Other settings. */
  update(items: readonly WatchedItem[], offFraction: number): void;
  /** What the tagger is given. With the first hop of another hour the one before is told. */
  hop(hop: Hop): void;
  /** A break in the sound. */
  close(): void;
  /** Tells what there is of the hour that has begun: before a stop. */
  flush(): void;
  /** The hour that has begun, as far as it was heard; null where nothing was. */
  open(): FiringHour | null;
  /** Forgets the hour that has begun, where that was before a moment (ms since the epoch). */
  forget(beforeMs: number): void;
  /** What is watched; nothing as long as there is no model. */
  watched(): readonly Tallied[];
}

/** @param options.tell is given each hour once, in parts where settings or the model changed in it */
export function createFiringTally(options: {
  source: string;
  tell: (hour: FiringHour) => void;
}): FiringTally {
  const { source, tell } = options;
  let ladder: Ladder | null = null;
  let model = '';
  /** By the items of the ladder. */
  let rules: readonly string[] = [];
  let fromMs = NaN;
  let hour = NaN;

  function open(): FiringHour | null {
    if (ladder === null || !(ladder.heardMs > 0) || ladder.items.length === 0) return null;
    const all = ladder.items.map(({ item: { name }, onsets }, n) => ({ name, rules: rules[n]!, onsets }));
    const isWhole = all.length <= MOST_WRITTEN;
    return {
      fromMs,
      source,
      model,
      heardMs: Math.round(ladder.heardMs),
      rest: isWhole ? null : rules[0]!,
      items: isWhole ? all : highest(all),
    };
  }

  function begin(): void {
    ladder?.clear();
    fromMs = NaN;
    hour = NaN;
  }

  function flush(): void {
    const done = open();
    if (done !== null) tell(done);
    begin();
  }

  const rulesOfAll = (items: readonly WatchedItem[], offFraction: number): string[] =>
    items.map((item) => `${item.name} ${rulesOf(item, offFraction)}`);

  return {
    modelChanged(next, items, offFraction) {
      flush();
      model = modelKey(next);
      ladder = createLadder({ items, offFraction });
      rules = items.map((item) => rulesOf(item, offFraction));
    },
    update(items, offFraction) {
      if (ladder === null) return;
      const before = ladder.items.map(({ item: { name } }, n) => `${name} ${rules[n]!}`);
      // Thresholds in force change nothing here, and are moved often.
      if (!isSame(before, rulesOfAll(items, offFraction))) flush();
      ladder.update(items, offFraction);
      rules = items.map((item) => rulesOf(item, offFraction));
    },
    hop(hop) {
      if (ladder === null || !Number.isFinite(hop.startMs)) return;
      const now = Math.floor(hop.startMs / HOUR_MS);
      if (now !== hour) {
        flush();
        hour = now;
        fromMs = Math.floor(hop.startMs);
      }
      ladder.hop(hop);
    },
    close: () => ladder?.close(),
    flush,
    open,
    forget(beforeMs) {
      if (fromMs < beforeMs) begin();
    },
    watched: () =>
      (ladder?.items ?? []).map(({ item }: LadderItem, n) => ({ item, model, rules: rules[n]! })),
  };
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, n) => text === other[n]);
}

/** Those that reach highest; the others would have started with low thresholds only, if at all. */
function highest(all: readonly Firings[]): Firings[] {
  const top = ({ onsets }: Firings): number => {
    let rung = onsets.length - 1;
    while (rung >= 0 && onsets[rung] === 0) rung -= 1;
    return rung;
  };
  return all
    .map((one) => ({ one, rung: top(one) }))
    .filter(({ rung }) => rung >= 0)
    .sort((one, other) => other.rung - one.rung)
    .slice(0, MOST_WRITTEN)
    .map(({ one }) => one);
}

/** Tells models apart, and two files that have the same id. */
export function modelKey({ manifest }: Pick<InstalledModel, 'manifest'>): string {
  return `${manifest.id} ${manifest.onnx_sha256.slice(0, 8)}`;
}

/** All that decides about an event but the threshold, in a short form: `k/n`, spans in ms, fraction, members. */
export function rulesOf(item: WatchedItem, offFraction: number): string {
  const { confirm, minDurationMs, minGapMs, members, group } = item;
  const timing = `${confirm.k}/${confirm.n} ${minDurationMs} ${minGapMs} ${offFraction}`;
  if (group === null) return timing;
  const names = members.map(({ label }) => label.name).sort();
  return `${timing} ${createHash('sha256').update(JSON.stringify(names)).digest('hex').slice(0, 8)}`;
}
