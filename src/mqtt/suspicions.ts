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

/** A broker takes this much whatever its limit: below it, the size is no reason. */
const SMALL_BYTES = 2048;
/** So many held topics below one, and none that was ever taken there: all of them are held. */
const FAMILY = 3;
const MAX_SUSPICIONS = 1000;

/** What is suspected of ending connections, or held back, and what is known to be taken. Pure but for the clock. */
export interface Suspicions {
  /** Whether something is suspected or held. */
  readonly any: boolean;
  /** Of the largest packet that is surely taken, where a larger one may have been too large; else Infinity. */
  readonly safeBytes: number;
  /** Under which name a topic is suspected: of many alike that are held together it is that of all. */
  nameOf(topic: string): string;
  verdict(topic: string, bytes: number): Verdict;
  strikes(topic: string): number;
  /** The broker has taken such a message. */
  taken(topic: string, bytes: number): void;
  /** Such a message was on its way at an end. */
  suspect(topic: string, bytes: number): void;
  /**
   * Of what is suspected under `name`, nothing else was on its way at an end. `proof`: so many such ends in a row are
   * enough to hold it back. Null: they are not enough yet.
   */
  strike(name: string, proof: number): Hold | null;
  /** Milliseconds until the first of what is held may be tried again; Infinity where nothing is held. */
  nextTrialMs(): number;
}

/** `now`: a clock that is never set, in ms. */
export function createSuspicions(options: {
  timing: SuspectTiming;
  familyOf: (topic: string) => string | null;
  now: () => number;
}): Suspicions {
  const { timing, familyOf, now } = options;
  const suspicions = new Map<string, Suspicion>();
  const takenFamilies = new Set<string>();
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

  /** Of many alike, where none was ever taken. Returns what is held in place of `topic`. */
  function holdFamily(topic: string, one: Suspicion): string {
    const family = familyOf(topic);
    if (topic.endsWith('/#') || family === null || takenFamilies.has(family) || one.maybeSize) return topic;
    const alike = [...suspicions].filter(
      ([other, { heldUntil }]) => heldUntil !== null && familyOf(other) === family,
    );
    if (alike.length < FAMILY) return topic;
    for (const [other] of suspicions) if (familyOf(other) === family) suspicions.delete(other);
    suspicions.set(`${family}/#`, { ...one, bytes: 0, fine: -1 });
    return `${family}/#`;
  }

  /** Under which name a topic is suspected: of many alike that are held together it is that of all. */
  function nameOf(topic: string): string {
    const family = familyOf(topic);
    return family !== null && suspicions.has(`${family}/#`) ? `${family}/#` : topic;
  }

  function begin(topic: string, bytes: number): void {
    if (suspicions.size >= MAX_SUSPICIONS) {
      const [oldest] = suspicions.keys();
      if (oldest !== undefined) suspicions.delete(oldest);
    }
    const doubted = sizesInDoubt().some((size) => bytes >= size) && bytes > largestTaken;
    suspicions.set(topic, {
      bytes,
      fine: -1,
      strikes: doubted ? 1 : 0,
      heldUntil: null,
      holdMs: timing.holdMs,
      maybeSize: false,
    });
  }

  return {
    get any() {
      return suspicions.size > 0;
    },
    get safeBytes() {
      return sizesInDoubt().length === 0 ? Infinity : small();
    },
    nameOf,
    verdict(topic, bytes) {
      const known = suspicions.get(nameOf(topic));
      if (known !== undefined) return judge(known, bytes);
      return bytes > small() && sizesInDoubt().some((size) => bytes >= size) ? 'alone' : 'free';
    },
    strikes: (topic) => suspicions.get(nameOf(topic))?.strikes ?? 0,
    taken(topic, bytes) {
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
    },
    suspect(topic, bytes) {
      const name = nameOf(topic);
      const known = suspicions.get(name);
      if (known === undefined) begin(name, bytes);
      // A smaller one is another question.
      else if (bytes < known.bytes && !name.endsWith('/#'))
        Object.assign(known, { bytes, strikes: 0, heldUntil: null });
    },
    strike(name, proof) {
      const one = suspicions.get(name)!;
      one.strikes += 1;
      if (one.strikes < proof) return null;
      one.maybeSize = one.bytes > small();
      one.heldUntil = now() + one.holdMs;
      const { bytes, strikes: ends, maybeSize, holdMs: forMs } = one;
      one.holdMs = Math.min(timing.maxHoldMs, one.holdMs * 2);
      return { topic: holdFamily(name, one), bytes, ends, maybeSize, forMs };
    },
    nextTrialMs() {
      const at = now();
      const left = [...suspicions.values()].map(({ heldUntil }) => (heldUntil ?? -Infinity) - at);
      return Math.min(...left.filter((ms) => ms > 0));
    },
  };
}
