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
  };
}
