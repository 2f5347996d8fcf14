import { createFrontend } from '../../features/frontend.js';
import type { FrontendSpec, Layout } from '../../features/spec.js';
import { LOG_MEL, WAVEFORM } from '../value-names.js';
import type { StreamInput } from './analyse.js';

/** What a network is fed with, as a manifest or an architecture says it. */
type NetworkInput =
  { kind: 'waveform' } | { kind: 'log_mel' | 'waveform_log_mel'; layout: Layout; frontend: FrontendSpec };

/**
 * What a network's inputs are for windows of so many samples.
 * @param names of the inputs in the graph, where they are not those that the converter gives them
 */
export async function streamInputs(
  input: NetworkInput,
  { sampleRate, windowSamples }: { sampleRate: number; windowSamples: number },
  names: { logMel?: string; waveform?: string } = {},
): Promise<StreamInput[]> {
  const inputs: StreamInput[] = [];
  if (input.kind !== 'waveform') {
    const frontend = await createFrontend(input.frontend, sampleRate);
    const { first, end } = frontend.interiorFrames(windowSamples);
    const columns = frontend.frames(windowSamples);
    inputs.push({
      name: names.logMel ?? LOG_MEL,
      timeAxis: input.layout === 'NCTF' ? 2 : 3,
      columns,
      strideSamples: frontend.hopLength,
      left: first,
      right: columns - end,
    });
  }
  if (input.kind !== 'log_mel') {
    const name = names.waveform ?? WAVEFORM;
    inputs.push({ name, timeAxis: 1, columns: windowSamples, strideSamples: 1, left: 0, right: 0 });
  }
  return inputs;
}
