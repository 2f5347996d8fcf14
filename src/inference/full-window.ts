import { firstFinalSeconds, windowStep, type Manifest } from '../models/manifest.js';

/** What decides how long the windows of an engine are. */
export interface WindowOwner {
  readonly manifest: Pick<Manifest, 'input' | 'output'>;
  /** True where the network only takes windows of the full length (a fixed time axis). */
  readonly fixedWindow: boolean;
}

/** Windows begin and end at multiples of so many samples, so that the frames between two of them stay the same. */
export function windowGrid(input: Manifest['input']): number {
  return Math.max(frameStep(input), windowStep(input));
}

/** The model's own window, in samples: what an engine keeps from the beginning. */
export function ownWindowSamples({ window_seconds: seconds, sample_rate: rate }: Manifest['input']): number {
  return Math.round(seconds * rate);
}

/** From one frame of the input to the next, in samples. */
export function frameStep(input: Manifest['input']): number {
  return input.kind === 'waveform' ? 1 : input.frontend.hop_length;
}

/**
 * The window in force, in seconds: the configured one where the network takes any length, but none that it cannot tell
 * anything of. Of a network that says when, that is a window in which the first frame is final: in a shorter one nothing
 * would ever be heard.
 * @param configured null: the model's own
 */
export function fullWindowSeconds(owner: WindowOwner, configured: number | null): number {
  const { input } = owner.manifest;
  if (configured === null || owner.fixedWindow) return input.window_seconds;
  return Math.max(configured, input.min_seconds, finalSamples(owner) / input.sample_rate);
}

/** The same in samples at the model's rate, on the grid. */
export function fullWindowSamples(owner: WindowOwner, configured: number | null): number {
  const { input } = owner.manifest;
  const grid = windowGrid(input);
  return Math.floor((fullWindowSeconds(owner, configured) * input.sample_rate) / grid + ROUNDING) * grid;
}

/** Steps of the grid that are not exactly whole are still there. */
const ROUNDING = 1e-6;

/** The shortest window in which a frame is final, in samples on the grid; 0 where there are no frames. */
function finalSamples({ manifest: { input, output } }: WindowOwner): number {
  if (output.frames === null) return 0;
  const grid = windowGrid(input);
  return Math.ceil((firstFinalSeconds(output.frames) * input.sample_rate) / grid - ROUNDING) * grid;
}
