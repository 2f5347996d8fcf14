import { readFile, stat } from 'node:fs/promises';
import { writeOnnx } from '../convert/onnx.js';
import { readOnnx } from '../convert/read-onnx.js';
import type { LeftEdge, StreamPlan } from '../convert/streaming/plan.js';
import { streamInputs } from '../convert/streaming/stream-inputs.js';
import { streamNetwork } from '../convert/streaming/stream-network.js';
import type { Manifest } from '../models/manifest.js';
import { windowGrid } from './full-window.js';
import type { StreamCopy } from './stream-copy.js';

/**
 * Makes the streamed graph of a model's file, and writes it. What is read of the model is let go of with the return.
 * @returns the reason, a sentence, where there is no stream of it. `isLasting`: it will be the same another time.
 */
export async function makeStream(
  model: { manifest: Manifest; onnxPath: string },
  { windowSamples, hopSeconds, leftEdge }: { windowSamples: number; hopSeconds: number; leftEdge: LeftEdge },
  copy: Pick<StreamCopy, 'draft'>,
): Promise<{ plan: StreamPlan; path: string; bytes: number } | { reason: string; isLasting: boolean }> {
  const { input } = model.manifest;
  const { sample_rate: sampleRate } = input;
  const { size } = await stat(model.onnxPath);
  const { graph, opset } = readOnnx(await readFile(model.onnxPath));
  const made = streamNetwork(graph, {
    inputs: await streamInputs(input, { sampleRate, windowSamples }, namesOf(input)),
    windowSamples,
    hopSamples: Math.round(hopSeconds * sampleRate),
    leftEdge,
  });
  if ('reason' in made) return { ...made, isLasting: true };
  const { plan } = made;
  if (plan.gridSamples > hopSeconds * sampleRate) {
    return { reason: `its windows move by ${plan.gridSamples / sampleRate} s at the least`, isLasting: true };
  }
  if (plan.gridSamples % windowGrid(input) !== 0) {
    return { reason: 'its grid does not fit that of the windows', isLasting: true };
  }
  const path = await copy.draft(size);
  if (path === null) {
    return { reason: 'there is too little room on the disk for a second form of it', isLasting: false };
  }
  await writeOnnx(path, { opset, graph: made.graph });
  return { plan, path, bytes: size };
}

function namesOf(input: Manifest['input']): { logMel?: string; waveform?: string } {
  if (input.kind === 'waveform') return { waveform: input.name };
  return input.kind === 'log_mel'
    ? { logMel: input.name }
    : { logMel: input.name, waveform: input.waveform_name };
}
