import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { DiscardReason } from './cut-clip.js';

/** Counts what becomes of clips, and says once what somebody has to know. */
export interface ClipNews {
  written(): void;
  discarded(reason: DiscardReason): void;
  /** A model is at work under which no clip may be kept. */
  noSpeechLabel(modelId: string): void;
  /** Clips that are too old cannot be removed. */
  cannotRemove(error: unknown): void;
  counts(): { written: number; discarded: Record<DiscardReason, number> };
}

export function createClipNews(log: Logger): ClipNews {
  const discarded: Record<DiscardReason, number> = {
    speech: 0,
    unjudged: 0,
    no_sound: 0,
    busy: 0,
    failed: 0,
    deleted: 0,
    stopped: 0,
  };
  const said = new Set<string>();
  let written = 0;

  function once(key: string, code: string, message: string): void {
    if (said.has(key)) return;
    said.add(key);
    log.warn({ code }, message);
  }

  return {
    written: () => void (written += 1),
    discarded(reason) {
      discarded[reason] += 1;
      if (reason !== 'unjudged') return;
      once(
        reason,
        'clips_not_judged',
        'The sound of an event was not kept, since nobody looked for speech in it: at slow rates, and where windows are dropped, only a part of the sound is looked at. With clips.speech: keep such clips are kept, and those with speech too',
      );
    },
    noSpeechLabel(modelId) {
      once(
        `model ${modelId}`,
        'clips_without_speech_label',
        `${modelId} knows no speech, so nobody can say that a clip holds none: as long as it is at work none is kept, unless clips.speech is keep`,
      );
    },
    cannotRemove(error) {
      once('remove', 'disk_write', `Clips that are older than clips.days stay: ${messageOf(error)}`);
    },
    counts: () => ({ written, discarded: { ...discarded } }),
  };
}
