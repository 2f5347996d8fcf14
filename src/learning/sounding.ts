import { toDbfs } from '../audio/level.js';
import { SoundpostError } from '../common/errors.js';

/** The part of a recording in which the sound is that is to be taught; seconds of the recording. */
export interface SoundingPart {
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** RMS of its loudest piece. */
  readonly peakDbfs: number;
}

const PIECE_SECONDS = 0.02;
/** What is quieter everywhere is nothing but the noise of the converter. */
const SILENT_DBFS = -66;
/** So much louder than the background a sound has to be. */
const OVER_BACKGROUND_DB = 6;
/** What is so much quieter than the loudest piece is its echo. */
const RANGE_DB = 26;
/** Of less there is no frame that is filled by it. */
export const SHORTEST_SECONDS = 0.15;

/**
 * Finds where a recording sounds.
 * @param samples mono, ±1
 * @param backgroundDbfs the level of the room when nothing sounds; null: it is taken from the quietest tenth of the
 * recording, unless the recording is equally loud everywhere and so may be nothing but sound
 * @param name what the example is called in messages, as the beginning of a sentence
 * @throws SoundpostError `learn_silent`, `learn_too_short`.
 */
export function soundingPart(
  samples: Float32Array,
  sampleRate: number,
  { backgroundDbfs, name }: { backgroundDbfs: number | null; name: string },
): SoundingPart {
  const step = Math.max(1, Math.round(PIECE_SECONDS * sampleRate));
  const levels: number[] = [];
  for (let at = 0; at + step <= samples.length; at += step) levels.push(levelOf(samples, at, at + step));
  if (levels.length * PIECE_SECONDS < SHORTEST_SECONDS) {
    throw new SoundpostError(
      'learn_too_short',
      `${name} lasts ${(samples.length / sampleRate).toFixed(2)} s; an example needs at least ${SHORTEST_SECONDS} s of sound.`,
    );
  }
  const sorted = [...levels].sort((one, other) => one - other);
  const peakDbfs = sorted.at(-1)!;
  const quiet = sorted[Math.floor(sorted.length / 10)]!;
  const isEven = peakDbfs - quiet < OVER_BACKGROUND_DB;
  const floor = backgroundDbfs ?? (isEven ? -Infinity : quiet);
  if (peakDbfs < SILENT_DBFS || peakDbfs < floor + OVER_BACKGROUND_DB) {
    const than =
      peakDbfs < SILENT_DBFS
        ? 'which is silence'
        : `and the room has ${floor.toFixed(0)} dBFS without it: the sound has to stand out by ${OVER_BACKGROUND_DB} dB`;
    throw new SoundpostError(
      'learn_silent',
      `${name} has no sound in it: its loudest moment has ${peakDbfs.toFixed(0)} dBFS, ${than}. Make the sound closer to the microphone, or give the moment in which it was.`,
    );
  }
  const wanted = Math.max(floor + OVER_BACKGROUND_DB, peakDbfs - RANGE_DB);
  const sounding = levels.flatMap((level, n) => (level >= wanted ? [n] : []));
  if (sounding.length * PIECE_SECONDS < SHORTEST_SECONDS) {
    throw new SoundpostError(
      'learn_too_short',
      `${name} has only ${(sounding.length * PIECE_SECONDS).toFixed(2)} s of sound that stands out; at least ${SHORTEST_SECONDS} s are needed.`,
    );
  }
  return {
    fromSeconds: sounding[0]! * PIECE_SECONDS,
    toSeconds: (sounding.at(-1)! + 1) * PIECE_SECONDS,
    peakDbfs,
  };
}

function levelOf(samples: Float32Array, from: number, to: number): number {
  let squares = 0;
  for (let i = from; i < to; i += 1) {
    const value = samples[i]!;
    if (Math.abs(value) < Infinity) squares += value * value;
  }
  return toDbfs(Math.sqrt(squares / (to - from)));
}
