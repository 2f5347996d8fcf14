import { megabytes } from '../common/size-text.js';
import type { CatalogueEntry } from '../models/catalogue.js';
import { licenceOf } from '../models/catalogue.js';
import type { InstallPayload, StatePayload } from '../mqtt/contract.js';

/** Which models of the catalogue Home Assistant may install: these, or every one. */
export type Offer = 'all' | readonly string[];

/** Home Assistant shortens the summary of an update to this. */
const MAX_SUMMARY = 255;
/** Stands for a version where there is none: Home Assistant takes text only, and calls what it cannot compare an update. */
const NOT_INSTALLED = 'not installed';

/** The steps of an installation, and the part of the whole at which each begins and ends, in per cent. */
const steps = new Map<string, readonly [number, number]>([
  ['downloading', [0, 80]],
  ['converting', [80, 95]],
  ['verifying', [95, 100]],
]);

/**
 * The offered models in the order of the catalogue; among the ids that are named, those that it does not have, and
 * those whose checkpoint nobody can fetch from here: it has no address.
 * @param mirrored whether checkpoints come from a mirror, which has no need of their addresses
 */
export function offeredModels(
  offer: Offer,
  catalogue: readonly CatalogueEntry[],
  mirrored: boolean,
): { offered: CatalogueEntry[]; unknown: string[]; unreachable: string[] } {
  const wanted = offer === 'all' ? catalogue : catalogue.filter(({ id }) => offer.includes(id));
  const offered = wanted.filter(({ url }) => mirrored || url !== null);
  if (offer === 'all') return { offered, unknown: [], unreachable: [] };
  const known = new Set(catalogue.map(({ id }) => id));
  return {
    offered,
    unknown: offer.filter((id) => !known.has(id)),
    unreachable: wanted.filter((entry) => !offered.includes(entry)).map(({ id }) => id),
  };
}

/** The model that is being installed, if `swap` of `B/state` tells of an installation. */
export function installing(swap: StatePayload['swap']): { id: string; percentage: number | null } | null {
  const span = steps.get(swap.state);
  if (span === undefined || swap.model === null) return null;
  const [from, to] = span;
  if (swap.progress === null) return { id: swap.model, percentage: from === 0 ? null : from };
  return { id: swap.model, percentage: Math.round(from + (to - from) * swap.progress) };
}

/**
 * What `B/install/<id>` says, in the words of Home Assistant's update entities: every key that it knows and nothing
 * else, and no null but for the percentage, or it throws the message away.
 * @param digestRequired whether a checkpoint whose SHA-256 nobody knows is refused
 */
export function installPayload(
  entry: CatalogueEntry,
  now: { installed: boolean; progress: { percentage: number | null } | null },
  digestRequired: boolean,
): InstallPayload {
  const url = releasePage(entry.url);
  const version = entry.file.replace(/\.(pth?|safetensors|onnx)$/, '');
  return {
    installed_version: now.installed ? version : NOT_INSTALLED,
    latest_version: version,
    title: entry.title,
    release_summary: summary(entry, digestRequired),
    ...(url === null ? {} : { release_url: url }),
    in_progress: now.progress !== null,
    update_percentage: now.progress?.percentage ?? null,
  };
}

function summary(entry: CatalogueEntry, digestRequired: boolean): string {
  const parts = [
    entry.audioset_map === null ? null : `mAP ${entry.audioset_map} on AudioSet`,
    `${megabytes(entry.bytes ?? entry.approximate_bytes)} to download`,
    `${Math.round(entry.macs / 1e6)} million multiplications for 10 s of sound`,
    `licence: ${licenceOf(entry)}`,
    // Pressing the button then only fetches it: somebody has to say that it is trusted.
    digestRequired && entry.sha256 === null
      ? `no SHA-256 known: accept it once with "models pull ${entry.id}"`
      : null,
  ];
  return parts
    .filter((part) => part !== null)
    .join('; ')
    .slice(0, MAX_SUMMARY);
}

/** The page that tells of a checkpoint, where it can be told from its address. */
export function releasePage(address: string | null): string | null {
  if (address === null) return null;
  const page =
    /^https:\/\/zenodo\.org\/records?\/\d+/.exec(address)?.[0] ??
    /^https:\/\/huggingface\.co\/[^/]+\/[^/]+/.exec(address)?.[0];
  if (page !== undefined) return page;
  const release = /^(https:\/\/github\.com\/[^/]+\/[^/]+\/releases)\/download\/([^/]+)\//.exec(address);
  return release === null ? null : `${release[1]}/tag/${release[2]}`;
}
