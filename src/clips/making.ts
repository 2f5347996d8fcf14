import { randomBytes } from 'node:crypto';
import type { ClipEvent, ClipEventEnd, ClipFilter, CutClip, DiscardReason } from './cut-clip.js';
import type { ClipSettings } from './settings.js';
import { createSourceClips, type SourceClips } from './source-clips.js';

/** The clips of all sources that are not handed to the writer yet, and which event each belongs to. */
export interface ClipMaking {
  /** What is known of one source; undefined where clips are off, and where there is none of this name. */
  of(source: string): SourceClips | undefined;
  /** Whether the model at work tells speech. */
  setKnowsSpeech(knows: boolean): void;
  scores(source: string, startMs: number, endMs: number, isSpeech: boolean): void;
  /** See `Clips`. */
  started(event: ClipEvent): string | null;
  ended(end: ClipEventEnd): string | null;
  /** A clip will not be. */
  isOff(event: ClipEvent): void;
  /** Drops the clips that fit, and returns how many. */
  drop(fits: ClipFilter, reason: DiscardReason): number;
  forgetBefore(ms: number): void;
  /** No more sound is taken. */
  end(): void;
}

/** So much sound may wait for scores and for the writer, of all sources together. */
const MOST_HELD_BYTES = 24_000_000;
/** Every sound that begins ends; this is for a caller that forgot one. */
const MOST_EVENTS = 1000;

/** @param options.alsoHeldBytes what the writer holds */
export function createClipMaking(options: {
  settings: ClipSettings;
  sources: readonly string[];
  patienceMs: number;
  alsoHeldBytes: () => number;
  onReady: (clip: CutClip) => void;
  onDiscard: (clip: { id: string; event: ClipEvent }, reason: DiscardReason) => void;
}): ClipMaking {
  const { settings, alsoHeldBytes } = options;
  const discardSpeech = settings.speech === 'discard';
  const wanted = new Set(settings.labels.map((label) => label.toLowerCase()));
  /** The id of the clip, by that of the event. */
  const byEvent = new Map<string, string>();
  const sources = new Map<string, SourceClips>();
  let knowsSpeech = false;

  const heldBytes = () => [...sources.values()].reduce((sum, each) => sum + each.heldBytes, alsoHeldBytes());
  const newSource = () =>
    createSourceClips({
      ...options,
      rule: {
        beforeMs: settings.beforeSeconds * 1000,
        afterMs: settings.afterSeconds * 1000,
        maxMs: settings.maxSeconds * 1000,
      },
      discardSpeech,
      mayHold: (bytes) => heldBytes() + bytes <= MOST_HELD_BYTES,
    });
  if (settings.enabled) for (const name of options.sources) sources.set(name, newSource());

  const isWanted = ({ label, group, mid }: ClipEvent): boolean =>
    wanted.size === 0 || [label, group, mid].some((name) => name !== null && wanted.has(name.toLowerCase()));

  return {
    of: (source) => sources.get(source),
    setKnowsSpeech: (knows) => void (knowsSpeech = knows),
    scores(source, startMs, endMs, isSpeech) {
      if (knowsSpeech) sources.get(source)?.scores(startMs, endMs, isSpeech);
    },
    started(event) {
      const source = sources.get(event.source);
      if (source === undefined || !isWanted(event) || (discardSpeech && !knowsSpeech)) return null;
      const id = randomBytes(16).toString('hex');
      byEvent.set(event.id, id);
      if (byEvent.size > MOST_EVENTS) byEvent.delete(byEvent.keys().next().value!);
      source.started(event, id);
      return byEvent.get(event.id) ?? null;
    },
    ended(end) {
      sources.get(end.source)?.ended(end);
      const id = byEvent.get(end.id) ?? null;
      byEvent.delete(end.id);
      return id;
    },
    isOff: ({ id }) => void byEvent.delete(id),
    drop: (fits, reason) => [...sources.values()].reduce((sum, each) => sum + each.drop(fits, reason), 0),
    forgetBefore(ms) {
      for (const source of sources.values()) source.forgetBefore(ms);
    },
    end: () => sources.clear(),
  };
}
