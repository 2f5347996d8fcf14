import { slugOf } from './slug.js';
import type { TagEvent } from './tag-event.js';

/** The watched item that needs no network. */
export const LOUD_NOISE = 'Loud noise';
export const LOUD_NOISE_SLUG = slugOf(LOUD_NOISE);

/** A noise ends below this share of what it has to be above the background to begin. */
const OFF_FRACTION = 0.7;

/** Blocks are whole numbers of samples, so that four of 50 ms may be a little less than 200 ms. */
const ROUNDING_MS = 1;

/**
 * A background below this counts as this: where a camera's noise suppression or a gate makes pauses digitally silent,
 * every sound would be far above them. It is about the noise of a good microphone in a quiet room.
 */
const QUIETEST_BACKGROUND_DBFS = -80;

/** The level of a stretch of sound. Blocks follow each other without gaps; what breaks the sound calls `close`. */
export interface LoudBlock {
  /** Milliseconds since the epoch of its end. */
  readonly endMs: number;
  readonly lengthMs: number;
  readonly dbfs: number;
  /** How loud it is when nothing happens; null as long as that is not known. */
  readonly backgroundDbfs: number | null;
}

/**
 * Tells when it is loud, from levels alone.
 *
 * A noise begins where the level is at least `aboveBackgroundDb` above the background, block after block, for
 * `minDurationSeconds`. It ends once the level has been below 0.7 of that above the background for `minGapSeconds`; its
 * end is that of the last block which was not. What counts is the background when it began, so that a long noise
 * does not become its own. Nothing begins while no background is known.
 *
 * Scores: half of the level above the background over `aboveBackgroundDb`, at most 1. So 0.5 is the limit, and 1 is
 * twice as many dB above the background.
 */
export interface LoudWatch {
  /**
   * @param decidedMs when the block is looked at, for `detected_at`
   * @returns the events that it decides: none or one
   */
  block(block: LoudBlock, decidedMs: number): TagEvent[];
  /** Ends the noise that is on, and forgets what was about to come on: for a stop, a pause and any break in the sound. */
  close(decidedMs: number): TagEvent[];
  /** Whether a noise is on. */
  on(): boolean;
}

/** A stretch of loud blocks; an event once it has an id. */
interface Noise {
  id: string | null;
  readonly backgroundDbfs: number;
  readonly startedAt: number;
  /** How long it has lasted, in sound: clocks jitter. */
  lastedMs: number;
  /** How long it has been below the lower limit. */
  quietMs: number;
  heardUntil: number;
  lastScore: number;
  peak: number;
}

/**
 * @param options.aboveBackgroundDb more than 0
 * @param options.newId names each pair of events; it must not repeat itself
 */
export function createLoudWatch(options: {
  aboveBackgroundDb: number;
  minDurationSeconds: number;
  minGapSeconds: number;
  newId: () => string;
}): LoudWatch {
  const { aboveBackgroundDb, newId } = options;
  const belowDb = OFF_FRACTION * aboveBackgroundDb;
  const minDurationMs = 1000 * options.minDurationSeconds - ROUNDING_MS;
  const minGapMs = 1000 * options.minGapSeconds - ROUNDING_MS;
  let noise: Noise | null = null;

  function hear(heard: Noise, { endMs, lengthMs }: LoudBlock, aboveDb: number): void {
    heard.lastedMs += lengthMs;
    heard.quietMs = 0;
    heard.heardUntil = Math.max(heard.startedAt, endMs);
    heard.lastScore = Math.min(1, (0.5 * aboveDb) / aboveBackgroundDb);
    heard.peak = Math.max(heard.peak, heard.lastScore);
  }

  /** No noise is on; one may be about to come on. */
  function whileOff(block: LoudBlock, decidedMs: number): TagEvent[] {
    // A background that was forgotten takes with it what was about to come on.
    if (block.backgroundDbfs === null) noise = null;
    const backgroundDbfs =
      noise?.backgroundDbfs ??
      (block.backgroundDbfs === null ? null : Math.max(QUIETEST_BACKGROUND_DBFS, block.backgroundDbfs));
    const aboveDb = backgroundDbfs === null ? -Infinity : block.dbfs - backgroundDbfs;
    if (backgroundDbfs === null || !(aboveDb >= aboveBackgroundDb)) {
      noise = null;
      return [];
    }
    noise ??= beginNoise(block.endMs - block.lengthMs, backgroundDbfs);
    hear(noise, block, aboveDb);
    if (noise.lastedMs < minDurationMs) return [];
    noise.id = newId();
    return [eventOf('started', noise, noise.id, decidedMs)];
  }

  function close(decidedMs: number): TagEvent[] {
    const ended = noise;
    noise = null;
    return ended === null || ended.id === null ? [] : [eventOf('ended', ended, ended.id, decidedMs)];
  }

  return {
    block(block, decidedMs) {
      if (noise === null || noise.id === null) return whileOff(block, decidedMs);
      const aboveDb = block.dbfs - noise.backgroundDbfs;
      if (aboveDb >= belowDb) {
        hear(noise, block, aboveDb);
        return [];
      }
      noise.quietMs += block.lengthMs;
      return noise.quietMs < minGapMs ? [] : close(decidedMs);
    },
    close,
    on: () => noise !== null && noise.id !== null,
  };
}

function beginNoise(startedAt: number, backgroundDbfs: number): Noise {
  const nothingYet = { lastedMs: 0, quietMs: 0, heardUntil: startedAt, lastScore: 0, peak: 0 };
  return { id: null, backgroundDbfs, startedAt, ...nothingYet };
}

function eventOf(type: 'started' | 'ended', noise: Noise, id: string, decidedMs: number): TagEvent {
  const endedAt = type === 'ended' ? noise.heardUntil : null;
  return {
    id,
    event_type: type,
    slug: LOUD_NOISE_SLUG,
    label: LOUD_NOISE,
    mid: null,
    group: null,
    score: noise.lastScore,
    peak: noise.peak,
    started_at: noise.startedAt,
    ended_at: endedAt,
    duration_s: endedAt === null ? null : (endedAt - noise.startedAt) / 1000,
    detected_at: decidedMs,
  };
}
