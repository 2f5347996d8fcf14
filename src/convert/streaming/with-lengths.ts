import type { OnnxGraph } from '../onnx.js';

/** How long the time axis of an input is. */
export interface InputLength {
  name: string;
  timeAxis: number;
  columns: number;
}

/** The graph for windows of one length, one at a time: every axis of its inputs is a number. */
export function withLengths(graph: OnnxGraph, inputs: readonly InputLength[]): OnnxGraph {
  return {
    ...graph,
    inputs: graph.inputs.map((value) => {
      const input = inputs.find(({ name }) => name === value.name);
      const dims = value.dims.map((dim, axis) => {
        if (axis === input?.timeAxis) return input.columns;
        return typeof dim === 'number' ? dim : 1;
      });
      return { ...value, dims };
    }),
  };
}
