import { join } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { within } from '../common/within.js';
import { clipListRequest, type Clip, type ClipListRequest } from '../mqtt/clip-specs.js';
import { epochMs } from '../mqtt/contract.js';
import { createClipStore, type ClipPage } from './clip-store.js';
import { createClipWriter } from './clip-writer.js';
import { createClipMaking, type ClipMaking } from './making.js';
import { createClipNews } from './news.js';
import type { ClipSettings } from './settings.js';
import type { ClipEvent, ClipEventEnd, ClipFilter, DiscardReason } from './cut-clip.js';

/**
 * The sound of events. Everything that takes sound costs nothing where it is off. No call waits for the disk but those
 * that return a promise.
 */
export interface Clips {
  readonly enabled: boolean;
  /** The sound of a source begins (anew), at this rate (Hz). */
  begin(source: string, captureRateHz: number): void;
  /** Mono samples as they were heard, after gain; `endMs` is the wall clock of the last one. */
  chunk(source: string, samples: Float32Array, endMs: number): void;
  /** Sound breaks off: a pause, an input that is lost, a clock that was set. To be called after `ended`. */
  interrupt(source: string): void;
  /** Another model is at work. `knowsSpeech`: `scores` says of each stretch whether speech is in it. */
  modelChanged(model: { id: string; knowsSpeech: boolean }): void;
  /** Whether speech was heard in this stretch; to be told of all frames, in order, those of rests (silence) included. */
  scores(source: string, startMs: number, endMs: number, isSpeech: boolean): void;
  /**
   * A sound has begun. Returns the id of the clip that is made of it, for the event; null where none is. It may still
   * come to nothing (speech, a full disk): then nobody finds a clip of this id.
   */
  started(event: ClipEvent): string | null;
  /** It has ended. Returns the same id; null where there will be no such clip. */
  ended(end: ClipEventEnd): string | null;
  get(id: string): Promise<{ clip: Clip; path: string } | null>;
  list(request?: Partial<ClipListRequest>): Promise<ClipPage>;
  /** Throws SoundpostError `clip_unknown`, `disk_write`. */
  delete(id: string): Promise<void>;
  /** All of them, those that are being made included; returns how many. Throws SoundpostError `disk_write`. */
  deleteAll(): Promise<number>;
  /** The same for clips with sound from before this moment (ms since the epoch). */
  forgetBefore(ms: number): Promise<number>;
  stats(): ClipStats;
  /** What is being written has a few seconds; what waits for a word on speech goes. */
  stop(): Promise<void>;
}

export interface ClipStats {
  /** What is kept on the disk. */
  clips: number;
  bytes: number;
  /** Since the start. */
  written: number;
  discarded: Record<DiscardReason, number>;
}

/** Waits; tests have shorter ones. */
export interface ClipTuning {
  /** How long scores of a stretch are waited for. */
  patienceMs: number;
  /** How long one clip may be written. */
  writeMs: number;
  /** How long a stop waits for what is being written. */
  stopMs: number;
  /** Between two looks at the age of clips. */
  ageMs: number;
  /** How long the process that writes clips stays without work. */
  idleMs: number;
  /** The program that writes clips. */
  program?: string;
}

const defaultTuning: ClipTuning = {
  patienceMs: 60_000,
  writeMs: 60_000,
  stopMs: 3000,
  // Events come in rows; between them the memory is worth more.
  idleMs: 20_000,
  ageMs: 600_000,
};

/** A child that was killed has gone within. */
const KILL_MS = 1000;

/**
 * @param options.dataDir clips are in `<dataDir>/clips`; a folder is made with the first one
 * @param options.sources their names
 */
export function createClips(options: {
  dataDir: string;
  sources: readonly string[];
  settings: ClipSettings;
  log: Logger;
  /** A clip has been written, or will not be. */
  onWritten?: (clip: Clip) => void;
  onDiscarded?: (discarded: { id: string; event: string; reason: DiscardReason }) => void;
  now?: () => number;
  tuning?: Partial<ClipTuning>;
}): Clips {
  const { settings, log, onWritten, onDiscarded, now = Date.now } = options;
  const { enabled, maxMb, days } = settings;
  const tuning = { ...defaultTuning, ...options.tuning };
  const store = createClipStore({
    folder: join(options.dataDir, 'clips'),
    maxBytes: maxMb * 1_000_000,
    days,
    log,
    now,
  });
  const news = createClipNews(log);
  const onDiscard = ({ id, event }: { id: string; event: ClipEvent }, reason: DiscardReason): void => {
    making.isOff(event);
    news.discarded(reason);
    onDiscarded?.({ id, event: event.id, reason });
  };
  const writer = createClipWriter({
    store,
    log,
    onWritten(clip) {
      news.written();
      onWritten?.(clip);
    },
    onDiscard,
    timeoutMs: tuning.writeMs,
    idleMs: tuning.idleMs,
    ...(tuning.program === undefined ? {} : { program: tuning.program }),
  });
  const making: ClipMaking = createClipMaking({
    settings,
    sources: options.sources,
    patienceMs: tuning.patienceMs,
    alsoHeldBytes: () => writer.heldBytes,
    onReady: (clip) => writer.write(clip),
    onDiscard,
  });

  /** Drops what is being made, and removes what has been. */
  async function forget(fits: ClipFilter): Promise<number> {
    const dropped = making.drop(fits, 'deleted') + (await writer.drop(fits, 'deleted'));
    const isMeant = (clip: Clip) => fits({ id: clip.id, startMs: epochMs(clip.clip_started_at) });
    return dropped + (await store.remove(isMeant));
  }

  function forgetBefore(ms: number): Promise<number> {
    making.forgetBefore(ms);
    return forget(({ startMs }) => startMs < ms);
  }

  const look = (): void => void store.forgetOld().catch((error: unknown) => news.cannotRemove(error));
  look();
  const ageTimer = setInterval(look, tuning.ageMs);
  ageTimer.unref();

  return {
    enabled,
    begin: (source, captureRateHz) => making.of(source)?.begin(captureRateHz),
    chunk: (source, samples, endMs) => making.of(source)?.chunk(samples, endMs),
    interrupt: (source) => making.of(source)?.interrupt(),
    modelChanged({ id, knowsSpeech }) {
      making.setKnowsSpeech(knowsSpeech);
      if (enabled && settings.speech === 'discard' && !knowsSpeech) news.noSpeechLabel(id);
    },
    scores: (source, startMs, endMs, isSpeech) => making.scores(source, startMs, endMs, isSpeech),
    started: (event) => making.started(event),
    ended: (end) => making.ended(end),
    get: (id) => store.get(id),
    list: (request = {}) => store.list({ ...clipListRequest.parse({}), ...request }),
    async delete(id) {
      if ((await forget((clip) => clip.id === id)) > 0) return;
      throw new SoundpostError(
        'clip_unknown',
        `There is no clip "${id}": it was not kept (speech, a full disk), or has been deleted`,
      );
    },
    deleteAll: () => forgetBefore(Infinity),
    forgetBefore,
    stats: () => ({ ...store.totals(), ...news.counts() }),
    async stop() {
      clearInterval(ageTimer);
      making.drop(() => true, 'stopped');
      making.end();
      await within(writer.idle(), tuning.stopMs);
      // A child that hangs in the disk is nobody's to wait for.
      await within(
        writer.drop(() => true, 'stopped'),
        KILL_MS,
      );
      writer.stop();
    },
  };
}
