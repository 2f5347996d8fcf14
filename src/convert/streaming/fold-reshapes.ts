import { integersOf, intOf } from '../attributes.js';
import { checkShapes, type Shape } from '../check-shapes.js';
import type { OnnxGraph, OnnxNode, OnnxTensor } from '../onnx.js';
import { withLengths, type InputLength } from './with-lengths.js';

/**
 * A graph in which every `Reshape` says its lengths in a constant. Exporters have them computed when the graph runs, from
 * the shape of a value; but of a batch of one only time is open, and that is what is left over.
 */
export function foldReshapes(graph: OnnxGraph, inputs: readonly InputLength[]): OnnxGraph {
  // What differs between windows of different lengths is time.
  const longer = inputs.map((input) => ({ ...input, columns: 2 * input.columns }));
  let folded = graph;
  for (const node of graph.nodes) {
    const [value = '', target = ''] = node.inputs;
    if (node.op !== 'Reshape' || graph.initializers.some(({ name }) => name === target)) continue;
    const [dims, others] = [inputs, longer].map((lengths) => {
      const shapes = checkShapes(withLengths(folded, lengths));
      return resolved(integersFor(target, folded, shapes), shapes.get(value));
    });
    if (dims === undefined || others === undefined) continue;
    const constant = dims.map((dim, axis) => (dim === others[axis] ? dim : -1));
    if (constant.filter((dim) => dim === -1).length > 1) continue;
    folded = withConstantShape(folded, node, constant);
  }
  return folded;
}

function withConstantShape(graph: OnnxGraph, node: OnnxNode, dims: readonly number[]): OnnxGraph {
  const name = `${node.outputs[0] ?? ''} shape`;
  const data = BigInt64Array.from(dims, BigInt);
  const folded = { ...node, inputs: [node.inputs[0] ?? '', name] };
  return {
    ...graph,
    nodes: graph.nodes.map((other) => (other === node ? folded : other)),
    initializers: [...graph.initializers, { name, type: 'int64', dims: [dims.length], data }],
  };
}

/** The lengths that a target of `Reshape` means for a value. */
function resolved(target: readonly number[] | undefined, shape: Shape | undefined): number[] | undefined {
  if (target === undefined || shape === undefined || shape.includes(null)) return undefined;
  const product = (dims: readonly number[]): number => dims.reduce((total, dim) => total * dim, 1);
  const known = target.map((dim, axis) => (dim === 0 ? shape[axis]! : dim));
  const rest = product(shape.map((dim) => dim!)) / product(known.filter((dim) => dim !== -1));
  return known.map((dim) => (dim === -1 ? rest : dim));
}

/** The numbers of a list that is made of shapes and constants. */
function integersFor(
  name: string,
  graph: OnnxGraph,
  shapes: ReadonlyMap<string, Shape>,
): readonly number[] | undefined {
  const constants = new Map(graph.initializers.map((constant) => [constant.name, constant]));
  const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node])));
  const numbers = (value: string, depth: number): readonly number[] | undefined => {
    const constant = constants.get(value);
    if (constant !== undefined) return integersOf(constant);
    const node = makers.get(value);
    if (node === undefined || depth > MAX_DEPTH) return undefined;
    return computed(node, { shapes, constants, numbers: (input) => numbers(input, depth + 1) });
  };
  return numbers(name, 0);
}

/** Longer chains compute no lengths. */
const MAX_DEPTH = 20;

function computed(
  node: OnnxNode,
  known: {
    shapes: ReadonlyMap<string, Shape>;
    constants: ReadonlyMap<string, OnnxTensor>;
    numbers: (value: string) => readonly number[] | undefined;
  },
): readonly number[] | undefined {
  const { shapes, numbers } = known;
  const [first = '', ...others] = node.inputs;
  switch (node.op) {
    case 'Shape': {
      const shape = shapes.get(first)?.slice(intOf(node, 'start', 0), intOf(node, 'end', END));
      return shape?.includes(null) === false ? shape.map((dim) => dim!) : undefined;
    }
    case 'Concat': {
      const parts = node.inputs.map(numbers);
      return parts.includes(undefined) ? undefined : parts.flatMap((part) => part!);
    }
    case 'Slice': {
      const [[from] = [], [to] = [], , [step = 1] = []] = others.map(numbers).map((list) => list ?? []);
      return from === undefined || to === undefined || step !== 1
        ? undefined
        : numbers(first)?.slice(from, to);
    }
    case 'Gather':
      return numbers(others[0] ?? '')?.map((place) => numbers(first)?.at(place) ?? NaN);
    case 'Unsqueeze':
    case 'Squeeze':
    case 'Cast':
    case 'Identity':
      return numbers(first);
    default:
      return undefined;
  }
}

const END = 2 ** 31 - 1;
