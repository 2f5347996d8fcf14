import { mkdtemp, rm, stat, statfs } from 'node:fs/promises';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { SoundpostError } from '../../common/errors.js';
import { megabytes } from '../../common/size-text.js';
import { readSmallText } from '../../models/files.js';
import type { Architecture } from '../../convert/architecture.js';
import type { CatalogueEntry } from '../../models/catalogue.js';
import type { InstalledModel } from '../../models/registry.js';
import type { TensorShape } from './architecture-tensors.js';
import { makeSyntheticModel, type LabelSet } from './synthetic-model.js';

/** What is known of a network before it is measured. Null is "not known". */
export interface SubjectFacts {
  id: string;
  title: string;
  family: string;
  architecture: string;
  /** Arbitrary weights: its speed is that of the real one, what it says means nothing. */
  synthetic: boolean;
  published_map: number | null;
  parameters: number | null;
  /** Multiply-accumulates of the network for one window. */
  macs: number | null;
  window_s: number | null;
  sample_rate: number | null;
}

/** Something to be measured: an installed model, or an architecture with synthetic weights. */
export interface Subject {
  readonly facts: SubjectFacts;
  /** Brings the model to the disk; a synthetic one is written now. */
  prepare(signal: AbortSignal): Promise<{ model: InstalledModel; bytes: number }>;
  /** Removes what `prepare` wrote. */
  release(): Promise<void>;
}

export function installedSubject(model: InstalledModel): Subject {
  const { id, title, family, architecture, metrics, parameters, macs, input } = model.manifest;
  return {
    facts: {
      id,
      title,
      family,
      architecture,
      synthetic: false,
      published_map: metrics.audioset_map ?? null,
      parameters,
      macs,
      window_s: input.window_seconds,
      sample_rate: input.sample_rate,
    },
    prepare: async () => ({ model, bytes: (await stat(model.onnxPath)).size }),
    release: () => Promise.resolve(),
  };
}

/**
 * An architecture of the converter with synthetic weights.
 * @param released the checkpoints of the catalogue that are of this architecture; the best published mAP is shown.
 * @param folder where it may write a file as large as the network.
 */
export function syntheticSubject(options: {
  architecture: Architecture;
  tensors: readonly TensorShape[];
  released: readonly CatalogueEntry[];
  labelSet: LabelSet;
  folder: string;
}): Subject {
  const { architecture, tensors, released, folder } = options;
  const { name, family, sampleRate } = architecture;
  const maps = released.flatMap(({ audioset_map: map }) => (map === null ? [] : [map]));
  const facts: SubjectFacts = {
    id: name,
    title: `${name} with synthetic weights`,
    family,
    architecture: name,
    synthetic: true,
    published_map: maps.length === 0 ? null : Math.max(...maps),
    parameters: released[0]?.parameters ?? null,
    macs: released[0]?.macs ?? null,
    window_s: null,
    sample_rate: sampleRate,
  };
  let made: string | undefined;
  return {
    facts,
    async prepare(signal) {
      await checkRoom(name, tensors, folder);
      made = await mkdtemp(join(folder, `${name}-`));
      return makeSyntheticModel({ ...options, folder: made, signal });
    },
    async release() {
      if (made !== undefined) await rm(made, { recursive: true, force: true });
      made = undefined;
    },
  };
}

/** While a network is written its weights are in memory; ONNX Runtime then needs up to three times their size. */
const MEMORY_PER_WEIGHT_BYTES = 3 * 4;

/** @throws SoundpostError `bench_room` where there is not enough disk or memory for a synthetic network. */
async function checkRoom(name: string, tensors: readonly TensorShape[], folder: string): Promise<void> {
  const weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < weights * 4 * 1.1) {
    throw new SoundpostError(
      'bench_room',
      `${name} needs ${megabytes(weights * 4.4)} of disk in ${folder}, and ${megabytes(bavail * bsize)} are free.`,
    );
  }
  const available = await availableMemory();
  if (available < weights * MEMORY_PER_WEIGHT_BYTES) {
    throw new SoundpostError(
      'bench_room',
      `${name} needs about ${megabytes(weights * MEMORY_PER_WEIGHT_BYTES)} of memory, and ${megabytes(available)} are available.`,
    );
  }
}

/** Bytes that programs can have without swapping. */
export async function availableMemory(): Promise<number> {
  const text = await readSmallText('/proc/meminfo', 1 << 16, 'bench_room').catch(() => '');
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(text);
  return match === null ? freemem() : Number(match[1]) * 1024;
}
