/** What is known of a stretch: speech is in it, there is none, nobody has said yet, or nobody ever will. */
export type Verdict = 'speech' | 'clear' | 'unknown' | 'never';

/**
 * Which sound of a source was looked at for speech, and where there was any. Times are milliseconds since the epoch.
 * Sound is looked at in order, so that what is passed over once is never looked at.
 */
export interface Judged {
  add(startMs: number, endMs: number, isSpeech: boolean): void;
  verdict(fromMs: number, toMs: number): Verdict;
  /** The stretch around a moment that was looked at without a gap; null where there is none. */
  around(ms: number): Readonly<Stretch> | null;
}

export interface Stretch {
  fromMs: number;
  toMs: number;
}

/** The times of two windows do not join exactly: each is stamped with the arrival of its own last chunk. */
const JITTER_MS = 250;

/** @param keepMs what ends earlier than this before the newest end is forgotten */
export function createJudged(keepMs: number): Judged {
  let covered: Stretch[] = [];
  let speech: Stretch[] = [];
  let newestMs = -Infinity;

  const stretchWith = (atMs: number) =>
    covered.find(({ fromMs, toMs }) => fromMs - JITTER_MS <= atMs && toMs >= atMs);

  return {
    add(startMs, endMs, isSpeech) {
      if (!(endMs > startMs)) return;
      newestMs = Math.max(newestMs, endMs);
      const isKept = ({ toMs }: Stretch) => toMs >= newestMs - keepMs;
      covered = joined(covered, { fromMs: startMs, toMs: endMs }).filter(isKept);
      if (isSpeech) speech = joined(speech, { fromMs: startMs, toMs: endMs }).filter(isKept);
    },
    verdict(fromMs, toMs) {
      const isHeard = speech.some((each) => each.fromMs < toMs + JITTER_MS && each.toMs > fromMs - JITTER_MS);
      if (isHeard) return 'speech';
      if ((stretchWith(fromMs)?.toMs ?? -Infinity) >= toMs) return 'clear';
      return newestMs >= toMs ? 'never' : 'unknown';
    },
    around: (ms) => stretchWith(ms) ?? null,
  };
}

/** The stretches in order, with one more of them, as few as possible. */
function joined(stretches: readonly Stretch[], added: Stretch): Stretch[] {
  const apart = (each: Stretch) =>
    each.toMs + JITTER_MS < added.fromMs || each.fromMs - JITTER_MS > added.toMs;
  const touching = stretches.filter((each) => !apart(each));
  const all = {
    fromMs: Math.min(added.fromMs, ...touching.map(({ fromMs }) => fromMs)),
    toMs: Math.max(added.toMs, ...touching.map(({ toMs }) => toMs)),
  };
  return [...stretches.filter(apart), all].sort((one, other) => one.fromMs - other.fromMs);
}
