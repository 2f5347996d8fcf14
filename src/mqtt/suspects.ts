import { createOnTheirWay } from './on-their-way.js';
import { createSuspicions, type Hold, type SuspectTiming, type Verdict } from './suspicions.js';

export type { Hold, SuspectTiming, Verdict } from './suspicions.js';

/**
 * Finds out what it is that a broker ends the connection for. MQTT 3.1.1 has no other way to refuse a message, and
 * brokers of MQTT 5 use it too: for access rules, for a size, for a topic they cannot have. Invariants:
 * - whatever was on its way and not answered when a connection was ended by the broker is suspected;
 * - what is suspected goes alone, after everything else: if the broker answers it is cleared, if the connection ends
 *   once more it was that one, and after two such ends in a row it is held back;
 * - what is held is tried again after a while, alone, and sooner where its message has become smaller than others
 *   that were taken.
 * An end takes two messages in a row to hold one topic, so a search among n culprits needs 2n + 1 connections. Pure
 * but for the clock.
 */
export interface Suspects {
  verdict(topic: string, bytes: number): Verdict;
  /** How sure it is that this topic is to blame, for the order of trying: the surest first. */
  strikes(topic: string): number;
  /**
   * A message has been handed over. The number returned grows; `answered` says whether the broker will acknowledge it.
   */
  handedOver(topic: string, bytes: number, answered: boolean): number;
  /** The broker has answered this one, and so has read all that went before it. */
  answered(handed: number): void;
  /** The broker has answered a question that was asked after this one was handed over: it has read all up to it. */
  readUpTo(handed: number): void;
  /** How many messages are on their way without a sign that the broker has read them. */
  readonly onTheirWay: number;
  /** Something is on its way, and nothing of it will be acknowledged. */
  readonly unansweredOnly: boolean;
  /** Of the last one handed over; 0 before there is one. */
  readonly lastHanded: number;
  /**
   * The connection is over. `byBroker`: it was closed or reset from the other side; `told`: with a reason code that is
   * about a message.
   * @returns whether something was on its way that may have been the reason, and what is held from now on
   */
  ended(how: { byBroker: boolean; told: boolean }): { suspected: boolean; held: Hold | null };
  /**
   * The largest packet that is known to be taken, in bytes, where a larger one may have been too large; Infinity while
   * there is no such doubt.
   */
  readonly safeBytes: number;
  /** Whether something is suspected or held. */
  readonly any: boolean;
  /** Milliseconds until the first of what is held may be tried again; Infinity where nothing is held. */
  nextTrialMs(): number;
}

/** Ends in a row, with nothing else on its way, that prove it; one is enough where the broker named a reason. */
const PROOF = 2;
/** `familyOf`: the topic below which a topic is one of many alike, or null. `now`: a clock that is never set, in ms. */
export function createSuspects(options: {
  timing: SuspectTiming;
  familyOf: (topic: string) => string | null;
  now?: () => number;
}): Suspects {
  const { timing, familyOf, now = () => performance.now() } = options;
  const suspicions = createSuspicions({ timing, familyOf, now });
  const onTheirWay = createOnTheirWay(({ topic, bytes }) => suspicions.taken(topic, bytes));

  return {
    verdict: (topic, bytes) => suspicions.verdict(topic, bytes),
    strikes: (topic) => suspicions.strikes(topic),
    handedOver: (topic, bytes, answered) => onTheirWay.add({ topic, bytes, answered }),
    answered: (handed) => onTheirWay.answered(handed),
    readUpTo: (handed) => onTheirWay.readUpTo(handed),
    get onTheirWay() {
      return onTheirWay.size;
    },
    get unansweredOnly() {
      return onTheirWay.unansweredOnly;
    },
    get lastHanded() {
      return onTheirWay.last;
    },
    ended({ byBroker, told }) {
      const left = onTheirWay.takeAll();
      if (!byBroker || left.length === 0) return { suspected: false, held: null };
      const names = new Set(left.map(({ topic }) => suspicions.nameOf(topic)));
      for (const { topic, bytes } of left) suspicions.suspect(topic, bytes);
      const [name = ''] = names;
      const held = names.size > 1 ? null : suspicions.strike(name, told ? 1 : PROOF);
      return { suspected: true, held };
    },
    get safeBytes() {
      return suspicions.safeBytes;
    },
    get any() {
      return suspicions.any;
    },
    nextTrialMs: () => suspicions.nextTrialMs(),
  };
}
