import type { CatalogueEntry } from '../models/catalogue.js';
import type { StatePayload } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import { installing, installPayload } from './installs.js';

/** Publishes `B/install/<id>` of the offered models, each where it has changed. */
export interface InstallStates {
  /**
   * @param installed ids of the models that are here
   * @param swap that of `B/state`
   */
  publish(installed: readonly string[], swap: StatePayload['swap']): void;
}

/** @param options.digestRequired whether a checkpoint whose SHA-256 nobody knows is refused */
export function createInstallStates(options: {
  link: Pick<Link, 'publish'>;
  offered: readonly CatalogueEntry[];
  digestRequired: boolean;
}): InstallStates {
  const { link, offered, digestRequired } = options;
  const published = new Map<string, string>();
  return {
    publish(installedIds, swap) {
      const underWay = installing(swap);
      for (const entry of offered) {
        const installed = installedIds.includes(entry.id);
        // What is here is not on its way any more, though the last step may not be over.
        const progress = !installed && underWay?.id === entry.id ? underWay : null;
        const payload = installPayload(entry, { installed, progress }, digestRequired);
        const text = JSON.stringify(payload);
        if (published.get(entry.id) === text) continue;
        published.set(entry.id, text);
        link.publish('install', payload, { id: entry.id });
      }
    },
  };
}
