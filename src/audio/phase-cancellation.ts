/**
 * Whether the channels of a sound cancel each other out in their mean: one of them is turned upside down (a
 * balanced input on a stereo socket, a cable or a camera that is wired wrongly). Counts energies; allocates nothing.
 */
export interface PhaseCancellation {
  /**
   * Of `frames` frames: the sum of the squares of the means, and that of the squares of all samples of all channels.
   */
  add(frames: number, meanSquares: number, channelSquares: number): void;
  /** How many dB quieter the mean is than the channels; null where they do not cancel, or too little was heard. */
  lossDb(): number | null;
}

/** Less than this says nothing about the wiring. */
const ENOUGH_SECONDS = 0.5;

/** -60 dBFS as a mean square: noise of the converters below it is nobody's sound. */
const AUDIBLE = 1e-6;

/**
 * The mean of n unrelated channels of equal level has 1/n of the energy of one. Ten times less is no accident: for
 * two channels it takes a side signal 13 dB above the middle, which no recording of a room has.
 */
const FAR_BELOW_UNRELATED = 0.1;

/** No more is said of a mean of exactly nothing. */
const MOST_DB = 99;

export function createPhaseCancellation(channels: number, sampleRate: number): PhaseCancellation {
  let frames = 0;
  let meanSquares = 0;
  let channelSquares = 0;
  return {
    add(moreFrames, moreMeanSquares, moreChannelSquares) {
      frames += moreFrames;
      meanSquares += moreMeanSquares;
      channelSquares += moreChannelSquares;
    },
    lossDb() {
      if (channels < 2 || frames < ENOUGH_SECONDS * sampleRate) return null;
      const channel = channelSquares / channels / frames;
      const mean = meanSquares / frames;
      if (channel < AUDIBLE || mean * channels >= FAR_BELOW_UNRELATED * channel) return null;
      return Math.min(MOST_DB, Math.round(10 * Math.log10(channel / mean)));
    },
  };
}

/** What is wrong, for people; what to do about it differs between a service and a command. */
export function cancellationText(name: string, lossDb: number): string {
  return `the channels of ${name} cancel each other out: their mean is ${lossDb >= MOST_DB ? 'silence' : `${lossDb} dB quieter than they are`}, because one of them is turned upside down. Take one of them (audio.channel: 1; soundpost tag --channel 1)`;
}
