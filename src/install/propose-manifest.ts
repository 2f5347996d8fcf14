import { SoundpostError } from '../common/errors.js';
import { didYouMean } from '../common/nearest.js';
import { architectures } from '../convert/architectures/index.js';
import { createFrontend } from '../features/frontend.js';
import type { FrontendSpec, Layout } from '../features/spec.js';
import type { DeclaredValue, Signature } from '../inference/read-signature.js';
import type { Activation, Manifest } from '../models/manifest.js';

/** What whoever imports an ONNX network says of it; the graph tells the rest. */
export interface OnnxFacts {
  sampleRate?: number | undefined;
  windowSeconds?: number | undefined;
  minSeconds?: number | undefined;
  /** A kind of front end (`panns`), or the name of an architecture whose front end it has (`Cnn14_16k`). */
  frontend?: string | undefined;
  layout?: Layout | undefined;
  activation?: Activation | undefined;
  /** The output with the scores, where several could be. */
  scores?: string | undefined;
  /** From one frame to the next, of an output that says when. */
  framesHopSeconds?: number | undefined;
}

type Proposal = Pick<Manifest, 'input' | 'output'>;

/** What is asked for where nobody says otherwise: shorter recordings are tagged as well. */
const MIN_SECONDS = 1;
/** Names that makers give the output with scores, where two outputs are as long as there are labels. */
const USUAL_SCORES = ['scores', 'probs', 'probabilities', 'clipwise_output', 'output', 'logits'];

/**
 * The parts of a manifest that follow from the inputs and outputs of a graph.
 * @param labels how many there are.
 * @throws SoundpostError `onnx_facts`: what cannot be known, each with the flag that gives it; `model_shape`: the graph
 * is no tagger as Soundpost knows them.
 */
export async function proposeManifest(
  signature: Signature,
  labels: number,
  facts: OnnxFacts,
): Promise<Proposal> {
  const output = proposeOutput(signature, labels, facts);
  const missing: string[] = [];
  const input = await proposeInput(signature, facts, missing);
  if (input === undefined || missing.length > 0) {
    throw new SoundpostError(
      'onnx_facts',
      `The graph does not tell ${missing.join('; nor ')}. Inputs: ${describeAll(signature.inputs)}.`,
    );
  }
  return {
    input,
    output: { ...output, frames: proposeFrames(signature, labels, facts, input.window_seconds) },
  };
}

/** How many classes the graph says that it has; undefined where it leaves that open, or has several lengths. */
export function declaredClasses(signature: Signature): number | undefined {
  const lengths = new Set(
    signature.outputs.filter(({ shape }) => shape.length === 2).map(({ shape }) => shape[1]),
  );
  const [only] = lengths;
  return lengths.size === 1 && typeof only === 'number' ? only : undefined;
}

function proposeOutput(
  signature: Signature,
  labels: number,
  facts: OnnxFacts,
): Omit<Proposal['output'], 'frames'> {
  const { outputs } = signature;
  const unfit = (what: string) =>
    new SoundpostError('model_shape', `${what} Outputs: ${describeAll(outputs)}.`);
  const rows = outputs.filter(({ type, shape }) => type === 'float32' && shape.length === 2);
  const fitting = rows.filter(({ shape }) => shape[1] === labels || typeof shape[1] !== 'number');
  const embedding = rows.find(({ name }) => name === 'embedding')?.name ?? null;
  const scores = chooseScores(outputs, fitting, facts.scores);
  if (scores === undefined && fitting.length > 1) {
    const names = fitting.map(({ name }) => name);
    throw unfit(`Several outputs may be the scores: --scores ${names.join(' or --scores ')}.`);
  }
  if (scores === undefined) {
    throw unfit(
      `The network has no output of scores, float32 [batch, ${labels}], for ${labels} labels. Give the labels it was trained with (--labels FILE), or export it with such an output.`,
    );
  }
  return {
    scores,
    activation: facts.activation ?? 'none',
    embedding: embedding === scores ? null : embedding,
  };
}

function chooseScores(
  outputs: readonly DeclaredValue[],
  fitting: readonly DeclaredValue[],
  wanted: string | undefined,
): string | undefined {
  if (wanted !== undefined) {
    if (fitting.some(({ name }) => name === wanted)) return wanted;
    const names = outputs.map(({ name }) => name);
    const meant = names.includes(wanted) ? ' It is not [batch, labels].' : didYouMean(wanted, names);
    throw new SoundpostError('usage', `--scores ${wanted}: no output that could be the scores.${meant}`);
  }
  if (fitting.length === 1) return fitting[0]!.name;
  const sure = fitting.filter(({ shape }) => typeof shape[1] === 'number');
  if (sure.length === 1) return sure[0]!.name;
  return USUAL_SCORES.find((usual) => fitting.some(({ name }) => name === usual));
}

/** An output [batch, frames, labels], where its hop is known: by a flag, or because the number of frames is fixed. */
function proposeFrames(
  { outputs }: Signature,
  labels: number,
  { framesHopSeconds }: OnnxFacts,
  windowSeconds: number,
): Manifest['output']['frames'] {
  const found = outputs.find(
    ({ type, shape }) => type === 'float32' && shape.length === 3 && shape[2] === labels,
  );
  if (found === undefined) {
    if (framesHopSeconds === undefined) return null;
    throw new SoundpostError(
      'usage',
      `--frames-hop: the network has no output with frames, float32 [batch, frames, ${labels}]. Outputs: ${describeAll(outputs)}.`,
    );
  }
  const count = found.shape[1];
  const hop = framesHopSeconds ?? (typeof count === 'number' ? windowSeconds / count : undefined);
  if (hop === undefined) return null;
  return {
    name: found.name,
    embedding: null,
    hop_seconds: hop,
    offset_seconds: 0,
    context_seconds: 0,
    spread_seconds: 0,
    lookback_seconds: 0,
    role: 'scores',
  };
}

async function proposeInput(
  { inputs }: Signature,
  facts: OnnxFacts,
  missing: string[],
): Promise<Proposal['input'] | undefined> {
  const samples = inputs.find(({ type, shape }) => type === 'float32' && shape.length === 2);
  const logMel = inputs.find(({ type, shape }) => type === 'float32' && shape.length === 4);
  if (
    inputs.length !== [samples, logMel].filter((input) => input !== undefined).length ||
    inputs.length === 0
  ) {
    throw new SoundpostError(
      'model_shape',
      `The inputs of the network are ${describeAll(inputs)}. Soundpost feeds samples, float32 [batch, samples], a log-mel, float32 [batch, 1, time, mel] or [batch, 1, mel, time], or both: export the network with such an input.`,
    );
  }
  if (logMel === undefined) return waveformInput(samples!, facts, missing);
  const spectral = await logMelInput(logMel, facts, missing);
  if (spectral === undefined || samples === undefined) return spectral;
  return { ...spectral, kind: 'waveform_log_mel', waveform_name: samples.name };
}

function waveformInput(
  input: DeclaredValue,
  facts: OnnxFacts,
  missing: string[],
): Proposal['input'] | undefined {
  const { sampleRate } = facts;
  const length = input.shape[1];
  if (sampleRate === undefined) missing.push('the sample rate of the sound it takes (--sample-rate HZ)');
  const seconds =
    typeof length === 'number' && sampleRate !== undefined ? length / sampleRate : facts.windowSeconds;
  if (seconds === undefined && typeof length !== 'number') missing.push(NO_WINDOW);
  if (sampleRate === undefined || seconds === undefined) return undefined;
  return {
    kind: 'waveform',
    name: input.name,
    sample_rate: sampleRate,
    ...secondsOf(seconds, typeof length === 'number', facts),
  };
}

const NO_WINDOW = 'how much sound it looks at (--window SECONDS)';

async function logMelInput(
  input: DeclaredValue,
  facts: OnnxFacts,
  missing: string[],
): Promise<Extract<Proposal['input'], { kind: 'log_mel' }> | undefined> {
  const [, , rows, columns] = input.shape;
  const kinds = [...new Set(frontends.map(({ spec }) => spec.kind))].join(', ');
  if (facts.frontend === undefined) {
    missing.push(
      `how its log-mel is computed (--frontend ${kinds.replaceAll(', ', '|')}, or the name of an architecture)`,
    );
    if (typeof rows !== 'number' && typeof columns !== 'number' && facts.windowSeconds === undefined)
      missing.push(NO_WINDOW);
    return undefined;
  }
  const { spec, sampleRate } = chooseFrontend(facts.frontend, facts.sampleRate, [rows, columns]);
  // A graph that leaves the mels open leaves time open as well.
  const isOpen = typeof rows !== 'number' && typeof columns !== 'number';
  const melsOf = (one: Layout) => (one === 'NCTF' ? columns : rows);
  const layouts = (['NCTF', 'NCFT'] as const).filter(
    (one) => (isOpen || melsOf(one) === spec.n_mels) && (facts.layout ?? one) === one,
  );
  const [layout, other] = layouts;
  if (layout === undefined) {
    throw new SoundpostError(
      'model_shape',
      `No axis of the input ${describe(input)} can have the ${spec.n_mels} mels of the front end ${facts.frontend}${facts.layout === undefined ? '' : ` in the layout ${facts.layout}`}.`,
    );
  }
  if (other !== undefined) {
    missing.push('which axis is time (--layout NCTF: batch, 1, time, mel; NCFT: batch, 1, mel, time)');
  }
  const frames = layout === 'NCTF' ? rows : columns;
  const isFixed = typeof frames === 'number';
  const seconds =
    facts.windowSeconds ?? (isFixed ? await secondsOfFrames(spec, sampleRate, frames) : undefined);
  if (seconds === undefined) missing.push(NO_WINDOW);
  if (seconds === undefined || missing.length > 0) return undefined;
  return {
    kind: 'log_mel',
    name: input.name,
    layout,
    frontend: spec,
    sample_rate: sampleRate,
    ...secondsOf(seconds, isFixed, facts),
  };
}

/** The whole hops of sound of which a front end makes so many frames; most make one more than there are hops. */
async function secondsOfFrames(
  spec: FrontendSpec,
  sampleRate: number,
  frames: number,
): Promise<number | undefined> {
  const frontend = await createFrontend(spec, sampleRate);
  const hops = [frames - 1, frames].find((count) => frontend.frames(count * spec.hop_length) === frames);
  return hops === undefined ? undefined : (hops * spec.hop_length) / sampleRate;
}

interface KnownFrontend {
  /** The architecture that has it. */
  name: string;
  sampleRate: number;
  spec: FrontendSpec;
}

const frontends: readonly KnownFrontend[] = architectures.flatMap(({ name, sampleRate, input }) =>
  input.kind === 'waveform' ? [] : [{ name, sampleRate, spec: input.frontend }],
);

/** The front end of that name, with as many mels as an axis of the input has where there are several such. */
function chooseFrontend(
  wanted: string,
  sampleRate: number | undefined,
  axes: readonly (number | string | undefined)[],
): KnownFrontend {
  const named = frontends.filter(
    ({ name, spec }) => spec.kind === wanted || name.toLowerCase() === wanted.toLowerCase(),
  );
  if (named.length === 0) {
    const names = frontends.flatMap(({ name, spec }) => [spec.kind, name]);
    throw new SoundpostError(
      'usage',
      `--frontend ${wanted}: there is no such front end.${didYouMean(wanted, names)} Where the log-mel is of no known kind, export the network with its front end inside.`,
    );
  }
  const atRate = named.filter((one) => sampleRate === undefined || one.sampleRate === sampleRate);
  if (atRate.length === 0) {
    const rates = [...new Set(named.map((one) => one.sampleRate))].join(', ');
    throw new SoundpostError(
      'usage',
      `--sample-rate ${sampleRate}: the front end ${wanted} is for ${rates} Hz.`,
    );
  }
  return atRate.find(({ spec }) => axes.includes(spec.n_mels)) ?? atRate[0]!;
}

/** A graph with a fixed length takes nothing shorter. */
function secondsOf(window: number, isFixed: boolean, { minSeconds }: OnnxFacts) {
  return {
    window_seconds: window,
    min_seconds: isFixed ? window : (minSeconds ?? Math.min(MIN_SECONDS, window)),
  };
}

function describe({ name, type, shape }: DeclaredValue): string {
  return `"${name}" ${type} [${shape.map((size) => (size === '' ? '?' : size)).join(', ')}]`;
}

function describeAll(values: readonly DeclaredValue[]): string {
  return values.map(describe).join(', ') || 'none';
}
