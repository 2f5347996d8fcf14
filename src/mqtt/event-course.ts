import type { Fate } from './delivery.js';

/** An event that is on its way. */
export interface Handed {
  readonly key: number;
  /** It went while events go one by one. */
  readonly alone: boolean;
}

/**
 * How far one connection has come in the outbox: which events are on their way over it, and what their refusal means
 * for those behind. Pure.
 */
export interface EventCourse {
  /** Events with a key above this one come next. */
  readonly last: number;
  /** Events handed over and not answered yet. */
  readonly onTheirWay: number;
  /** The broker has refused one: none is handed over before `resume()`. */
  readonly held: boolean;
  /** As far as the events before it go, another one may be handed over. */
  readonly goesOn: boolean;
  handedOver(key: number): Handed;
  /** The broker has answered. A refused event stays, and is tried again with the ones behind it after `resume()`. */
  answered(handed: Handed, fate: Fate): void;
  resume(): void;
  /** Entries have become readable that lie before: all that is in the outbox is gone through again. */
  rewind(): void;
}

export function createEventCourse(): EventCourse {
  let last = -Infinity;
  let onTheirWay = 0;
  let held = false;
  /**
   * The last event that was answered was refused: until one is taken they go one by one. With several on their way
   * a broker that changes its mind between two of them would take the later one first.
   */
  let oneByOne = false;

  return {
    get last() {
      return last;
    },
    get onTheirWay() {
      return onTheirWay;
    },
    get held() {
      return held;
    },
    get goesOn() {
      return !held && !(oneByOne && onTheirWay > 0);
    },
    handedOver(key) {
      last = key;
      onTheirWay += 1;
      return { key, alone: oneByOne };
    },
    answered({ key, alone }, fate) {
      onTheirWay -= 1;
      if (fate === 'refused') {
        oneByOne = true;
        held = true;
        last = Math.min(last, key - 1);
      } else if (alone) oneByOne = false;
    },
    resume() {
      held = false;
    },
    rewind() {
      last = -Infinity;
    },
  };
}
