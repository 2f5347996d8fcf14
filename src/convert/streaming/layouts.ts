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

/**
 * Where a consumer wants few columns more than are computed, they are computed too, as this share of the others: that is
 * cheaper than to keep them, to cut tensors up for them, and to put them together again. (Measured with MobileNets, Cnn10
 * and Cnn14: from 0.1 to 0.3 the time is the same, and there is less to be kept the higher it is.)
 */
const SPARE = 0.2;

/**
 * The same share for a value that is made, column by column, of one that is not half as wide: the first convolution of an
 * inverted residual block. What it is made of is kept instead. (Measured with MobileNetV2: a hop takes 0.54 in place of 0.71
 * of the whole window's time, and a quarter is kept; from 0.6 to 2 the time is the same.)
 */
const SPARE_OF_WIDE = 1;

interface Demand {
  left: number;
  right: number;
}

/**
 * From the end of the graph to its beginning: what each node needs for what it is to make. Columns that an input gives
 * for nothing are taken from there; of other values they are kept.
 */
export function layouts(
  graph: OnnxGraph,
  analysis: Analysis & { hopSamples: number },
): ReadonlyMap<string, Layout> {
  const { timed, streamed, hopSamples } = analysis;
  const wide = wideValues(graph, analysis);
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
    const more = moreLeft + moreRight;
    const spare = wide.has(name) ? SPARE_OF_WIDE : SPARE;
    const isComputed = isSource || (more <= spare * computed && more + computed <= columns);
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

/** Values that are made, column by column, of one that is not half as wide. */
function wideValues(graph: OnnxGraph, { timed, streamed, shapes }: Analysis): ReadonlySet<string> {
  /** Numbers in a column. */
  const widthOf = (name: string): number =>
    shapes.get(name)!.reduce<number>((width, dim) => width * dim!, 1) / timed.get(name)!.columns;
  /** The least width of what a value is made of, column by column; its own where that is nothing. */
  const least = new Map<string, number>();
  const wide = new Set<string>();
  for (const node of graph.nodes) {
    const inputs = node.inputs.filter((name) => timed.has(name));
    for (const output of streamed.has(node) ? node.outputs : []) {
      const own = widthOf(output);
      // Where several values come together, each would have to be kept.
      const isOfOne = streamed.get(node)!.kind === 'columnwise' && inputs.length === 1;
      const [of = own] = isOfOne ? inputs.map((name) => least.get(name) ?? widthOf(name)) : [];
      least.set(output, Math.min(own, of));
      if (of < own / 2) wide.add(output);
    }
  }
  return wide;
}
