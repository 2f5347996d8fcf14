import { windowStep, type Manifest } from '../models/manifest.js';

/** What decides how long the windows of an engine are. */
export interface WindowOwner {
  readonly manifest: Pick<Manifest, 'input'>;
  /** True where the network only takes windows of the full length (a fixed time axis). */
  readonly fixedWindow: boolean;
}

/** Windows begin and end at multiples of so many samples, so that the frames between two of them stay the same. */
export function windowGrid(input: Manifest['input']): number {
  return Math.max(frameStep(input), windowStep(input));
}

/** From one frame of the input to the next, in samples. */
export function frameStep(input: Manifest['input']): number {
  return input.kind === 'waveform' ? 1 : input.frontend.hop_length;
}

/**
 * The window in force, in seconds: the configured one where the network takes any length.
 * @param configured null: the model's own
 */
export function fullWindowSeconds(
  { manifest: { input }, fixedWindow }: WindowOwner,
  configured: number | null,
): number {
  if (configured === null || fixedWindow) return input.window_seconds;
  return Math.max(configured, input.min_seconds);
}

/** The same in samples at the model's rate, on the grid. */
export function fullWindowSamples(owner: WindowOwner, configured: number | null): number {
  const { input } = owner.manifest;
  const grid = windowGrid(input);
  return Math.floor((fullWindowSeconds(owner, configured) * input.sample_rate) / grid) * grid;
}
