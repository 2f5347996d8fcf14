import { cutAround, type CutRule } from './cut.js';
import type { ClipEvent, ClipEventEnd, ClipFilter, CutClip, DiscardReason } from './cut-clip.js';
import { createHeardSound, type HeardSound } from './heard-sound.js';
import { createSpeechWait } from './speech-wait.js';

/** The clips of one source that are not written yet. */
export interface SourceClips {
  /** How many bytes of sound are cut and wait for a word on speech. */
  readonly heldBytes: number;
  /** Sound begins anew, at another rate perhaps: what is being cut ends here. */
  begin(captureRateHz: number): void;
  chunk(samples: Float32Array, endMs: number): void;
  /** The sound breaks off: nothing joins across it. */
  interrupt(): void;
  scores(startMs: number, endMs: number, isSpeech: boolean): void;
  /** `clipId` is what the clip will be called. */
  started(event: ClipEvent, clipId: string): void;
  ended(end: ClipEventEnd): void;
  /** Drops the clips that fit, and returns how many. */
  drop(fits: ClipFilter, reason: DiscardReason): number;
  /** Sound from before this moment will be in no clip that begins from now on. */
  forgetBefore(ms: number): void;
}

/** An event is told of so much later than it began, at most: slow rates, long windows, confirmation. */
const SLACK_SECONDS = 20;
/** More at a time are not cut. */
const MOST_OPEN = 64;
/** Where the time of a chunk is off by more, sound is missing or the clock was set: it does not join. */
const JOIN_MS = 5000;

/** Its sound has not come to its end yet. */
interface OpenClip {
  id: string;
  event: ClipEvent;
  endedMs: number | null;
  /** Positions. */
  started: number;
  from: number;
  to: number;
}

export interface SourceClipsOptions {
  rule: CutRule;
  /** False: speech is nobody's business. */
  discardSpeech: boolean;
  /** How long the scores of a stretch are waited for, in ms. */
  patienceMs: number;
  /** Whether so many more bytes of sound may be held. */
  mayHold: (bytes: number) => boolean;
  /** A clip that may be written. */
  onReady: (clip: CutClip) => void;
  onDiscard: (clip: { id: string; event: ClipEvent }, reason: DiscardReason) => void;
}

export function createSourceClips(options: SourceClipsOptions): SourceClips {
  const { rule, discardSpeech, mayHold, onReady, onDiscard } = options;
  const keepSeconds = rule.maxMs / 1000 + SLACK_SECONDS;
  const heard = createHeardSound(keepSeconds);
  const newWait = () => createSpeechWait({ ...options, keepMs: keepSeconds * 1000 });
  let wait = newWait();
  /** By the id of the event. */
  const open = new Map<string, OpenClip>();

  function close(clip: OpenClip): void {
    open.delete(clip.event.id);
    const ready = cutOut(heard, clip);
    if (ready === null) onDiscard(clip, 'no_sound');
    else if (!mayHold(ready.samples.byteLength)) onDiscard(clip, 'busy');
    else if (discardSpeech) wait.add(ready);
    else onReady(ready);
  }

  function closeWhatIsComplete(): void {
    if (open.size === 0) return;
    for (const clip of [...open.values()]) if (clip.to <= heard.position) close(clip);
  }

  function breakOff(): void {
    for (const clip of [...open.values()]) close(clip);
    // What was heard before a break is told of before it, or never; what comes may be of another clock.
    wait.end();
    wait = newWait();
  }

  return {
    get heldBytes() {
      return [...wait.waiting].reduce((sum, { samples }) => sum + samples.byteLength, 0);
    },
    begin(captureRateHz) {
      breakOff();
      heard.begin(captureRateHz);
    },
    chunk(samples, endMs) {
      if (heard.captureRateHz === 0) return;
      if (Math.abs(heard.offBy(samples.length, endMs)) > JOIN_MS) {
        breakOff();
        heard.begin(heard.captureRateHz);
      }
      heard.append(samples, endMs);
      closeWhatIsComplete();
    },
    interrupt() {
      breakOff();
      heard.begin(heard.captureRateHz);
    },
    scores(startMs, endMs, isSpeech) {
      if (!discardSpeech) return;
      wait.scores(startMs, endMs, isSpeech);
      if (!isSpeech) return;
      for (const clip of [...open.values()]) {
        const untilMs = heard.msAt(Math.min(clip.to, heard.position));
        if (!wait.hasSpeech(heard.msAt(clip.from), untilMs)) continue;
        open.delete(clip.event.id);
        onDiscard(clip, 'speech');
      }
    },
    started(event, id) {
      if (heard.position === 0) {
        onDiscard({ id, event }, 'no_sound');
        return;
      }
      if (open.size >= MOST_OPEN) {
        onDiscard({ id, event }, 'busy');
        return;
      }
      const started = heard.positionAt(event.startedMs);
      const bounds = cutAround(rule, heard.captureRateHz, started, null, heard.oldest);
      // Not cut before the next chunk: of a short sound the end is told in the same breath.
      open.set(event.id, { id, event, endedMs: null, started, ...bounds });
    },
    ended({ id, endedMs, peak }) {
      const clip = open.get(id);
      if (clip === undefined) {
        for (const late of wait.waiting) if (late.event.id === id) late.endedMs = endedMs;
        return;
      }
      clip.endedMs = endedMs;
      clip.event = { ...clip.event, peak: Math.max(peak, clip.event.peak) };
      const ended = heard.positionAt(endedMs);
      clip.to = cutAround(rule, heard.captureRateHz, clip.started, ended, clip.from).to;
      closeWhatIsComplete();
    },
    drop(fits, reason) {
      const opened = [...open.values()].filter(({ id, from }) => fits({ id, startMs: heard.msAt(from) }));
      for (const { event } of opened) open.delete(event.id);
      const waited = [...wait.waiting].filter(fits);
      for (const clip of waited) wait.remove(clip);
      for (const clip of [...opened, ...waited]) onDiscard(clip, reason);
      return opened.length + waited.length;
    },
    forgetBefore(ms) {
      if (heard.position > 0) heard.forget(heard.positionAt(ms));
    },
  };
}

/** The sound of a clip, as far as it is kept; null where none of it is. */
function cutOut(heard: HeardSound, clip: OpenClip): CutClip | null {
  const { id, event, endedMs } = clip;
  const from = Math.max(clip.from, heard.oldest);
  const to = Math.min(clip.to, heard.position);
  if (to <= from) return null;
  const { captureRateHz } = heard;
  return { id, event, endedMs, captureRateHz, samples: heard.read(from, to), startMs: heard.msAt(from) };
}
