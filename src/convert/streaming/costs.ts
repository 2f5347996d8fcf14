import { intOf } from '../attributes.js';
import { macsOfNode } from '../count-macs.js';
import type { OnnxGraph, OnnxNode } from '../onnx.js';
import { widthOf, type Analysis } from './analyse.js';
import { columnsOf, type Arrangements } from './arrangements.js';
import type { Layout } from './layouts.js';

/**
 * What a hop is estimated to take, to choose between two ways to the same result: only the proportions matter. Nanoseconds
 * of one x86 core (AVX-512), from ONNX Runtime's own profile of MobileNetV2 in both forms. With single ones of them halved
 * or doubled a hop of MobileNetV2 took 5 % more at the most: many choices are nearly as good.
 */
export interface Costs {
  /** A multiply-accumulate of a convolution or a matrix product. */
  mac: number;
  /** A number that a node reads or writes. */
  number: number;
  /** A number that a convolution makes of a channel by itself; and each row of them, the ends of which are padded. */
  depthwiseNumber: number;
  depthwiseRow: number;
  /** The same for functions that are sums of many terms. */
  functionOfNumber: number;
  /** To cut a tensor up and put it together anew: the nodes for that, and those that change the order of its axes. */
  cut: number;
  /** The same where there is nothing apart at the window's beginning. */
  cutOfEnd: number;
  /** For each number of such a tensor. */
  cutNumber: number;
  /** To hand over what is kept of a small value, and each number that is copied for that. */
  copied: number;
  copiedNumber: number;
  /** To have the graph gather it, for each number, and for each stretch of numbers that lie in one piece. */
  gathered: number;
  gatheredNumber: number;
  gatheredRun: number;
}

export const COSTS: Costs = {
  mac: 0.012,
  number: 0.1,
  depthwiseNumber: 0.2,
  depthwiseRow: 2,
  functionOfNumber: 1,
  cut: 25_000,
  cutOfEnd: 12_000,
  cutNumber: 1.5,
  copied: 10_000,
  copiedNumber: 4,
  gathered: 30_000,
  gatheredNumber: 0.4,
  gatheredRun: 8,
};

/** How much is kept of a value. */
export interface KeptNumbers {
  /** Numbers in a column; `inner`: of them, in one piece. */
  width: number;
  inner: number;
  /** Columns of a window's edge, and of the tail. */
  edge: number;
  tail: number;
  /** Steps of a hop, and the columns in each. */
  steps: number;
  perStep: number;
}

/** @param kept columns of a window's edge, and of the tail */
export function keptNumbers(
  name: string,
  kept: { edge: number; tail: number },
  { analysis, hopSamples }: { analysis: Analysis; hopSamples: number },
): KeptNumbers {
  const { axis, stride } = analysis.timed.get(name)!;
  const behind = analysis.shapes.get(name)!.slice(axis + 1);
  return {
    ...kept,
    width: widthOf(analysis, name),
    inner: behind.reduce<number>((product, dim) => product * dim!, 1),
    steps: hopSamples / analysis.gridSamples,
    perStep: analysis.gridSamples / stride,
  };
}

/** To keep a value by copying it: edges that overlap are copied once. */
export function copiedCost(costs: Costs, { width, edge, tail, steps, perStep }: KeptNumbers): number {
  return costs.copied + costs.copiedNumber * width * (steps * Math.min(edge, perStep) + edge + tail);
}

/** To keep it by nodes of the graph. */
export function gatheredCost(costs: Costs, { width, inner, edge, tail, steps }: KeptNumbers): number {
  const numbers = width * (steps * edge + tail);
  // A tail alone is one piece of what is there: one node of three.
  if (edge === 0) return costs.gathered / 3 + numbers * costs.gatheredNumber;
  return costs.gathered + numbers * (costs.gatheredNumber + costs.gatheredRun / inner);
}

const FUNCTIONS = new Set(['Erf', 'Sigmoid', 'Tanh', 'Softmax', 'Pow', 'Sqrt']);

/** Estimates what a hop takes with what was chosen. */
export function createEstimate(
  graph: OnnxGraph,
  analysis: Analysis,
  { hopSamples, costs }: { hopSamples: number; costs: Costs },
): (layouts: ReadonlyMap<string, Layout>, arrangements: Arrangements) => number {
  const { timed, streamed, shapes, whole } = analysis;
  const numbersOf = (name: string): number =>
    shapes.get(name)?.reduce<number>((product, dim) => product * (dim ?? 1), 1) ?? 0;
  const widths = new Map([...timed.keys()].map((name) => [name, widthOf(analysis, name)]));
  /** Of a node for the whole window. */
  const wholeCost = (node: OnnxNode): number => {
    const [output = ''] = node.outputs;
    if (node.op === 'Conv' && intOf(node, 'group', 1) > 1) {
      const made = numbersOf(output);
      const rows = made / (shapes.get(output)?.at(-1) ?? 1);
      return made * costs.depthwiseNumber + rows * costs.depthwiseRow;
    }
    const perNumber = FUNCTIONS.has(node.op) ? costs.functionOfNumber : costs.number;
    const numbers = [...node.inputs.filter((name) => !analysis.constants.has(name)), ...node.outputs];
    const macs = macsOfNode(node, shapes) ?? 0;
    return macs * costs.mac + perNumber * numbers.reduce((sum, name) => sum + numbersOf(name), 0);
  };
  const perColumn: [name: string, cost: number][] = [];
  let fixed = 0;
  for (const node of graph.nodes) {
    const [output = ''] = node.outputs;
    if (streamed.has(node)) perColumn.push([output, wholeCost(node) / timed.get(output)!.columns]);
    else fixed += wholeCost(node);
  }
  for (const name of whole) fixed += costs.cut + costs.copied + costs.cutNumber * numbersOf(name);
  return (layouts, { made }) => {
    let sum = fixed;
    for (const [name, cost] of perColumn) {
      sum += cost * (columnsOf(made.get(name)![0]!) + hopSamples / timed.get(name)!.stride);
    }
    for (const [name, [, ...anew]] of made) {
      const hop = hopSamples / timed.get(name)!.stride;
      for (const arrangement of anew) {
        const cut = arrangement.left > 0 ? costs.cut : costs.cutOfEnd;
        sum += cut + costs.cutNumber * widths.get(name)! * (columnsOf(arrangement) + hop);
      }
      const { moreLeft = 0, moreRight = 0 } = layouts.get(name) ?? {};
      if (moreLeft + moreRight === 0) continue;
      const numbers = keptNumbers(name, { edge: moreLeft, tail: moreRight }, { analysis, hopSamples });
      sum += Math.min(copiedCost(costs, numbers), gatheredCost(costs, numbers));
    }
    return sum;
  };
}
