import type { OnnxGraph } from '../onnx.js';
import { analyse, widthOf, type Analysis, type AnalysisOptions } from './analyse.js';
import { arrangements } from './arrangements.js';
import { createEstimate, type Costs } from './costs.js';
import type { Design } from './emit.js';
import { layouts, type Choice } from './layouts.js';

/*
 * A hop may keep the columns that a layer wants of a value, or compute them once more with all that they are made of; it may
 * cut a tensor up to be rid of columns that mean nothing, or carry them on; and from which layer on it computes the whole
 * window is free as well. All of that gives the same numbers. What is cheapest is searched for by estimates of the time.
 */

/** A choice, and what comes of it. */
interface Candidate {
  choice: Choice;
  design: Design;
  /** Of a hop, nanoseconds. */
  cost: number;
}

/** So many columns of zeros are tried between the two ends of what is put together. */
const MAX_GAP = 8;

/** Each round of the search goes through all values once; it ends with the first that finds nothing better. */
const MAX_ROUNDS = 12;

/** So many of the layers from which on all of the window might be computed are looked at closely. */
const CLOSE_LOOKS = 3;

/** What of a graph is computed column by column, and how, so that a hop takes as little time as is found. */
export function design(graph: OnnxGraph, options: AnalysisOptions & { costs: Costs }): Design {
  const all = analyse(graph, options);
  if (all.streamed.size === 0) return search(graph, all, options).design;
  let best = search(graph, all, options);
  const shorter: Candidate[] = [];
  for (const end of ends(graph, all)) {
    const analysis = analyse(graph, { ...options, end });
    // Windows move by steps of the grid: that is not to depend on estimates.
    if (analysis.gridSamples !== all.gridSamples) continue;
    shorter.push(createTrial(graph, analysis, options)(best.choice));
  }
  shorter.sort((one, other) => one.cost - other.cost);
  for (const { choice, design } of shorter.slice(0, CLOSE_LOOKS)) {
    const found = search(graph, design.analysis, options, choice);
    if (found.cost < best.cost) best = found;
  }
  return best.design;
}

/** Places in the list of nodes from which on none might be computed column by column. */
function ends(graph: OnnxGraph, { streamed }: Analysis): number[] {
  return graph.nodes.flatMap((node, i) => (streamed.get(node)?.kind === 'neighbours' ? [i] : []));
}

type Trial = (choice: Choice) => Candidate;

function createTrial(
  graph: OnnxGraph,
  analysis: Analysis,
  { hopSamples, costs }: AnalysisOptions & { costs: Costs },
): Trial {
  const estimate = createEstimate(graph, analysis, { hopSamples, costs });
  return (choice) => {
    const laidOut = layouts(graph, { ...analysis, hopSamples }, choice);
    const arranged = arrangements(graph, analysis, laidOut, choice);
    const design = { analysis, layouts: laidOut, arrangements: arranged, hopSamples, costs };
    return { choice, design, cost: estimate(laidOut, arranged) };
  };
}

/** Goes from one choice to a cheaper one, until no single change is cheaper. */
function search(
  graph: OnnxGraph,
  analysis: Analysis,
  options: AnalysisOptions & { costs: Costs },
  first?: Choice,
): Candidate {
  const trial = createTrial(graph, analysis, options);
  const values = narrowValues(graph, analysis);
  const firsts =
    first === undefined ? [[], values].map((cuts) => ({ cuts: new Set(cuts), gaps: new Map() })) : [first];
  const found = firsts.map((choice) => improved(trial(choice), { trial, values, graph }));
  return found.reduce((best, other) => (other.cost < best.cost ? other : best));
}

function improved(
  begin: Candidate,
  { trial, values, graph }: { trial: Trial; values: readonly string[]; graph: OnnxGraph },
): Candidate {
  let best = begin;
  const attempt = (choice: Choice): void => {
    const candidate = trial(choice);
    if (candidate.cost < best.cost) best = candidate;
  };
  const attemptGaps = (name: string): void => {
    for (let gap = 0; gap <= MAX_GAP; gap += 1) {
      attempt({ ...best.choice, gaps: new Map([...best.choice.gaps, [name, gap]]) });
    }
  };
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const { cost } = best;
    for (const { name } of graph.inputs) attemptGaps(name);
    for (const name of values) {
      const cuts = new Set(best.choice.cuts);
      if (!cuts.delete(name)) cuts.add(name);
      attempt({ ...best.choice, cuts });
      if (best.choice.cuts.has(name)) attemptGaps(name);
    }
    if (best.cost >= cost) break;
  }
  return best;
}

/**
 * Values that are worth being cut up: what a layer takes that looks at several columns, or the narrowest value that this is
 * made of column by column.
 */
function narrowValues(graph: OnnxGraph, analysis: Analysis): string[] {
  const { timed, streamed } = analysis;
  const narrowest = new Map<string, string>();
  const values = new Set<string>();
  for (const node of graph.nodes) {
    const rule = streamed.get(node);
    if (rule === undefined) continue;
    const inputs = node.inputs.filter((name) => timed.has(name));
    if (rule.kind === 'neighbours') {
      for (const name of inputs) values.add(name).add(narrowest.get(name) ?? name);
    }
    for (const output of node.outputs) {
      // Where several values come together, each would have to be kept.
      const isOfOne = rule.kind === 'columnwise' && inputs.length === 1;
      const of = isOfOne ? (narrowest.get(inputs[0]!) ?? inputs[0]!) : output;
      narrowest.set(output, widthOf(analysis, of) < widthOf(analysis, output) ? of : output);
    }
  }
  return [...values];
}
