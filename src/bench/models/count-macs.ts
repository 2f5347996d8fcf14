import { checkShapes, type Shape } from '../../convert/check-shapes.js';
import type { OnnxGraph, OnnxNode } from '../../convert/onnx.js';

/**
 * Multiply-accumulates of the convolutions and matrix products of a graph for one input, as the literature counts
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
    const perOutput = macsPerOutput(
      node,
      node.inputs.map((name) => shapes.get(name)),
    );
    if (perOutput === 0) continue;
    const outputs = elements(shapes.get(node.outputs[0] ?? ''));
    if (perOutput === null || outputs === null) return null;
    total += perOutput * outputs;
  }
  return total;
}

function macsPerOutput({ op }: OnnxNode, [x, weight]: readonly (Shape | undefined)[]): number | null {
  switch (op) {
    case 'Conv':
      return elements(weight?.slice(1));
    case 'Gemm':
    case 'MatMul':
      return x?.at(-1) ?? null;
    default:
      return 0;
  }
}

function elements(shape: Shape | undefined): number | null {
  return shape === undefined
    ? null
    : shape.reduce((product, size) => (product === null || size === null ? null : product * size), 1);
}
