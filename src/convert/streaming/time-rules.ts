import { integersOf, intOf, intsOf } from '../attributes.js';
import type { Shape } from '../check-shapes.js';
import type { OnnxNode, OnnxTensor } from '../onnx.js';

/** How a node treats the time axis of what it is given. */
export type TimeRule =
  /** Each column of the output is made of the same column of every input; `axis`: where time is in the output. */
  | { kind: 'columnwise'; axis: number }
  /** Each column of the output is made of a few neighbouring columns of its first input: a convolution, a pooling. */
  | ({ kind: 'neighbours' } & TimeWindow);

/** What a convolution or a pooling looks at along the time axis, in columns of its input. */
export interface TimeWindow {
  stride: number;
  /** From the first column of what is looked at to behind the last one. */
  reach: number;
  /** Columns of padding before the first one, and behind the last one. */
  before: number;
  behind: number;
  axis: number;
}

/** What is known of the inputs and outputs of a node. */
export interface NodeFacts {
  /** The time axis of each input; null for those that have none (constants). */
  axes: readonly (number | null)[];
  inputs: readonly (Shape | undefined)[];
  output: Shape | undefined;
  constants: ReadonlyMap<string, OnnxTensor>;
}

const ELEMENTWISE = new Set([
  ...[
    'Relu',
    'Sigmoid',
    'HardSwish',
    'HardSigmoid',
    'Erf',
    'Clip',
    'Cast',
    'Identity',
    'Tanh',
    'Sqrt',
    'LeakyRelu',
  ],
  ...['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Pow', 'BatchNormalization'],
]);

/** The rule of a node; null where it looks at the whole of the time axis, or nobody has said what it does. */
export function timeRule(node: OnnxNode, facts: NodeFacts): TimeRule | null {
  const { axes, inputs, output } = facts;
  const axis = axes[0] ?? axes.find((candidate) => candidate !== null);
  if (axis === undefined || output === undefined) return null;
  if (ELEMENTWISE.has(node.op)) return elementwise(facts, output);
  const [x] = inputs;
  // The others take time from their first input only.
  if (axes[0] == null || x === undefined) return null;
  if (node.op === 'Concat') return concat(node, facts, axis);
  if (axes.slice(1).some((other) => other !== null)) return null;
  switch (node.op) {
    case 'Conv':
    case 'MaxPool':
    case 'AveragePool':
      return neighbours(node, facts, axis);
    case 'MatMul':
      return axis < x.length - 1 && inputs[1]?.length === 2 ? columnwise(axis) : null;
    case 'LayerNormalization':
      return axis < positive(intOf(node, 'axis', -1), x.length) ? columnwise(axis) : null;
    case 'Softmax':
      return positive(intOf(node, 'axis', -1), x.length) !== axis ? columnwise(axis) : null;
    case 'Split':
      return positive(intOf(node, 'axis', 0), x.length) !== axis ? columnwise(axis) : null;
    case 'Transpose':
      return columnwise(intsOf(node, 'perm').indexOf(axis));
    case 'Slice':
      return integersOf(constantAt(node, facts, 3)).some((cut) => positive(cut, x.length) === axis) ||
        constantAt(node, facts, 3) === undefined
        ? null
        : columnwise(axis);
    case 'Gather':
      return gather(node, facts, axis);
    case 'ReduceMean':
    case 'ReduceMax':
      return reduced(intsOf(node, 'axes'), intOf(node, 'keepdims', 1) === 1, x.length, axis);
    case 'ReduceSum':
      return reduced(
        integersOf(constantAt(node, facts, 1)),
        intOf(node, 'keepdims', 1) === 1,
        x.length,
        axis,
      );
    case 'Squeeze':
      return reduced(integersOf(constantAt(node, facts, 1)), false, x.length, axis);
    case 'Reshape':
      return reshape(node, facts, axis);
    default:
      return null;
  }
}

const columnwise = (axis: number): TimeRule => ({ kind: 'columnwise', axis });

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

function constantAt(node: OnnxNode, { constants }: NodeFacts, input: number): OnnxTensor | undefined {
  return constants.get(node.inputs[input] ?? '');
}

/** All timed inputs have time at the same axis, counted from the end; what has no time is the same in every column. */
function elementwise({ axes, inputs }: NodeFacts, output: Shape): TimeRule | null {
  let fromEnd: number | null = null;
  for (const [i, axis] of axes.entries()) {
    if (axis === null) continue;
    const here = axis - (inputs[i]?.length ?? 0);
    if (fromEnd !== null && fromEnd !== here) return null;
    fromEnd = here;
  }
  const along = fromEnd;
  if (along === null) return null;
  const isSame = axes.every(
    (axis, i) => axis !== null || (inputs[i]?.at(along) ?? 1) === 1 || -along > inputs[i]!.length,
  );
  return isSame ? columnwise(output.length + along) : null;
}

function concat(node: OnnxNode, { axes, inputs }: NodeFacts, axis: number): TimeRule | null {
  const joined = positive(intOf(node, 'axis', 0), inputs[0]?.length ?? 0);
  return joined !== axis && axes.every((other) => other === axis) ? columnwise(axis) : null;
}

function neighbours(node: OnnxNode, { inputs }: NodeFacts, axis: number): TimeRule | null {
  const [x, weight] = inputs;
  const at = axis - 2;
  if (x === undefined || at < 0) return null;
  const spatial = x.length - 2;
  const kernel = intsOf(node, 'kernel_shape')[at] ?? weight?.[axis] ?? null;
  if (kernel === null || node.attributes?.auto_pad !== undefined) return null;
  const pads = intsOf(node, 'pads');
  const stride = intsOf(node, 'strides')[at] ?? 1;
  const reach = (intsOf(node, 'dilations')[at] ?? 1) * (kernel - 1) + 1;
  const window = { stride, reach, before: pads[at] ?? 0, behind: pads[at + spatial] ?? 0, axis };
  const isColumnwise = reach === 1 && stride === 1 && window.before === 0 && window.behind === 0;
  return isColumnwise ? columnwise(axis) : { kind: 'neighbours', ...window };
}

/** One place of another axis. */
function gather(node: OnnxNode, { inputs }: NodeFacts, axis: number): TimeRule | null {
  const at = positive(intOf(node, 'axis', 0), inputs[0]?.length ?? 0);
  if (at === axis || inputs[1]?.length !== 0) return null;
  return columnwise(at < axis ? axis - 1 : axis);
}

function reduced(over: readonly number[], keep: boolean, rank: number, axis: number): TimeRule | null {
  const gone = over.map((at) => positive(at, rank));
  if (gone.length === 0 || gone.includes(axis)) return null;
  return columnwise(keep ? axis : axis - gone.filter((at) => at < axis).length);
}

/** Time stays an axis of its own where what is before it and behind it have as many elements as before. */
function reshape(node: OnnxNode, facts: NodeFacts, axis: number): TimeRule | null {
  const { inputs, output } = facts;
  const x = inputs[0];
  const dims = integersOf(constantAt(node, facts, 1));
  if (x === undefined || output === undefined || dims.length === 0) return null;
  const before = product(x.slice(0, axis));
  for (const [at, length] of output.entries()) {
    const isTime = length === x[axis] && product(output.slice(0, at)) === before;
    // A length that is written down would be that of one window.
    const isFree = dims[at] === -1 || (dims[at] === 0 && at === axis);
    if (isTime && isFree && product(output.slice(at + 1)) === product(x.slice(axis + 1)))
      return columnwise(at);
  }
  return null;
}

function product(dims: Shape): number {
  return dims.reduce<number>((total, dim) => total * (dim ?? NaN), 1);
}
