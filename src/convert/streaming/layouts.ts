import type { OnnxGraph } from '../onnx.js';
import { leftNeeded, rightNeeded, type Analysis } from './analyse.js';

/**
 * Which columns of a value a run computes, and which more its consumers take from what was kept: `left` ones from the
 * window's beginning on, `right` ones and what is new to its end; `moreLeft` follow the first, `moreRight` come before
 * the others.
 */
export interface Layout {
  left: number;
  right: number;
  moreLeft: number;
  moreRight: number;
}

/** What may be one way or the other with the same result. */
export interface Choice {
  /**
   * Values that are cut up: of these is kept what consumers want more than is new or at an end. Of any other value that is
   * computed as well.
   */
  readonly cuts: ReadonlySet<string>;
  /** Columns of zeros between the two ends where a value is put together, so that the layers behind it fall into step. */
  readonly gaps: ReadonlyMap<string, number>;
}

interface Demand {
  left: number;
  right: number;
}

/** From the end of the graph to its beginning: what each node needs for what it is to make. */
export function layouts(
  graph: OnnxGraph,
  analysis: Analysis & { hopSamples: number },
  { cuts }: Choice,
): ReadonlyMap<string, Layout> {
  const { timed, streamed, hopSamples } = analysis;
  const demands = new Map<string, Demand>();
  const result = new Map<string, Layout>();
  const demand = (name: string, left: number, right: number): void => {
    const { left: l = 0, right: r = 0 } = demands.get(name) ?? {};
    demands.set(name, { left: Math.max(l, left), right: Math.max(r, right) });
  };
  const settle = (name: string): Layout => {
    const { left, right, isSource, columns, stride } = timed.get(name)!;
    const wanted = demands.get(name) ?? { left, right };
    const moreLeft = Math.max(0, wanted.left - left);
    const moreRight = Math.max(0, wanted.right - right);
    const computed = left + hopSamples / stride + right;
    const isComputed = isSource || (!cuts.has(name) && moreLeft + moreRight + computed <= columns);
    const layout = isComputed
      ? { left: left + moreLeft, right: right + moreRight, moreLeft: 0, moreRight: 0 }
      : { left, right, moreLeft, moreRight };
    result.set(name, layout);
    return layout;
  };
  for (const node of [...graph.nodes].reverse()) {
    const rule = streamed.get(node);
    if (rule === undefined) continue;
    for (const output of node.outputs) {
      const { left, right } = settle(output);
      for (const name of node.inputs) {
        const input = timed.get(name);
        if (input === undefined) continue;
        demand(name, leftNeeded(rule, left), rightNeeded(rule, right, input, timed.get(output)!));
      }
    }
  }
  for (const { name } of graph.inputs) if (timed.has(name)) settle(name);
  return result;
}
