import type { InstalledModel } from '../models/registry.js';
import type { InfoPayload } from '../mqtt/contract.js';

/** An installed model as `B/info` and the reply to `model/list` name it. */
export function modelSummary({
  manifest,
  labels,
}: InstalledModel): InfoPayload['models']['installed'][number] {
  return {
    id: manifest.id,
    title: manifest.title,
    labels: labels.length,
    audioset_map: manifest.metrics.audioset_map ?? null,
    macs: manifest.macs,
    time_resolution_s: timeResolutionSeconds(manifest),
  };
}

/**
 * How finely a model says when a sound is, in seconds: the length of a frame, or that of a window where it has none.
 * @param windowSeconds of the windows in force; left out: the model's own
 */
export function timeResolutionSeconds(
  { input, output }: InstalledModel['manifest'],
  windowSeconds = input.window_seconds,
): number {
  return output.frames?.hop_seconds ?? windowSeconds;
}
