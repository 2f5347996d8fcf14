import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTemporaries } from '../common/atomic-file.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { openStateStore, type StateStore } from '../config/state-store.js';
import { convertCheckpoint } from '../convert/convert.js';
import { optimizedFolderIn } from '../inference/optimized-copy.js';
import { createStartEngine } from '../inference/start-engine.js';
import { createInstaller, type Installer } from '../install/installer.js';
import { createUpdateLock, updateLockPath, type UpdateLock } from '../install/update-lock.js';
import { BUNDLED_MODEL } from '../models/bundled.js';
import { createRegistry, type InstalledModel, type ModelRegistry } from '../models/registry.js';
import { openDiskOutbox } from '../mqtt/disk-outbox.js';
import type { EventPayload } from '../mqtt/contract.js';
import type { Outbox } from '../mqtt/outbox.js';
import type { Life } from './life.js';
import { logRemembered, safeModeMessage, safeWishes, startingWishes } from './remembered.js';
import type { Wishes } from './remembered.js';

/** What the disk gives to the service: what was set, the models, and the events that wait. */
export interface Disk {
  store: StateStore;
  /** What the service starts with. */
  wishes: Wishes;
  registry: ModelRegistry;
  installer: Installer;
  updateLock: UpdateLock;
  /** Where copies of models that ONNX Runtime has rewritten for this processor lie. */
  optimizedFolder: string;
  /** The bundled model, which stands in for others. */
  fallback: InstalledModel;
  /** The model to start with. */
  wanted: InstalledModel;
  outbox: Outbox;
  /** Has `tell` told of each end that the outbox makes for a sound that was on when an earlier life broke off. */
  onMadeEnd(tell: (event: EventPayload) => void): void;
}

export interface DiskOptions {
  config: Config;
  /** The program's folder, with models/. */
  root: string;
  /** Where balena looks for the update lock; undefined: at its usual place. */
  updateLockPath: string | undefined;
  /** Why this start does without the configured model and what is remembered; null where it does not. */
  safeModeReason: string | null;
  log: Logger;
}

/**
 * Opens what lies on the disk, and clears away what a start before left half done. Throws SoundpostError `data_dir`
 * where the folder cannot be used, and where the bundled model or the outbox cannot.
 */
export async function openDisk(options: DiskOptions, life: Life): Promise<Disk> {
  const { config, log } = options;
  await prepareDataDir(config.data_dir);
  const store = await openStateStore({ dataDir: config.data_dir, log });
  life.onStop(() => store.stop());
  const wishes = wishesOf(options, store);
  const models = openModels(options);
  const { registry, installer } = models;
  await installer.removeLeftovers();
  const fallback = await registry.get(BUNDLED_MODEL);
  const wanted = await registry.get(wishes.modelId).catch((error: unknown) => {
    log.error({ code: codeOf(error) }, `${messageOf(error)} Going on with ${BUNDLED_MODEL}`);
    return fallback;
  });
  const ends = createEndTeller();
  const outbox = await openDiskOutbox({
    onMadeEnd: (event) => ends.tell(event),
    folder: join(config.data_dir, 'outbox'),
    maxBytes: config.mqtt.outbox.max_mb * 1_000_000,
    log,
  });
  life.onStop(() => outbox.close());
  return { store, wishes, ...models, fallback, wanted, outbox, onMadeEnd: (tell) => ends.listen(tell) };
}

/** Keeps ends until somebody listens: the outbox opens before the parts that want to know, or later where the disk hangs. */
function createEndTeller() {
  const early: EventPayload[] = [];
  let tell = (event: EventPayload): void => void early.push(event);
  return {
    tell: (event: EventPayload) => tell(event),
    listen(listener: (event: EventPayload) => void): void {
      tell = listener;
      for (const event of early.splice(0)) listener(event);
    },
  };
}

async function prepareDataDir(dataDir: string): Promise<void> {
  const run = join(dataDir, 'run');
  await mkdir(run, { recursive: true }).catch((error: unknown) => {
    throw new SoundpostError(
      'data_dir',
      `data_dir ${dataDir} cannot be written to (${messageOf(error)}): choose another folder or change its owner`,
    );
  });
  for (const folder of [dataDir, run]) await removeTemporaries(folder);
}

function wishesOf({ config, safeModeReason, log }: DiskOptions, store: StateStore): Wishes {
  if (safeModeReason === null) {
    const wishes = startingWishes(config, store);
    logRemembered(wishes, config, log);
    return wishes;
  }
  log.error({ code: 'safe_mode' }, safeModeMessage(safeModeReason, BUNDLED_MODEL));
  return safeWishes(config, BUNDLED_MODEL);
}

function openModels(
  options: DiskOptions,
): Pick<Disk, 'registry' | 'installer' | 'updateLock' | 'optimizedFolder'> {
  const { config, log } = options;
  const bundledFolder = join(options.root, 'models');
  const registry = createRegistry({ bundledFolder, dataDir: config.data_dir, log });
  const updateLock = createUpdateLock({ path: options.updateLockPath ?? updateLockPath({}), log });
  const optimizedFolder = optimizedFolderIn(config.data_dir);
  const installer = createInstaller({
    registry,
    bundledFolder,
    settings: {
      mirror: config.models.mirror,
      allowedHosts: config.models.allowed_hosts,
      requireDigest: config.models.require_digest,
    },
    convert: convertCheckpoint,
    startEngine: createStartEngine({ log }),
    threads: config.model.threads,
    optimizedFolder,
    updateLock,
    log,
  });
  return { registry, installer, updateLock, optimizedFolder };
}
