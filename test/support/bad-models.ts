import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeOnnx, type OnnxGraph, type OnnxNode, type OnnxTensor } from '../../src/convert/onnx.js';
import { floats, ints, waveformManifest, waveformToneGraph, writeManifest } from './tone-models.js';

/**
 * Everything a model can do wrong. The kinds that end in `-later` behave until the peak of the window is above
 * `LOUD`, so that a self-test on silence passes. All are variants of the waveform tone detector: 16 kHz, 1 s,
 * three labels.
 */
export const BAD_MODEL_KINDS = [
  /** Not a model at all; the digest fits. */
  'random-bytes',
  /** The first two thirds of a good model; the digest fits the part, so that only loading shows it. */
  'truncated',
  /** A good model, but not the one the manifest speaks of. */
  'wrong-digest',
  /** Four scores for three labels. */
  'wrong-output-width',
  /** The scores have another name than the manifest says. */
  'wrong-output-name',
  'wrong-input-name',
  /** The graph wants [batch, 1, samples]. */
  'wrong-rank',
  'int64-output',
  'nan-output',
  'nan-later',
  /** Scores from 1 to 11. */
  'scores-above-one',
  /** An endless loop in every run. */
  'hang-at-once',
  'hang-later',
  /** The file says that a value between its nodes is larger than any memory. */
  'memory-declared',
  /** Every run asks for `elements` floats, of which the file says nothing. */
  'memory-at-once',
  'memory-later',
  /** The process dies of SIGFPE while the model is loaded; x64 only, see `canCrash`. */
  'crash-in-load',
  /** The process dies of SIGFPE in every run; x64 only. */
  'crash-at-once',
  'crash-later',
  /** Right scores, but each run takes long: `slowTrips` steps of 1 to 3 µs. */
  'slow',
] as const;

export type BadModelKind = (typeof BAD_MODEL_KINDS)[number];

/** Peak of a window, of full scale, above which the `-later` kinds go wrong. */
export const LOUD = 0.25;

/**
 * What kills a process through a graph is the division of the least int64 by -1, which ONNX Runtime 1.30 does
 * not check (it does check for 0): a trap on x64, and simply a number on arm64. Absurd sizes are no way: they
 * throw errors that can be caught.
 */
export const canCrash = process.arch === 'x64';

const LABELS = 3;

interface Variant {
  nodes: OnnxNode[];
  initializers: OnnxTensor[];
}

/** Gives `loud`, bool, []: whether the window's peak is above a level; of -1, always. */
const loudness = (level: number): Variant => ({
  nodes: [
    { op: 'Abs', inputs: ['waveform'], outputs: ['rectified'] },
    { op: 'ReduceMax', inputs: ['rectified'], outputs: ['peak'], attributes: { keepdims: { int: 0 } } },
    { op: 'Greater', inputs: ['peak', 'loud_level'], outputs: ['loud'] },
  ],
  initializers: [floats('loud_level', [], [level])],
});

/** Passes `tone_scores` on as `scores` through a loop that goes on while `go`, `trips` times at most. */
function loop(trips: string, go: string, initializers: OnnxTensor[]): Variant {
  const scores = { type: 'float32', dims: ['batch', LABELS] } as const;
  const body: OnnxGraph = {
    name: 'again',
    inputs: [
      { name: 'trip', type: 'int64', dims: [] },
      { name: 'go_in', type: 'bool', dims: [] },
      { name: 'scores_in', ...scores },
    ],
    outputs: [
      { name: 'go_out', type: 'bool', dims: [] },
      { name: 'scores_out', ...scores },
    ],
    nodes: [
      { op: 'Identity', inputs: ['go_in'], outputs: ['go_out'] },
      { op: 'Abs', inputs: ['scores_in'], outputs: ['scores_out'] },
    ],
    initializers: [],
  };
  const attributes = { body: { graph: body } };
  return {
    nodes: [{ op: 'Loop', inputs: [trips, go, 'tone_scores'], outputs: ['scores'], attributes }],
    initializers,
  };
}

/** Divides the least int64 by 1, or where it is `loud` by -1, for which there is no result. */
const DIVISION: Variant = {
  nodes: [
    { op: 'Where', inputs: ['loud', 'minus_one', 'plus_one'], outputs: ['divisor'] },
    { op: 'Div', inputs: ['least', 'divisor'], outputs: ['quotient'] },
    { op: 'Cast', inputs: ['quotient'], outputs: ['quotient_float'], attributes: { to: { int: 1 } } },
    { op: 'Mul', inputs: ['quotient_float', 'nothing'], outputs: ['trace'] },
    { op: 'Add', inputs: ['tone_scores', 'trace'], outputs: ['scores'] },
  ],
  initializers: [
    floats('nothing', [], [0]),
    ints('least', [-(2 ** 63)], []),
    ints('minus_one', [-1], []),
    ints('plus_one', [1], []),
  ],
};

/** More than any machine has. */
const TOO_MANY = 2 ** 40;

/** Adds 0 times the largest of `shape` zeros to the scores. */
const zerosOf = (shape: string): Variant => ({
  nodes: [
    { op: 'ConstantOfShape', inputs: [shape], outputs: ['zeros'] },
    { op: 'ReduceMax', inputs: ['zeros'], outputs: ['trace'], attributes: { keepdims: { int: 0 } } },
    { op: 'Add', inputs: ['tone_scores', 'trace'], outputs: ['scores'] },
  ],
  initializers: [],
});

/** As many zeros as `elements` where it is `loud`, else one. */
const zerosIfLoud = (elements: number): Variant => ({
  nodes: [{ op: 'Where', inputs: ['loud', 'many', 'single'], outputs: ['shape'] }],
  initializers: [ints('many', [elements], [1]), ints('single', [1], [1])],
});

const TRUE: OnnxTensor = { name: 'true', dims: [], type: 'bool', data: Uint8Array.of(1) };
const NAN = floats('nan', [], [NaN]);

interface Amounts {
  slowTrips: number;
  elements: number;
}

/** Turns the tone detector's `tone_scores` into the `scores` of a bad model. */
function variantOf(kind: BadModelKind, { slowTrips, elements }: Amounts): Variant {
  const join = (...variants: Variant[]): Variant => ({
    nodes: variants.flatMap((variant) => variant.nodes),
    initializers: variants.flatMap((variant) => variant.initializers),
  });
  switch (kind) {
    case 'int64-output':
      return {
        nodes: [{ op: 'Cast', inputs: ['tone_scores'], outputs: ['scores'], attributes: { to: { int: 7 } } }],
        initializers: [],
      };
    case 'nan-output':
      return {
        nodes: [{ op: 'Mul', inputs: ['tone_scores', 'nan'], outputs: ['scores'] }],
        initializers: [NAN],
      };
    case 'nan-later':
      return join(loudness(LOUD), {
        nodes: [{ op: 'Where', inputs: ['loud', 'nan', 'tone_scores'], outputs: ['scores'] }],
        initializers: [NAN],
      });
    case 'scores-above-one':
      return {
        nodes: [
          { op: 'Mul', inputs: ['tone_scores', 'ten'], outputs: ['scaled'] },
          { op: 'Add', inputs: ['scaled', 'shift'], outputs: ['scores'] },
        ],
        initializers: [floats('ten', [], [10]), floats('shift', [], [1])],
      };
    case 'hang-at-once':
      return loop('', 'true', [TRUE]);
    case 'hang-later':
      return join(loudness(LOUD), loop('', 'loud', []));
    case 'slow':
      return loop('trips', 'true', [TRUE, ints('trips', [slowTrips], [])]);
    case 'memory-declared':
      return join({ nodes: [], initializers: [ints('many', [elements], [1])] }, zerosOf('many'));
    case 'memory-at-once':
      return join(loudness(-1), zerosIfLoud(elements), zerosOf('shape'));
    case 'memory-later':
      return join(loudness(LOUD), zerosIfLoud(elements), zerosOf('shape'));
    case 'crash-in-load':
      // Constants alone: the division happens when the graph is optimized.
      return join({ nodes: [], initializers: [{ ...TRUE, name: 'loud' }] }, DIVISION);
    case 'crash-at-once':
      return join(loudness(-1), DIVISION);
    case 'crash-later':
      return join(loudness(LOUD), DIVISION);
    case 'random-bytes':
    case 'truncated':
    case 'wrong-digest':
    case 'wrong-input-name':
    case 'wrong-output-name':
    case 'wrong-output-width':
    case 'wrong-rank':
      return { nodes: [{ op: 'Identity', inputs: ['tone_scores'], outputs: ['scores'] }], initializers: [] };
  }
}

function badGraph(kind: BadModelKind, amounts: Amounts): OnnxGraph {
  const good = waveformToneGraph(kind === 'wrong-output-width' ? LABELS + 1 : LABELS, 'samples');
  const { nodes, initializers } = variantOf(kind, amounts);
  const rename = (node: OnnxNode): OnnxNode => ({
    ...node,
    inputs: node.inputs.map((name) => (kind === 'wrong-input-name' && name === 'waveform' ? 'audio' : name)),
    outputs: node.outputs.map((name) => (name === 'scores' ? 'tone_scores' : name)),
  });
  const graph: OnnxGraph = {
    ...good,
    outputs: good.outputs.map((value) => ({ ...value, type: kind === 'int64-output' ? 'int64' : 'float32' })),
    nodes: [...good.nodes.map(rename), ...nodes],
    initializers: [...good.initializers, ...initializers],
  };
  if (kind === 'wrong-input-name') return { ...graph, inputs: [{ ...graph.inputs[0]!, name: 'audio' }] };
  if (kind === 'wrong-output-name') {
    return {
      ...graph,
      nodes: [
        ...graph.nodes.slice(0, -1),
        { op: 'Identity', inputs: ['tone_scores'], outputs: ['clipwise'] },
      ],
      outputs: [{ ...graph.outputs[0]!, name: 'clipwise' }],
    };
  }
  if (kind === 'wrong-rank') {
    return {
      ...graph,
      inputs: [{ name: 'waveform', type: 'float32', dims: ['batch', 1, 'samples'] }],
      nodes: [{ op: 'Identity', inputs: ['waveform'], outputs: ['channel'] }, ...graph.nodes.slice(1)],
    };
  }
  return graph;
}

/** The network of a bad model, as a file has it; of the kinds whose file is at fault, the good one. */
export function badNetwork(
  kind: BadModelKind,
  { slowTrips = 100_000, elements = TOO_MANY }: Partial<Amounts> = {},
): Buffer {
  return Buffer.concat(encodeOnnx({ opset: 13, graph: badGraph(kind, { slowTrips, elements }) }).parts);
}

/**
 * Installs a bad model into `<dataDir>/models/<id>` (model.json, labels.json, model.onnx), by default under the
 * id `bad-<kind>`. Apart from what is wrong with it, everything about it is right.
 */
export async function installBadModel(
  dataDir: string,
  kind: BadModelKind,
  options: { id?: string } & Partial<Amounts> = {},
): Promise<{ id: string; folder: string }> {
  const id = options.id ?? `bad-${kind}`;
  const folder = join(dataDir, 'models', id);
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'model.onnx');
  let bytes: Uint8Array = badNetwork(kind, options);
  if (kind === 'random-bytes') bytes = randomBytes(20_000);
  if (kind === 'truncated') bytes = bytes.subarray(0, Math.floor((bytes.length * 2) / 3));
  await writeFile(path, bytes);
  const digest = createHash('sha256').update(kind === 'wrong-digest' ? 'another model' : bytes);
  await writeManifest(folder, waveformManifest(id, digest.digest('hex')), LABELS);
  return { id, folder };
}
