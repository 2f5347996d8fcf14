import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { SelfTest } from '../convert/self-test.js';
import type { StartEngine } from '../inference/engine.js';
import { makeSelfTest, runSelfTest, writeSelfTest } from '../inference/self-test.js';
import { writeDigests } from '../models/file-digests.js';
import type { Manifest } from '../models/manifest.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import type { InstallOptions } from './progress.js';
import { installAtomically } from './staging.js';
import type { UpdateLock } from './update-lock.js';

/**
 * Puts a model in place, whole or not at all: has its folder filled, has the model show that it works, and moves the
 * folder to where models are. Throws SoundpostError: what `fill` throws, what is wrong with the model, `aborted`.
 * @param fill puts model.onnx and its labels into the folder, and gives the manifest; `selfTest`: what the network
 * made of the test sound where it was written
 */
export type PutInPlace = (
  id: string,
  options: InstallOptions,
  fill: (folder: string) => Promise<{ manifest: Manifest; selfTest?: SelfTest }>,
) => Promise<InstalledModel>;

export function createPutInPlace(dependencies: {
  registry: Pick<ModelRegistry, 'installedFolder' | 'read' | 'get'>;
  startEngine: StartEngine;
  threads: number;
  updateLock: Pick<UpdateLock, 'during'>;
  log: Logger;
}): PutInPlace {
  const { registry, startEngine, threads, updateLock, log } = dependencies;

  /** Has the model of a folder answer as it should, and leaves its digests beside it. */
  async function check(
    folder: string,
    selfTest: SelfTest | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const staged = await registry.read(folder);
    const engine = await startEngine(staged, { threads, ...(signal === undefined ? {} : { signal }) });
    try {
      // What the converter made of the test sound, the process that will tag has to make of it as well.
      await writeSelfTest(folder, selfTest ?? (await makeSelfTest(engine)));
      await runSelfTest(engine);
    } finally {
      await engine.stop();
    }
    await writeDigests(folder, staged.manifest.onnx_sha256);
  }

  return async (id, { onProgress, signal }, fill) => {
    const fillAndCheck = async (folder: string) => {
      const { manifest, selfTest } = await fill(folder);
      await writeFile(join(folder, 'model.json'), `${JSON.stringify(manifest, null, 2)}\n`);
      onProgress?.({ step: 'verifying', share: null });
      await check(folder, selfTest, signal);
      if (signal?.aborted === true) throw new SoundpostError('aborted', `Installing ${id} was called off.`);
    };
    await updateLock.during(() => installAtomically(registry.installedFolder, id, fillAndCheck), signal);
    log.info({ model: id }, `Installed the model ${id}`);
    return registry.get(id);
  };
}
