import { architectures } from '../convert/architectures/index.js';
import type { CatalogueEntry } from '../models/catalogue.js';
import type { InstalledModel } from '../models/registry.js';

/**
 * What to do about a model that was converted before networks of its architecture could say when a sound is; undefined
 * where it says so, or cannot.
 */
export function staleFramesAdvice(
  { manifest, bundled }: Pick<InstalledModel, 'manifest' | 'bundled'>,
  released: readonly Pick<CatalogueEntry, 'id' | 'architecture'>[],
): string | undefined {
  const { id, architecture, output } = manifest;
  const isConverted = architectures.some(({ name }) => name === architecture);
  // Every architecture has frames now, but for windows too short for even one, which nobody installs.
  if (bundled || output.frames !== null || !isConverted) return undefined;
  const isReleased = released.some((entry) => entry.id === id && entry.architecture === architecture);
  const again = isReleased
    ? `"npx soundpost models remove ${id}" and "npx soundpost models pull ${id}"`
    : `"npx soundpost models remove ${id}", then "npx soundpost models import" with the checkpoint`;
  return `it was installed before ${architecture} could say when a sound is, so its events are as coarse as its window of ${manifest.input.window_seconds} s; for true times install it again: ${again}`;
}
