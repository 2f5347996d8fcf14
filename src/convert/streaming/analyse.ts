import { checkShapes, type Shape } from '../check-shapes.js';
import type { OnnxGraph, OnnxNode, OnnxTensor } from '../onnx.js';
import { withLengths, type InputLength } from './with-lengths.js';
import { timeRule, type TimeRule, type TimeWindow } from './time-rules.js';

/*
 * Which values of a network have a time axis, and which of their columns are the same whatever window they are in.
 *
 * A column of a value is made of some stretch of the input. Where that stretch lies within the window, the column is the
 * same in every window that it lies in: it is computed once. The columns at either end of the window depend on where the
 * window ends, since every layer pads there with zeros of its own: those are computed for each window. So a value of
 * `columns` columns has `left` of the one kind at its beginning, `right` at its end, and kept ones between.
 */

/** What is known of an input of the network. */
export interface StreamInput extends InputLength {
  /** From one column to the next. */
  strideSamples: number;
  /** How many columns at the window's beginning and end depend on where it begins and ends (padding by reflection). */
  left: number;
  right: number;
}

/** A value with a time axis, of which single columns can be computed. */
export interface Timed {
  axis: number;
  /** From one column to the next, in samples of the network's input. */
  stride: number;
  /** In the whole window. */
  columns: number;
  /** Columns at the window's beginning that are computed for each window. */
  left: number;
  /** The same at its end. */
  right: number;
  /** Made of an input column by column: more of its columns cost nothing worth keeping. */
  isSource: boolean;
}

export interface Analysis {
  shapes: ReadonlyMap<string, Shape>;
  constants: ReadonlyMap<string, OnnxTensor>;
  /** Values whose columns are computed one by one. */
  timed: ReadonlyMap<string, Timed>;
  /** The nodes that make them, each with its rule; all others are computed for the whole window. */
  streamed: ReadonlyMap<OnnxNode, TimeRule>;
  /** Values with single columns that a node for the whole window, or somebody outside, takes. */
  whole: ReadonlySet<string>;
  /** Windows move by multiples of so many samples. */
  gridSamples: number;
}

export interface AnalysisOptions {
  inputs: readonly StreamInput[];
  /** What a window usually moves by, in samples: where less than that would be kept, nothing is. */
  hopSamples: number;
  /** Columns at the window's beginning are those of that window; else those of the stream, which are never computed anew. */
  exactLeft: boolean;
  /** From the node at this place on, all are computed for the whole window; none has to be where it is left out. */
  end?: number;
}

/** Of a window's columns, so many at the least are kept where a value is worth to be kept. */
const MIN_KEPT = 0.1;

/** Rounds after which the outcome stays as it is; each makes more values whole, so that there is an end. */
const MAX_ROUNDS = 20;

/** Numbers in a column of a value. */
export function widthOf({ shapes, timed }: Pick<Analysis, 'shapes' | 'timed'>, name: string): number {
  return shapes.get(name)!.reduce<number>((width, dim) => width * dim!, 1) / timed.get(name)!.columns;
}

/** What of a graph can be computed column by column. */
export function analyse(graph: OnnxGraph, options: AnalysisOptions): Analysis {
  const shapes = checkShapes(withLengths(graph, options.inputs));
  const constants = new Map(graph.initializers.map((constant) => [constant.name, constant]));
  let whole: ReadonlySet<string> = new Set();
  let gridSamples = 1;
  for (let round = 0; ; round += 1) {
    const found = forward(graph, { ...options, shapes, constants, whole, gridSamples });
    const isSettled =
      found.gridSamples === gridSamples &&
      [...whole].sort().join('\n') === [...found.whole].sort().join('\n');
    ({ whole, gridSamples } = found);
    if (isSettled || round === MAX_ROUNDS) return { shapes, constants, ...found };
  }
}

interface Round extends AnalysisOptions {
  shapes: ReadonlyMap<string, Shape>;
  constants: ReadonlyMap<string, OnnxTensor>;
  /** What the round before found to be taken whole. */
  whole: ReadonlySet<string>;
  gridSamples: number;
}

function forward(
  graph: OnnxGraph,
  round: Round,
): Pick<Analysis, 'timed' | 'streamed' | 'whole' | 'gridSamples'> {
  const timed = new Map<string, Timed>();
  const streamed = new Map<OnnxNode, TimeRule>();
  const whole = new Set<string>();
  for (const input of round.inputs) {
    timed.set(input.name, {
      axis: input.timeAxis,
      stride: input.strideSamples,
      columns: input.columns,
      left: round.exactLeft ? input.left : 0,
      right: input.right,
      isSource: true,
    });
  }
  for (const [place, node] of graph.nodes.entries()) {
    const inputs = node.inputs.map((name) => timed.get(name) ?? null);
    if (inputs.every((input) => input === null)) continue;
    const made = place < (round.end ?? Infinity) ? columnsOf(node, inputs, round) : null;
    if (made === null) {
      for (const name of node.inputs) if (timed.has(name)) whole.add(name);
      continue;
    }
    streamed.set(node, made.rule);
    for (const output of node.outputs) timed.set(output, made.value);
  }
  for (const { name } of graph.outputs) if (timed.has(name)) whole.add(name);
  const strides = [...streamed.keys()].flatMap(({ inputs, outputs }) =>
    [...inputs, ...outputs].flatMap((name) => timed.get(name)?.stride ?? []),
  );
  return { timed, streamed, whole, gridSamples: strides.reduce(leastCommonMultiple, 1) };
}

/** What a node makes of single columns; null where it has to be given the whole window. */
function columnsOf(
  node: OnnxNode,
  inputs: readonly (Timed | null)[],
  round: Round,
): { rule: TimeRule; value: Timed } | null {
  const { shapes, constants, whole } = round;
  const output = shapes.get(node.outputs[0] ?? '');
  const hasOthers = node.inputs.some((name, i) => name !== '' && inputs[i] === null && !constants.has(name));
  const isTakenWhole = node.inputs.some((name) => whole.has(name));
  // Of what is put together for others anyway, only large sums are worth being computed by columns.
  if (hasOthers || (isTakenWhole && node.op !== 'Conv' && node.op !== 'MatMul')) return null;
  const rule = timeRule(node, {
    axes: inputs.map((input) => input?.axis ?? null),
    inputs: node.inputs.map((name) => shapes.get(name)),
    output,
    constants,
  });
  const columns = rule && output?.[rule.axis];
  if (rule === null || columns == null) return null;
  const sources = inputs.filter((input) => input !== null);
  const value =
    rule.kind === 'columnwise' ? joined(sources, rule.axis) : neighbouring(sources[0]!, rule, columns, round);
  return value?.columns === columns && isWorthIt(value, sources, rule, round) ? { rule, value } : null;
}

/** Columns of several values side by side: kept where all of them are. */
function joined(inputs: readonly Timed[], axis: number): Timed | null {
  const [{ stride, columns }] = inputs as [Timed];
  if (inputs.some((input) => input.stride !== stride || input.columns !== columns)) return null;
  return {
    axis,
    stride,
    columns,
    left: Math.max(...inputs.map(({ left }) => left)),
    right: Math.max(...inputs.map(({ right }) => right)),
    isSource: inputs.every(({ isSource }) => isSource),
  };
}

function neighbouring(input: Timed, window: TimeWindow, columns: number, { exactLeft }: Round): Timed {
  const { stride, reach, before, axis } = window;
  const keptEnd = Math.floor((input.columns - input.right + before - reach) / stride) + 1;
  return {
    axis,
    stride: input.stride * stride,
    columns,
    left: exactLeft ? Math.ceil((input.left + before) / stride) : 0,
    right: columns - Math.min(columns, keptEnd),
    isSource: false,
  };
}

/**
 * How many columns at the window's beginning a node has to be given for its first `left` ones.
 * @param left of its output
 */
export function leftNeeded(rule: TimeRule, left: number): number {
  if (rule.kind === 'columnwise' || left === 0) return left;
  return (left - 1) * rule.stride - rule.before + rule.reach;
}

/**
 * How far from the window's end what a node has to be given begins, beside what is new, in columns of its input.
 * @param right of its output
 */
export function rightNeeded(rule: TimeRule, right: number, input: Timed, output: Timed): number {
  if (rule.kind === 'columnwise') return right;
  return input.columns - ((output.columns - right) * rule.stride - rule.before);
}

/** What is kept from hop to hop is more than what is not; and what a hop takes of it was there before the hop began. */
function isWorthIt(
  value: Timed,
  inputs: readonly Timed[],
  rule: TimeRule,
  { hopSamples, gridSamples }: Round,
): boolean {
  const grid = Math.max(gridSamples, ...inputs.map(({ stride }) => stride), value.stride);
  const hop = Math.ceil(hopSamples / grid) * grid;
  const isKept = ({ columns, right, stride }: Timed, left: number): boolean =>
    columns - left - right - hop / stride >= MIN_KEPT * columns;
  const needed = leftNeeded(rule, value.left);
  return isKept(value, value.left) && inputs.every((input) => input.isSource || isKept(input, needed));
}

function leastCommonMultiple(a: number, b: number): number {
  const divisor = (x: number, y: number): number => (y === 0 ? x : divisor(y, x % y));
  return (a / divisor(a, b)) * b;
}
