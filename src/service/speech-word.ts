import type { SpeechJudge } from '../clips/speech.js';
import type { WindowResult } from '../inference/window-report.js';

/** What a window says about speech in a stretch of sound; ms since the epoch. */
export interface SpeechWord {
  readonly startMs: number;
  readonly endMs: number;
  readonly isSpeech: boolean;
}

/**
 * How much of somebody's words a window must hold until it is sure of them, at most: what is newer is left to the
 * windows that follow.
 */
const REACH_MS = 2000;

/**
 * The word of a window on its new sound; null where it has none. Frames say it of themselves. The score of a whole
 * window does not say where in it somebody spoke, and comes late for words that have just begun: so it speaks for all of
 * the window where it hears speech, and holds back the newest sound where it hears none.
 */
export function speechWord(judge: SpeechJudge, result: WindowResult): SpeechWord | null {
  const { fresh, scores, model } = result;
  if (fresh === null) return null;
  const { startMs, endMs } = fresh;
  if (model.manifest.output.frames !== null && fresh.role === 'scores') {
    return { startMs, endMs, isSpeech: judge.hears(fresh.values, fresh.before + fresh.count, scores.length) };
  }
  if (judge.hears(scores)) return { startMs: result.startMs, endMs, isSpeech: true };
  return { startMs: startMs - REACH_MS, endMs: endMs - REACH_MS, isSpeech: false };
}
