/** What may be done with a message: send it like any other, with nothing else on its way, or not at all. */
export type Verdict = 'free' | 'alone' | 'held';

/** A topic that is not written to (or read) any more, since connections ended over it. */
export interface Hold {
  /** What is held: a topic, or `<topic>/#` for all that lies below it. */
  topic: string;
  /** The size of the packet after which the connection ended, in bytes. */
  bytes: number;
  /** How often in a row it was the only thing on its way when the connection ended. */
  ends: number;
  /** It was larger than anything that the broker has taken: its size may be the reason, and not its topic. */
  maybeSize: boolean;
  /** When it is tried again, in ms from now. */
  forMs: number;
}

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

export interface SuspectTiming {
  /** How long something is held at first; twice as long each time that it was tried in vain. */
  holdMs: number;
  maxHoldMs: number;
}

interface Suspicion {
  /** Of the smallest packet after which the connection ended. */
  bytes: number;
  /** Of the largest that was taken on this topic since; -1: none was. */
  fine: number;
  strikes: number;
  /** By the clock; null while it is only suspected. */
  heldUntil: number | null;
  holdMs: number;
  maybeSize: boolean;
}

/** Ends in a row, with nothing else on its way, that prove it; one is enough where the broker named a reason. */
const PROOF = 2;
/** A broker takes this much whatever its limit: below it, the size is no reason. */
const SMALL_BYTES = 2048;
/** So many held topics below one, and none that was ever taken there: all of them are held. */
const FAMILY = 3;
const MAX_SUSPICIONS = 1000;

/** `familyOf`: the topic below which a topic is one of many alike, or null. `now`: a clock that is never set, in ms. */
export function createSuspects(options: {
  timing: SuspectTiming;
  familyOf: (topic: string) => string | null;
  now?: () => number;
}): Suspects {
  const { timing, familyOf, now = () => performance.now() } = options;
  const suspicions = new Map<string, Suspicion>();
  /** In the order in which they were handed over. */
  const onTheirWay = new Map<number, { topic: string; bytes: number; answered: boolean }>();
  const takenFamilies = new Set<string>();
  let handed = 0;
  let largestTaken = 0;

  const small = (): number => Math.max(SMALL_BYTES, largestTaken);

  function sizesInDoubt(): number[] {
    return [...suspicions.values()].flatMap((one) => (one.maybeSize ? [one.bytes] : []));
  }

  function judge(one: Suspicion, bytes: number): Verdict {
    if (bytes <= one.fine) return 'free';
    if (one.heldUntil === null || now() >= one.heldUntil) return 'alone';
    return one.maybeSize && bytes < one.bytes && bytes <= small() ? 'alone' : 'held';
  }

  function taken(topic: string, bytes: number): void {
    largestTaken = Math.max(largestTaken, bytes);
    const family = familyOf(topic);
    if (family !== null) {
      takenFamilies.add(family);
      suspicions.delete(`${family}/#`);
    }
    const one = suspicions.get(topic);
    if (one === undefined) return;
    // Half as long and taken, or so short that the size is no reason: the topic is allowed.
    const sizeIsFine = 2 * bytes >= one.bytes || one.bytes <= small();
    if (bytes >= one.bytes || (sizeIsFine && !one.maybeSize)) suspicions.delete(topic);
    else one.fine = Math.max(one.fine, bytes);
  }

  /** Under which name a topic is suspected: of many alike that are held together it is that of all. */
  function nameOf(topic: string): string {
    const family = familyOf(topic);
    return family !== null && suspicions.has(`${family}/#`) ? `${family}/#` : topic;
  }

  function suspect(topic: string, bytes: number): Suspicion {
    const known = suspicions.get(topic);
    if (known !== undefined) {
      // A smaller one is another question.
      if (bytes < known.bytes && !topic.endsWith('/#'))
        Object.assign(known, { bytes, strikes: 0, heldUntil: null });
      return known;
    }
    if (suspicions.size >= MAX_SUSPICIONS) {
      const [oldest] = suspicions.keys();
      if (oldest !== undefined) suspicions.delete(oldest);
    }
    const doubted = sizesInDoubt().some((size) => bytes >= size) && bytes > largestTaken;
    const one: Suspicion = {
      bytes,
      fine: -1,
      strikes: doubted ? 1 : 0,
      heldUntil: null,
      holdMs: timing.holdMs,
      maybeSize: false,
    };
    suspicions.set(topic, one);
    return one;
  }

  function hold(topic: string, one: Suspicion): Hold {
    one.maybeSize = one.bytes > small();
    one.heldUntil = now() + one.holdMs;
    const held: Hold = {
      topic,
      bytes: one.bytes,
      ends: one.strikes,
      maybeSize: one.maybeSize,
      forMs: one.holdMs,
    };
    one.holdMs = Math.min(timing.maxHoldMs, one.holdMs * 2);
    const family = familyOf(topic);
    if (topic.endsWith('/#') || family === null || takenFamilies.has(family) || one.maybeSize) return held;
    const alike = [...suspicions].filter(
      ([other, { heldUntil }]) => heldUntil !== null && familyOf(other) === family,
    );
    if (alike.length < FAMILY) return held;
    for (const [other] of suspicions) if (familyOf(other) === family) suspicions.delete(other);
    suspicions.set(`${family}/#`, { ...one, bytes: 0, fine: -1 });
    return { ...held, topic: `${family}/#` };
  }

  return {
    verdict(topic, bytes) {
      const known = suspicions.get(nameOf(topic));
      if (known !== undefined) return judge(known, bytes);
      return bytes > small() && sizesInDoubt().some((size) => bytes >= size) ? 'alone' : 'free';
    },
    strikes: (topic) => suspicions.get(nameOf(topic))?.strikes ?? 0,
    handedOver(topic, bytes, answered) {
      handed += 1;
      // Of what is never acknowledged the last one of a topic is enough.
      if (!answered) {
        for (const [number, other] of onTheirWay) {
          if (!other.answered && other.topic === topic) onTheirWay.delete(number);
        }
      }
      onTheirWay.set(handed, { topic, bytes, answered });
      return handed;
    },
    answered(number) {
      const message = onTheirWay.get(number);
      onTheirWay.delete(number);
      if (message !== undefined) taken(message.topic, message.bytes);
      this.readUpTo(number);
    },
    readUpTo(number) {
      for (const [other, { topic, bytes, answered }] of onTheirWay) {
        if (other > number) break;
        if (answered) continue;
        onTheirWay.delete(other);
        taken(topic, bytes);
      }
    },
    get onTheirWay() {
      return onTheirWay.size;
    },
    get unansweredOnly() {
      return onTheirWay.size > 0 && [...onTheirWay.values()].every(({ answered }) => !answered);
    },
    get lastHanded() {
      return handed;
    },
    ended({ byBroker, told }) {
      const left = [...onTheirWay.values()];
      onTheirWay.clear();
      if (!byBroker || left.length === 0) return { suspected: false, held: null };
      const topics = new Set(left.map(({ topic }) => nameOf(topic)));
      for (const { topic, bytes } of left) suspect(nameOf(topic), bytes);
      if (topics.size > 1) return { suspected: true, held: null };
      const [topic = ''] = topics;
      const one = suspicions.get(topic)!;
      one.strikes += 1;
      if (one.strikes < (told ? 1 : PROOF)) return { suspected: true, held: null };
      return { suspected: true, held: hold(topic, one) };
    },
    get safeBytes() {
      return sizesInDoubt().length === 0 ? Infinity : small();
    },
    get any() {
      return suspicions.size > 0;
    },
    nextTrialMs() {
      const at = now();
      const left = [...suspicions.values()].map(({ heldUntil }) => (heldUntil ?? -Infinity) - at);
      return Math.min(...left.filter((ms) => ms > 0));
    },
  };
}
