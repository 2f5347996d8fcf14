import { stat } from 'node:fs/promises';
import { codeOf, messageOf } from '../common/errors.js';
import { megabytes } from '../common/size-text.js';
import { checkDigest } from '../models/digest.js';
import { checkDigests } from '../models/file-digests.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import type { InferenceEngine, StartEngine } from './engine.js';
import { runSelfTest } from './self-test.js';

/** One thing that was looked at. */
export interface VerifyStep {
  name: 'manifest' | 'digest' | 'load' | 'scores' | 'self-test';
  ok: boolean;
  /** What was found, or what is wrong and what to do. */
  detail: string;
  /** The code of the error where `ok` is false. */
  code: string | null;
}

export interface VerifyReport {
  id: string;
  ok: boolean;
  /** In order; the first that fails is the last. */
  steps: VerifyStep[];
}

/**
 * Examines an installed model from its manifest to its scores, in an inference process of its own.
 * @param onStep called as each step is done, for showing progress.
 * @throws nothing about the model: what is wrong with it is in the report. An id that is not installed throws
 * `model_unknown`; a start that is called off throws `aborted`.
 */
export async function verifyModel(
  id: string,
  dependencies: {
    registry: Pick<ModelRegistry, 'get'>;
    startEngine: StartEngine;
    threads?: number;
    signal?: AbortSignal;
    onStep?: (step: VerifyStep) => void;
  },
): Promise<VerifyReport> {
  const { registry, startEngine, threads = 1, signal, onStep } = dependencies;
  const report: VerifyReport = { id, ok: true, steps: [] };

  async function step<T>(
    name: VerifyStep['name'],
    look: () => Promise<{ found: T; detail: string }>,
  ): Promise<T | undefined> {
    if (!report.ok) return undefined;
    let done: VerifyStep;
    let found: T | undefined;
    try {
      const seen = await look();
      found = seen.found;
      done = { name, ok: true, detail: seen.detail, code: null };
    } catch (error) {
      if (['model_unknown', 'aborted'].includes(codeOf(error))) throw error;
      report.ok = false;
      done = { name, ok: false, detail: messageOf(error), code: codeOf(error) };
    }
    report.steps.push(done);
    onStep?.(done);
    return found;
  }

  const model = await step('manifest', async () => {
    const found = await registry.get(id);
    return { found, detail: `${found.manifest.title}, ${found.labels.length} labels` };
  });
  await step('digest', async () => ({ found: true, detail: await describeFile(model!) }));
  const engine = await step('load', async () => {
    const found = await startEngine(model!, { threads, ...(signal === undefined ? {} : { signal }) });
    const detail = `loaded and warmed up in ${Math.round(found.loadMs)} ms${found.fixedWindow ? ', windows of one length only' : ''}`;
    return { found, detail };
  });
  try {
    await step('scores', async () => ({ found: true, detail: await tagSilence(model!, engine!) }));
    await step('self-test', async () => ({ found: true, detail: await describeSelfTest(engine!) }));
  } finally {
    await engine?.stop();
  }
  return report;
}

/** A report in one line: what is wrong, or what was found in order. */
export function summariseReport({ steps }: VerifyReport): string {
  const failed = steps.find(({ ok }) => !ok);
  if (failed !== undefined) return failed.detail;
  const detailOf = (name: VerifyStep['name']) => steps.find((step) => step.name === name)?.detail ?? '';
  const selfTest = steps.some(({ name, detail }) => name === 'self-test' && detail !== NO_SELF_TEST)
    ? ', the same as when it was installed'
    : '';
  return `${detailOf('manifest')}; ${detailOf('load')}; its digest is right, and it gives scores${selfTest}`;
}

const NO_SELF_TEST = 'none came with this model, so only that it works was checked';

/** The digest is compared again by the process that loads the model; here it gets a line of its own. */
async function describeFile({ manifest, onnxPath, folder }: InstalledModel): Promise<string> {
  const digest = await checkDigest(manifest.id, onnxPath, manifest.onnx_sha256);
  const others = await checkDigests(folder);
  const rest =
    others === null
      ? 'its other files have no digests: it was installed by an earlier version or by hand; install it again to have them'
      : `${others} other files as they were installed`;
  return `${megabytes((await stat(onnxPath)).size)}, SHA-256 ${digest}; ${rest}`;
}

async function describeSelfTest(engine: InferenceEngine): Promise<string> {
  const outcome = await runSelfTest(engine);
  if (outcome === null) return NO_SELF_TEST;
  return `the same answer to the test sound as when it was installed (largest difference ${outcome.worst.toExponential(1)})`;
}

async function tagSilence(model: InstalledModel, engine: InferenceEngine): Promise<string> {
  const { sample_rate: rate, window_seconds: seconds } = model.manifest.input;
  const windowSamples = Math.round(seconds * rate);
  const result = await engine.infer({ samples: new Float32Array(windowSamples), reset: true, windowSamples });
  const top = result.scores.reduce((best, score, index, all) => (score > all[best]! ? index : best), 0);
  const ms = (result.featuresMs + result.inferenceMs).toFixed(1);
  return `${result.scores.length} scores for ${seconds} s of silence in ${ms} ms, the highest ${result.scores[top]!.toFixed(3)} (${model.labels[top]!.name})`;
}
