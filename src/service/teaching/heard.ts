import { createHeardSound, type HeardSound } from '../../clips/heard-sound.js';
import { toFloat32 } from '../../clips/int16.js';
import { MOST_SECONDS_AGO } from '../../mqtt/learn-specs.js';

/** A piece of what was heard: mono, ±1. */
export interface HeardPiece {
  readonly samples: Float32Array;
  readonly sampleRate: number;
  /** When it began, ms since the epoch. */
  readonly startMs: number;
}

/** The sound of one source, on its way by. */
export interface HeardTap {
  begin(captureRateHz: number): void;
  chunk(samples: Float32Array, endMs: number): void;
  interrupt(): void;
}

/**
 * The last minute of every source, in memory, while somebody teaches a sound; at all other times nothing is kept. It is
 * never written anywhere.
 */
export interface HeardMinute {
  of(source: string): HeardTap;
  setOn(on: boolean): void;
  /** What is kept of a source between two times; null where that is nothing. */
  between(source: string, fromMs: number, toMs: number): HeardPiece | null;
}

/** Has a tap take all sound that something else takes as well. */
export function withTap<Taker extends HeardTap>(taker: Taker, tap: HeardTap): Taker {
  return {
    ...taker,
    begin(captureRateHz: number) {
      tap.begin(captureRateHz);
      taker.begin(captureRateHz);
    },
    chunk(samples: Float32Array, endMs: number) {
      tap.chunk(samples, endMs);
      taker.chunk(samples, endMs);
    },
    interrupt() {
      tap.interrupt();
      taker.interrupt();
    },
  };
}

/** Where the time of a chunk is off by more, sound is missing or the clock was set: it does not join. */
const JOIN_MS = 2000;
/** Somebody has to press a button after what they have heard. */
const SLACK_SECONDS = 15;

export function createHeardMinute(sources: readonly string[]): HeardMinute {
  /** The rate of each source, whether it is kept or not. */
  const rates = new Map<string, number>();
  const kept = new Map<string, HeardSound>();
  let isOn = false;

  function keep(source: string): void {
    const rate = rates.get(source);
    if (!isOn || rate === undefined) return;
    const sound = createHeardSound(MOST_SECONDS_AGO + SLACK_SECONDS);
    sound.begin(rate);
    kept.set(source, sound);
  }

  return {
    of: (source) => ({
      begin(captureRateHz) {
        rates.set(source, captureRateHz);
        keep(source);
      },
      chunk(samples, endMs) {
        const sound = kept.get(source);
        if (sound === undefined) return;
        if (Math.abs(sound.offBy(samples.length, endMs)) > JOIN_MS) sound.begin(sound.captureRateHz);
        sound.append(samples, endMs);
      },
      interrupt: () => keep(source),
    }),
    setOn(on) {
      if (on === isOn) return;
      isOn = on;
      kept.clear();
      for (const source of sources) keep(source);
    },
    between(source, fromMs, toMs) {
      const sound = kept.get(source);
      if (sound === undefined || sound.position === 0) return null;
      const from = Math.max(sound.oldest, sound.positionAt(fromMs));
      const to = Math.min(sound.position, sound.positionAt(toMs));
      if (to <= from) return null;
      return {
        samples: toFloat32(sound.read(from, to)),
        sampleRate: sound.captureRateHz,
        startMs: sound.msAt(from),
      };
    },
  };
}
