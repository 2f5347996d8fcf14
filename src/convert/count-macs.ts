import { checkShapes, type Shape } from './check-shapes.js';
import type { OnnxGraph, OnnxNode } from './onnx.js';

/**
 * Multiply-accumulates of the convolutions, matrix products and recurrent layers of a graph for one input, as the literature counts
 * them: other operators are not counted.
 * @param lengths what an axis of the inputs that has a name is as long as (`{ batch: 1, frames: 1001 }`).
 * @returns null where the shape of one of them is only known when the graph runs.
 */
export function countMacs(graph: OnnxGraph, lengths: Readonly<Record<string, number>>): number | null {
  const inputs = graph.inputs.map((input) => ({
    ...input,
    dims: input.dims.map((dim) => (typeof dim === 'number' ? dim : (lengths[dim] ?? dim))),
  }));
  const shapes = checkShapes({ ...graph, inputs });
  let total = 0;
  for (const node of graph.nodes) {
    const macs = macsOfNode(node, shapes);
    if (macs === null) return null;
    total += macs;
  }
  return total;
}

/** Those of one node; null where its shapes are not known. */
export function macsOfNode(node: OnnxNode, shapes: ReadonlyMap<string, Shape>): number | null {
  const perOutput = macsPerOutput(
    node,
    node.inputs.map((name) => shapes.get(name)),
  );
  if (perOutput === 0) return 0;
  const outputs = elements(shapes.get(node.outputs[0] ?? ''));
  return perOutput === null || outputs === null ? null : perOutput * outputs;
}

function macsPerOutput(
  { op }: OnnxNode,
  [x, weight, recurrent]: readonly (Shape | undefined)[],
): number | null {
  switch (op) {
    case 'Conv':
      return elements(weight?.slice(1));
    case 'Gemm':
    case 'MatMul':
      return x?.at(-1) ?? null;
    case 'GRU':
      return gru(weight, recurrent);
    default:
      return 0;
  }
}

/** Three gates, each of them from the input and from the state before. */
function gru(weight?: Shape, recurrent?: Shape): number | null {
  const [inputs, hidden] = [weight?.at(-1) ?? null, recurrent?.at(-1) ?? null];
  return inputs === null || hidden === null ? null : 3 * (inputs + hidden);
}

function elements(shape: Shape | undefined): number | null {
  return shape === undefined
    ? null
    : shape.reduce((product, size) => (product === null || size === null ? null : product * size), 1);
}
