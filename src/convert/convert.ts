import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { askChild } from '../common/ask-child.js';
import { SoundpostError } from '../common/errors.js';
import { firstFinalSeconds, windowStep, type Manifest } from '../models/manifest.js';
import type { Architecture, FrameGeometry } from './architecture.js';
import { findArchitecture } from './architectures/index.js';
import { onnxPathIn, type StageProgress } from './build-model.js';
import { EMBEDDING, FRAMES, LOG_MEL, SCORES, WAVEFORM } from './network.js';
import { fromConversion, type FromConversion, type ToConversion } from './messages.js';
import type { SelfTest } from './self-test.js';

/** How far a conversion is: reading the weights, writing the network, trying it out. */
export type ConversionProgress = StageProgress<'read' | 'write' | 'test'>;

export interface ConversionRequest {
  checkpointPath: string;
  /** As `findArchitecture` knows it. */
  architecture: string;
  /** How many labels there are for the network's classes. */
  labels: number;
  /** Where in the checkpoint the weights are, for instance `ema.weights`; found where left out. */
  stateDict?: string | undefined;
  /** An existing folder; `model.onnx` is written into it. */
  outFolder: string;
  /** Seconds of sound that the network is to be run on; those it was trained with are 10. */
  windowSeconds?: number;
  onProgress?: (progress: ConversionProgress) => void;
  /** Ends the conversion; it then rejects with `aborted`, and `model.onnx` is not there. */
  signal?: AbortSignal;
}

/** A network that was converted, with the parts of its manifest that follow from its architecture. */
export interface Conversion {
  /** Its name as it is written in the literature. */
  architecture: string;
  family: string;
  input: Manifest['input'];
  output: Manifest['output'];
  parameters: number;
  nodes: number;
  onnxPath: string;
  onnxSha256: string;
  bytes: number;
  /** What it says of a test sound on this machine. */
  selfTest: SelfTest;
  /** The most memory that a process of the conversion had, resident. */
  peakBytes: number;
}

const WINDOW_SECONDS = 10;
const PROCESS_FILE = join(import.meta.dirname, 'process.js');

/**
 * Turns a checkpoint into the ONNX file of its network, in processes of its own: one reads and writes, one tries the
 * result out. The caller stays responsive, and the memory goes back.
 *
 * Rejects with SoundpostError `architecture_unknown`; `checkpoint_unreadable`, `checkpoint_forbidden` or
 * `checkpoint_too_large` (see checkpoint/open.ts); `checkpoint_shape` (another architecture); `checkpoint_labels`
 * (other labels); `conversion_failed` (the network does not work, or the file cannot be written); `conversion_died` (a
 * process is gone, mostly for want of memory); `no_resources` (none could be had); `aborted`. Then `model.onnx` is not there.
 */
export async function convertCheckpoint(request: ConversionRequest): Promise<Conversion> {
  const {
    checkpointPath,
    labels,
    outFolder,
    stateDict,
    windowSeconds = WINDOW_SECONDS,
    onProgress,
    signal,
  } = request;
  const architecture = findArchitecture(request.architecture);
  const { name } = architecture;
  const onnxPath = onnxPathIn(outFolder);
  try {
    const built = await askProcess(
      { kind: 'build', request: { checkpointPath, architecture: name, labels, onnxPath, stateDict } },
      'built',
      { signal, onProgress },
    );
    onProgress?.({ stage: 'test', fraction: 0 });
    const tested = await askProcess(
      { kind: 'self-test', request: { architecture: name, onnxPath, windowSeconds, labels } },
      'tested',
      { signal },
    );
    onProgress?.({ stage: 'test', fraction: 1 });
    const { hasEmbedding, frames, parameters, nodes, bytes, sha256 } = built.model;
    return {
      architecture: name,
      family: architecture.family,
      input: manifestInput(architecture, windowSeconds),
      output: manifestOutput(hasEmbedding, frames, windowSeconds),
      parameters,
      nodes,
      onnxPath,
      onnxSha256: sha256,
      bytes,
      selfTest: tested.test,
      peakBytes: Math.max(built.peakBytes, tested.peakBytes),
    };
  } catch (error) {
    await removeModel(onnxPath);
    throw error;
  }
}

/** What a manifest says of the input of an architecture's network, run on windows of so many seconds. */
export function manifestInput(
  architecture: Architecture,
  windowSeconds: number = WINDOW_SECONDS,
): Manifest['input'] {
  const { input, sampleRate, minSamples } = architecture;
  // Hundredths of a second, or what the network's windows are multiples of.
  const unit = Math.max(sampleRate / 100, windowStep(input));
  const common = {
    sample_rate: sampleRate,
    window_seconds: windowSeconds,
    // A tenth of a second is the shortest that there is a point in naming.
    min_seconds: (Math.ceil(Math.max(sampleRate / 10, minSamples) / unit) * unit) / sampleRate,
  };
  switch (input.kind) {
    case 'waveform':
      return { kind: 'waveform', name: WAVEFORM, ...common };
    case 'log_mel':
      return { kind: 'log_mel', name: LOG_MEL, layout: input.layout, frontend: input.frontend, ...common };
    case 'waveform_log_mel':
      return {
        kind: 'waveform_log_mel',
        name: LOG_MEL,
        waveform_name: WAVEFORM,
        layout: input.layout,
        frontend: input.frontend,
        ...common,
      };
  }
}

/**
 * What a manifest says of the outputs of a network, run on windows of so many seconds: nothing of frames where not even
 * one would have all the sound behind it that it needs.
 */
export function manifestOutput(
  hasEmbedding: boolean,
  frames: FrameGeometry | null,
  windowSeconds: number = WINDOW_SECONDS,
): Manifest['output'] {
  const useful = frames !== null && firstFinalSeconds(frames) <= windowSeconds;
  return {
    scores: SCORES,
    activation: 'none',
    embedding: hasEmbedding ? EMBEDDING : null,
    frames: !useful ? null : { name: FRAMES, embedding: null, ...frames },
  };
}

const CONVERTER = 'the process that converts the checkpoint';

type Reply<K extends FromConversion['kind']> = Extract<FromConversion, { kind: K }>;

/** Starts a process for one step and waits for its answer and its end. */
async function askProcess<K extends 'built' | 'tested'>(
  message: ToConversion,
  expected: K,
  options: {
    signal: AbortSignal | undefined;
    onProgress?: ((progress: ConversionProgress) => void) | undefined;
  },
): Promise<Reply<K>> {
  const { signal, onProgress } = options;
  const isAborted = () => signal?.aborted === true;
  const aborted = (): SoundpostError =>
    new SoundpostError('aborted', 'The conversion was called off.', { cause: signal?.reason });
  if (isAborted()) throw aborted();

  const { reply, end } = await askChild(CONVERTER, PROCESS_FILE, message, {
    says: fromConversion,
    signal,
    isReply: (said): said is Exclude<FromConversion, { kind: 'progress' }> => {
      if (said.kind === 'progress') onProgress?.(said.progress);
      return said.kind !== 'progress';
    },
  });
  if (isAborted()) throw aborted();
  if (reply?.kind === expected) return reply as Reply<K>;
  throw reply?.kind === 'failed' ? failed(reply) : died(end);
}

function failed({ code, message }: Reply<'failed'>): SoundpostError {
  if (code !== 'internal') return new SoundpostError(code, message);
  return new SoundpostError('conversion_failed', `the checkpoint could not be converted: ${message}`);
}

function died(reason: string): SoundpostError {
  return new SoundpostError(
    'conversion_died',
    `${CONVERTER} ended (${reason}). Most likely there is not enough memory: it needs up to four times the size of the checkpoint. Stop other programs, or convert on a larger machine and copy the model's folder.`,
  );
}

/** The file, and what a killed process left of it under a temporary name. */
async function removeModel(onnxPath: string): Promise<void> {
  const folder = dirname(onnxPath);
  const files = await readdir(folder).catch((): string[] => []);
  const ours = files.filter((file) => file === basename(onnxPath) || /^model\.onnx\..*\.tmp$/.test(file));
  for (const file of ours) await rm(join(folder, file), { force: true });
}
