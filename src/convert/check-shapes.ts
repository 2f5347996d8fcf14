import { SoundpostError } from '../common/errors.js';
import { integersOf, intOf, intsOf } from './attributes.js';
import { TRANSPOSED } from './graph.js';
import type { OnnxGraph, OnnxNode, OnnxTensor } from './onnx.js';

/** Lengths of a value's axes; null where only a run of the graph would tell. */
export type Shape = readonly (number | null)[];

/**
 * The shapes of all values of a graph, as far as its constants tell them, by name. Data are not looked at.
 *
 * Throws SoundpostError `checkpoint_shape` where a weight does not fit what comes from the layer before it, naming the
 * weight: the graph would only fail when it is loaded, with a message about nodes that nobody knows.
 */
export function checkShapes(graph: OnnxGraph): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>();
  const constants = new Map(graph.initializers.map((constant) => [constant.name, constant]));
  for (const { name, dims } of graph.inputs) {
    shapes.set(
      name,
      dims.map((dim) => (typeof dim === 'number' ? dim : null)),
    );
  }
  for (const { name, dims } of graph.initializers) shapes.set(name, dims);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => shapes.get(name));
    const shape = outputShape(node, inputs, constants);
    if (shape !== undefined) for (const output of node.outputs) shapes.set(output, shape);
  }
  return shapes;
}

type Constants = ReadonlyMap<string, OnnxTensor>;
type Inputs = readonly (Shape | undefined)[];

function outputShape(node: OnnxNode, inputs: Inputs, constants: Constants): Shape | undefined {
  const [x, w] = inputs;
  if (x === undefined) return undefined;
  switch (node.op) {
    case 'Relu':
    case 'Sigmoid':
    case 'HardSwish':
    case 'HardSigmoid':
    case 'LeakyRelu':
    case 'Tanh':
    case 'Sqrt':
    case 'BatchNormalization':
    case 'Erf':
    case 'Clip':
    case 'Softmax':
    case 'Cos':
    case 'Sin':
    case 'Cast':
    case 'Identity':
      return x;
    case 'Conv':
      return w && conv(node, x, w);
    case 'Gemm':
      if (w === undefined) return undefined;
      expectFit(node, w, x.at(-1), w[1]);
      return [x[0] ?? null, w[0] ?? null];
    case 'MatMul':
      return w && matMul(node, x, w);
    case 'GRU':
      return w && gru(node, x, w, inputs[2]);
    case 'LayerNormalization':
      if (w !== undefined) expectFit(node, w, x.at(-1), w[0]);
      return x;
    case 'Add':
    case 'Sub':
    case 'Mul':
    case 'Div':
    case 'Max':
    case 'Min':
    case 'Pow':
      return w && broadcast(node, x, w);
    case 'Split':
      return divide(x, intOf(node, 'axis', 0), node.outputs.length);
    case 'MaxPool':
    case 'AveragePool':
      return [...x.slice(0, 2), ...windows(node, x.slice(2), intsOf(node, 'kernel_shape'))];
    case 'GlobalAveragePool':
      return x.map((dim, axis) => (axis < 2 ? dim : 1));
    case 'Flatten':
      return [x[0] ?? null, product(x.slice(1))];
    case 'Concat':
      return concat(node, inputs);
    case 'Transpose':
      return intsOf(node, 'perm').map((axis) => x[axis] ?? null);
    case 'Gather':
      // One place only.
      return w?.length === 0 ? without(x, [intOf(node, 'axis', 0)], false) : undefined;
    case 'Slice':
      return slice(x, node, constants);
    case 'Reshape':
      return reshape(x, constants.get(node.inputs[1] ?? ''));
    case 'Squeeze':
      return without(x, integersOf(constants.get(node.inputs[1] ?? '')), false);
    case 'Unsqueeze':
      return unsqueeze(x, integersOf(constants.get(node.inputs[1] ?? '')));
    case 'ReduceMean':
    case 'ReduceMax':
    case 'ReduceL2':
      return without(x, intsOf(node, 'axes'), intOf(node, 'keepdims', 1) === 1);
    case 'ReduceSum':
      return without(x, integersOf(constants.get(node.inputs[1] ?? '')), intOf(node, 'keepdims', 1) === 1);
    case 'Shape':
      return [Math.min(intOf(node, 'end', x.length), x.length) - intOf(node, 'start', 0)];
    case 'Range':
      return [null];
    default:
      return undefined;
  }
}

/** The axes before the last two are broadcast. */
function matMul(node: OnnxNode, x: Shape, w: Shape): Shape {
  expectFit(node, w, x.at(-1), w.at(-2));
  const stacked = w.length === 2 ? x.slice(0, -2) : broadcast(node, x.slice(0, -2), w.slice(0, -2));
  return [...stacked, x.at(-2) ?? null, w.at(-1) ?? null];
}

/** [steps, batch, in] → [steps, directions, batch, hidden]; `r` is the recurrent weight. */
function gru(node: OnnxNode, x: Shape, w: Shape, r: Shape | undefined): Shape {
  expectFit(node, w, x.at(-1), w.at(-1));
  return [x[0] ?? null, w[0] ?? null, x[1] ?? null, r?.at(-1) ?? null];
}

function conv(node: OnnxNode, x: Shape, w: Shape): Shape {
  const perGroup = w[1] ?? null;
  expectFit(node, w, x[1], perGroup === null ? null : perGroup * intOf(node, 'group', 1));
  const kernel = w.slice(2).map((size) => size ?? 1);
  return [x[0] ?? null, w[0] ?? null, ...windows(node, x.slice(2), kernel)];
}

/** How many windows of a convolution or a pooling there are along each spatial axis. */
function windows(node: OnnxNode, spatial: Shape, kernel: readonly number[]): Shape {
  const [strides, pads, dilations] = [
    intsOf(node, 'strides'),
    intsOf(node, 'pads'),
    intsOf(node, 'dilations'),
  ];
  const round = intOf(node, 'ceil_mode', 0) === 1 ? Math.ceil : Math.floor;
  return spatial.map((length, axis) => {
    if (length === null) return null;
    const before = pads[axis] ?? 0;
    const padded = before + length + (pads[axis + spatial.length] ?? 0);
    const stride = strides[axis] ?? 1;
    const reach = (dilations[axis] ?? 1) * ((kernel[axis] ?? 1) - 1) + 1;
    const count = round((padded - reach) / stride) + 1;
    // One that would begin in the padding behind the last element is none.
    return round === Math.ceil && (count - 1) * stride >= before + length ? count - 1 : count;
  });
}

function broadcast(node: OnnxNode, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const [left, right] = [a, b].map(
      (shape) => shape.at(axis - rank) ?? (axis < rank - shape.length ? 1 : null),
    );
    if (left === 1) return right!;
    if (right === 1) return left!;
    expectFit(node, b, left, right);
    return left ?? right!;
  });
}

function concat(node: OnnxNode, inputs: Inputs): Shape | undefined {
  const [first] = inputs;
  if (first === undefined || inputs.includes(undefined)) return undefined;
  const at = intOf(node, 'axis', 0);
  const axis = at < 0 ? at + first.length : at;
  const lengths = inputs.map((shape) => shape?.[axis] ?? null);
  const sum = lengths.includes(null) ? null : lengths.reduce<number>((total, length) => total + length!, 0);
  return first.map((dim, i) => (i === axis ? sum : dim));
}

/** One of as many equal parts. */
function divide(x: Shape, axis: number, parts: number): Shape {
  return x.map((dim, i) => (i === axis && dim !== null ? dim / parts : dim));
}

/** Along one axis. */
function slice(x: Shape, node: OnnxNode, constants: Constants): Shape | undefined {
  const [from, to, axis, step = 1] = node.inputs.slice(1).map((name) => integersOf(constants.get(name))[0]);
  if (from === undefined || to === undefined || axis === undefined) return undefined;
  return x.map((dim, i) => {
    if (i !== axis || dim === null) return dim;
    const place = (at: number): number => Math.min(dim, Math.max(0, at < 0 ? at + dim : at));
    return Math.max(0, Math.ceil((place(to) - place(from)) / step));
  });
}

/** With axes of length 1 where the constant says, from the first to the last. */
function unsqueeze(x: Shape, axes: readonly number[]): Shape {
  const result = [...x];
  for (const axis of axes) result.splice(axis, 0, 1);
  return result;
}

function reshape(x: Shape, target: OnnxTensor | undefined): Shape | undefined {
  const dims = integersOf(target);
  if (target === undefined) return undefined;
  const known = dims.map((dim, axis) => (dim === 0 ? (x[axis] ?? null) : dim));
  const total = product(x);
  const rest = product(known.filter((dim) => dim !== -1));
  return known.map((dim) => (dim !== -1 ? dim : total === null || rest === null ? null : total / rest));
}

function without(x: Shape, axes: readonly number[], keep: boolean): Shape {
  const gone = axes.map((axis) => (axis < 0 ? axis + x.length : axis));
  if (keep) return x.map((dim, axis) => (gone.includes(axis) ? 1 : dim));
  return x.filter((_, axis) => !gone.includes(axis));
}

function product(dims: Shape): number | null {
  return dims.reduce((total, dim) => (total === null || dim === null ? null : total * dim), 1);
}

/** `found` is what a weight takes in, `expected` what the layer before it gives. */
function expectFit(node: OnnxNode, weight: Shape, expected?: number | null, found?: number | null): void {
  if (expected == null || found == null || expected === found) return;
  const name = node.inputs[1] ?? node.op;
  // As it is in the checkpoint.
  const shape = name.endsWith(TRANSPOSED) ? [...weight].reverse() : weight;
  throw new SoundpostError(
    'checkpoint_shape',
    `the tensor ${name.replace(TRANSPOSED, '')} has the shape [${shape.join(', ')}] and takes ${found} inputs, but the layer before it gives ${expected}: another architecture?`,
  );
}
