import { countMacs } from '../count-macs.js';
import type { OnnxGraph } from '../onnx.js';
import { analyse, type Analysis, type StreamInput } from './analyse.js';
import { design } from './choose.js';
import { COSTS, type Costs } from './costs.js';
import { emit, type Emitted } from './emit.js';
import { foldReshapes } from './fold-reshapes.js';
import type { LeftEdge, StreamPlan } from './plan.js';
import { withLengths } from './with-lengths.js';

export type { StreamInput } from './analyse.js';

export interface StreamRequest {
  /** The inputs with a time axis, as they are for a window of `windowSamples` samples. */
  inputs: readonly StreamInput[];
  windowSamples: number;
  /** What the window moves by, on the average. */
  hopSamples: number;
  leftEdge: LeftEdge;
  /** What things are taken to cost, where it is not what was measured. */
  costs?: Costs;
}

/** A network that computes what is new with each hop. */
export interface StreamedNetwork {
  graph: OnnxGraph;
  plan: StreamPlan;
  /** Multiply-accumulates of a window, and of a hop on the average; null where they cannot be told. */
  macs: { whole: number; hop: number } | null;
}

/** Of what the whole window takes, a stream must save so much to be worth its memory. */
const WORTH_IT = 0.75;

/**
 * The same network as a stream: a graph that is given what was kept, and the new columns of its inputs, and gives the
 * outputs of the whole window. Made of the finished graph, whatever built it: an architecture says nothing about streams.
 * @returns the reason, a sentence, where a stream of it would save nothing
 */
export function streamNetwork(
  given: OnnxGraph,
  { inputs, windowSamples, hopSamples, leftEdge, costs = COSTS }: StreamRequest,
): StreamedNetwork | { reason: string } {
  const graph = foldReshapes(given, inputs);
  const options = { inputs, hopSamples, exactLeft: leftEdge === 'exact', costs };
  const designed = design(graph, options);
  const { gridSamples, streamed: streamedNodes } = designed.analysis;
  if (streamedNodes.size === 0) return { reason: reasonOf(graph, designed.analysis) };
  const emitted = emit(graph, designed, inputs);
  const steps = Math.ceil(hopSamples / gridSamples);
  const whole = countMacs(withLengths(graph, inputs), {});
  const hop = meanMacs(emitted, Math.max(1, hopSamples / gridSamples));
  if (emitted.maxHop < steps) return { reason: 'its layers reach as far as the window is long' };
  if (whole !== null && hop !== null && hop > WORTH_IT * whole) {
    return { reason: reasonOf(graph, analyse(graph, options)) };
  }
  const { maxHop, graph: streamed, ...planned } = emitted;
  return {
    graph: streamed,
    plan: {
      gridSamples,
      windowSamples,
      hopSamples: steps * gridSamples,
      maxHopSamples: maxHop * gridSamples,
      ...planned,
    },
    macs: whole === null || hop === null ? null : { whole, hop },
  };
}

/** Of hops that are so many steps of the grid long on the average. */
function meanMacs(emitted: Emitted, steps: number): number | null {
  const [shorter, longer] = [Math.floor(steps), Math.ceil(steps)].map((whole) =>
    countMacs(emitted.graph, lengthsOfHop(emitted, whole)),
  );
  if (shorter == null || longer == null) return null;
  return shorter + (steps - Math.floor(steps)) * (longer - shorter);
}

/** How long the named axes of a streamed graph are in a hop of so many steps of the grid. */
function lengthsOfHop({ inputs, kept }: Emitted, steps: number): Record<string, number> {
  const lengths: Record<string, number> = {};
  for (const { input, head, gap, tail, columnsPerGrid } of inputs) {
    lengths[input] = head + gap + tail + steps * columnsPerGrid;
  }
  for (const { input, columns, columnsPerGrid } of kept) lengths[input] = columns - steps * columnsPerGrid;
  return lengths;
}

/** What keeps a network from being computed column by column, for people. */
function reasonOf(graph: OnnxGraph, { timed, streamed, whole }: Analysis): string {
  const first = graph.nodes.find(
    (node) => !streamed.has(node) && node.inputs.some((name) => timed.has(name) && whole.has(name)),
  );
  const makers = new Map([
    ['ReduceMean', 'a mean over the whole window (squeeze and excitation)'],
    ['GlobalAveragePool', 'a mean over the whole window (squeeze and excitation)'],
    ['ReduceMax', 'a maximum over the whole window'],
    ['Softmax', 'attention over the whole window'],
    ['Conv', 'convolutions that reach as far as the window is long'],
    ['GRU', 'a recurrent layer over the whole window'],
  ]);
  return `most of its layers depend on ${makers.get(first?.op ?? '') ?? `the whole window (${first?.op ?? 'unknown'})`}`;
}
