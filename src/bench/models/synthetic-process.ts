/**
 * Writes the network of one architecture with arbitrary weights, and ends, so that its memory goes back. It is
 * forked by synthetic-model.ts and may be killed at any time.
 */
import { failed } from '../../common/failed.js';
import { leaveSignalsToParent } from '../../common/signals.js';
import { findArchitecture } from '../../convert/architectures/index.js';
import { isBuffer } from '../../convert/build-model.js';
import { buildNetwork } from '../../convert/network.js';
import { writeOnnx } from '../../convert/onnx.js';
import { createWeights } from '../../convert/weights.js';
import { createFrontend } from '../../features/frontend.js';
import { countMacs } from '../../convert/count-macs.js';
import type { FromSynthetic, SyntheticJob, SyntheticNetwork } from './synthetic-messages.js';
import { syntheticWeights } from './synthetic-weights.js';

process.title = 'soundpost bench';
leaveSignalsToParent();
process.on('disconnect', () => process.exit(0));

async function write(job: SyntheticJob): Promise<SyntheticNetwork> {
  const architecture = findArchitecture(job.architecture);
  const { input, sampleRate } = architecture;
  const samples = Math.round(job.windowSeconds * sampleRate);
  const frames =
    input.kind === 'waveform' ? 0 : (await createFrontend(input.frontend, sampleRate)).frames(samples);
  const weights = createWeights(syntheticWeights(job.tensors));
  const { model, hasEmbedding, frames: geometry } = buildNetwork(architecture, weights);
  const macs = countMacs(model.graph, { batch: 1, frames, samples });
  const { bytes, sha256 } = await writeOnnx(job.onnxPath, model);
  const parameters = job.tensors
    .filter(({ name }) => !isBuffer(name))
    .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  return { bytes, sha256, parameters, macs, hasEmbedding, frames: geometry };
}

process.on('message', (job: SyntheticJob) => {
  void write(job)
    .then((network): FromSynthetic => ({ kind: 'written', network }))
    .catch(failed)
    .then((reply) => process.send?.(reply, undefined, undefined, () => process.exit(0)));
});
