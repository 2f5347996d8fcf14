/** The onset of a sound that is to become a clip. Times are ms since the epoch. */
export interface ClipEvent {
  /** `id` of the event. */
  id: string;
  source: string;
  label: string;
  mid: string | null;
  group: string | null;
  startedMs: number;
  peak: number;
}

/** Its offset. */
export interface ClipEventEnd {
  id: string;
  source: string;
  endedMs: number;
  peak: number;
}

/** The sound of an event, cut out. */
export interface CutClip {
  /** Of the clip. */
  id: string;
  event: ClipEvent;
  /** Null where the sound went on. */
  endedMs: number | null;
  captureRateHz: number;
  samples: Int16Array;
  /** The wall clock of the first sample. */
  startMs: number;
}

/** The wall clock of the end of its last sample. */
export function endMsOf({ startMs, samples, captureRateHz }: CutClip): number {
  return startMs + (samples.length * 1000) / captureRateHz;
}

/** Why an event has no clip. */
export type DiscardReason =
  /** Speech was heard in it. */
  | 'speech'
  /** Nobody looked for speech in it. */
  | 'unjudged'
  /** Its sound was not kept any more. */
  | 'no_sound'
  /** Too much waited already. */
  | 'busy'
  /** It could not be written. */
  | 'failed'
  /** Somebody had it deleted. */
  | 'deleted'
  /** The service stopped. */
  | 'stopped';

/** Which clips are meant. */
export type ClipFilter = (clip: { id: string; startMs: number }) => boolean;
