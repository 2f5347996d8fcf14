import { copyFile, link } from 'node:fs/promises';
import { join } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import { licenceOf, type Catalogue, type CatalogueEntry } from '../models/catalogue.js';
import { numberLabels } from '../models/labels.js';
import { manifestSchema, type Manifest } from '../models/manifest.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import { convertInto, type ConvertCheckpoint, type Made } from './conversion.js';
import type { DownloadTuning } from './download.js';
import { AUDIOSET, LABELS_FILE, writeLabels } from './label-sets.js';
import {
  networkName,
  obtainCheckpoint,
  obtainFromAddress,
  type Obtained,
  type SourceSettings,
} from './obtain.js';
import type { InstallOptions } from './progress.js';
import type { PutInPlace } from './put-in-place.js';

/** A ready ONNX network at an address. */
export interface RemoteModel {
  url: string;
  sha256?: string | undefined;
  /** As in model.json; `onnx_sha256` may be left out. */
  manifest: Record<string, unknown>;
  /** Names of its labels, where they are not a set that ships with the program. */
  labels?: readonly string[] | undefined;
}

/** Installs what has to be downloaded first. What was downloaded goes once it is installed. */
export interface Pulls {
  /** A model of the catalogue `known`. `sha256`: that of its checkpoint that somebody vouches for. */
  checkpoint(
    entry: CatalogueEntry,
    known: Catalogue,
    options: InstallOptions & { sha256?: string | undefined },
  ): Promise<InstalledModel>;
  /** A ready network; `draft` is what `readDraft` made of the request. */
  network(remote: RemoteModel, draft: Manifest, options: InstallOptions): Promise<InstalledModel>;
}

export function createPulls(dependencies: {
  registry: Pick<ModelRegistry, 'installedFolder' | 'labelSet'>;
  /** Read anew, for its hosts. */
  catalogue: () => Promise<Catalogue>;
  settings: SourceSettings;
  convert: ConvertCheckpoint;
  putInPlace: PutInPlace;
  tuning: Partial<DownloadTuning> | undefined;
}): Pulls {
  const { registry, catalogue, settings, convert, putInPlace, tuning } = dependencies;

  function obtaining({ onProgress, signal }: InstallOptions, known: Catalogue) {
    return {
      root: registry.installedFolder,
      settings,
      tuning,
      signal,
      catalogue: known,
      onProgress: (done: number, total: number | null) =>
        onProgress?.({ step: 'downloading', share: total === null ? null : done / total, done, total }),
    };
  }

  return {
    async checkpoint(entry, known, options) {
      const { id, architecture } = entry;
      const labels = (await registry.labelSet(entry.labels)).length;
      options.onProgress?.({ step: 'downloading', share: null });
      const file = await obtainCheckpoint(entry, options.sha256, obtaining(options, known));
      const model = await putInPlace(id, options, async (folder) => {
        const wanted = { checkpointPath: file.path, architecture, labels };
        const { made, selfTest } = await convertInto(convert, folder, wanted, options);
        return { manifest: manifestOf(entry, made, file), selfTest };
      });
      await file.discard();
      return model;
    },

    async network(remote, draft, options) {
      const { id } = draft;
      options.onProgress?.({ step: 'downloading', share: null });
      const file = await obtainFromAddress(
        remote.url,
        networkName(id),
        remote.sha256 ?? null,
        obtaining(options, await catalogue()),
      );
      const manifest = { ...draft, onnx_sha256: file.sha256, source: sourceOf(file) };
      const model = await putInPlace(id, options, async (folder) => {
        // A second name for the same bytes, where the file system can do that.
        const onnxPath = join(folder, 'model.onnx');
        await link(file.path, onnxPath).catch(() => copyFile(file.path, onnxPath));
        if (remote.labels !== undefined) {
          await writeLabels(folder, numberLabels(remote.labels, 'the labels of the request'));
        }
        return { manifest };
      });
      await file.discard();
      return model;
    },
  };
}

function sourceOf({ origin, sha256, bytes }: Obtained): Manifest['source'] {
  return { url: origin, sha256, bytes };
}

function manifestOf(entry: CatalogueEntry, made: Made, file: Obtained): Manifest {
  return {
    id: entry.id,
    title: entry.title,
    ...made,
    family: entry.family,
    labels: entry.labels,
    thresholds: null,
    metrics: { audioset_map: entry.audioset_map },
    parameters: entry.parameters,
    macs: entry.macs,
    licence: licenceOf(entry),
    source: sourceOf(file),
  };
}

/**
 * The manifest of a request; the digest in it is that of the file. Throws SoundpostError `invalid_request`.
 */
export function readDraft({ manifest, sha256, labels }: RemoteModel): Manifest {
  const result = manifestSchema.safeParse({
    onnx_sha256: sha256 ?? '0'.repeat(64),
    ...manifest,
    ...(labels === undefined ? {} : { labels: LABELS_FILE }),
    thresholds: null,
  });
  if (!result.success) {
    const lines = result.error.issues
      .slice(0, 8)
      .map(({ path, message }) => `manifest.${path.join('.')}: ${message}`);
    throw new SoundpostError('invalid_request', `${lines.join('; ')}.`);
  }
  if (sha256 !== undefined && result.data.onnx_sha256 !== sha256) {
    throw new SoundpostError('invalid_request', 'manifest.onnx_sha256 and sha256 are both given and differ.');
  }
  if (labels === undefined && result.data.labels.endsWith('.json')) {
    throw new SoundpostError(
      'invalid_request',
      `manifest.labels: a file cannot be sent; name a label set such as ${AUDIOSET}, or send "labels": a list of names.`,
    );
  }
  return result.data;
}
