import { endMsOf, type CutClip, type DiscardReason } from './cut-clip.js';
import { createJudged } from './judged.js';

/**
 * Where the clips of one stretch of sound wait until it is known of each frame of theirs whether speech was in it. A
 * clip with speech goes; of one whose scores do not come in time, what was looked at around the onset is kept.
 */
export interface SpeechWait {
  readonly waiting: Iterable<CutClip>;
  add(clip: CutClip): void;
  /** Whether speech was heard in this stretch. */
  scores(startMs: number, endMs: number, isSpeech: boolean): void;
  hasSpeech(fromMs: number, toMs: number): boolean;
  /** Takes a clip out that nobody wants any more. */
  remove(clip: CutClip): void;
  /** No more scores will come: all that wait are decided by those there are. */
  end(): void;
}

/** A remainder of a clip is worth keeping where so much of it, in ms, follows the onset. */
const SHORTEST_MS = 500;

/**
 * @param options.patienceMs how long scores are waited for
 * @param options.keepMs how far back scores are needed
 */
export function createSpeechWait(options: {
  patienceMs: number;
  keepMs: number;
  onReady: (clip: CutClip) => void;
  onDiscard: (clip: CutClip, reason: DiscardReason) => void;
}): SpeechWait {
  const { patienceMs, onReady, onDiscard } = options;
  const judged = createJudged(options.keepMs + patienceMs);
  const timers = new Map<CutClip, NodeJS.Timeout>();

  function remove(clip: CutClip): void {
    clearTimeout(timers.get(clip));
    timers.delete(clip);
  }

  /** @param isLast no more is waited for */
  function decide(clip: CutClip, isLast: boolean): void {
    const verdict = judged.verdict(clip.startMs, endMsOf(clip));
    if (verdict === 'unknown' && !isLast) return;
    remove(clip);
    if (verdict === 'speech') {
      onDiscard(clip, 'speech');
      return;
    }
    const looked = verdict === 'clear' ? clip : whatWasLookedAt(clip);
    if (looked === null) onDiscard(clip, 'unjudged');
    else onReady(looked);
  }

  /** The part of a clip around its onset of which every frame was looked at; null where that is hardly anything. */
  function whatWasLookedAt(clip: CutClip): CutClip | null {
    const stretch = judged.around(clip.event.startedMs);
    if (stretch === null) return null;
    const startMs = Math.max(clip.startMs, stretch.fromMs);
    const endMs = Math.min(endMsOf(clip), stretch.toMs);
    const isLong = endMs - Math.max(startMs, clip.event.startedMs) >= SHORTEST_MS;
    if (!isLong || judged.verdict(startMs, endMs) !== 'clear') return null;
    const at = (ms: number) => Math.round(((ms - clip.startMs) * clip.captureRateHz) / 1000);
    return { ...clip, startMs, samples: clip.samples.slice(at(startMs), at(endMs)) };
  }

  return {
    get waiting() {
      return timers.keys();
    },
    add(clip) {
      const timer = setTimeout(() => decide(clip, true), patienceMs);
      timer.unref();
      timers.set(clip, timer);
      decide(clip, false);
    },
    scores(startMs, endMs, isSpeech) {
      judged.add(startMs, endMs, isSpeech);
      for (const clip of [...timers.keys()]) decide(clip, false);
    },
    hasSpeech: (fromMs, toMs) => judged.verdict(fromMs, toMs) === 'speech',
    remove,
    end() {
      for (const clip of [...timers.keys()]) decide(clip, true);
    },
  };
}
