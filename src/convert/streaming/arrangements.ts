import type { OnnxGraph, OnnxNode } from '../onnx.js';
import { leftNeeded, rightNeeded, type Analysis } from './analyse.js';
import type { Choice, Layout } from './layouts.js';
import type { TimeWindow } from './time-rules.js';

/*
 * How the tensors of a run lie. A value of the streamed graph is one tensor that holds both ends of the window:
 *
 *   [ first columns | nothing | what is new, and the last columns ]
 *
 * A convolution is given what was kept between the two, so that it sees what it would see in the whole window:
 *
 *   [ first columns | kept ones after them | kept ones before what is new | what is new, and the last columns ]
 *
 * and pads the outer ends itself. The columns that it makes of both kinds of kept ones at once mean nothing: they are the
 * "nothing" of its output, a gap that grows from layer to layer, until the tensor is cut up and put together anew.
 */

/** Columns of a tensor: those at the window's beginning, some that mean nothing, and, beside what is new, those at its end. */
export interface Arrangement {
  readonly left: number;
  readonly gap: number;
  readonly right: number;
}

/** What a node is given: of each input with a time axis one of the arrangements that are made of it. */
export interface Given {
  readonly inputs: readonly (Arrangement | null)[];
  /** Columns that the node pads with before the first one. */
  readonly before: number;
}

export interface Arrangements {
  /** Of each value: first as it is computed, then those that are put together of it. */
  readonly made: ReadonlyMap<string, readonly Arrangement[]>;
  readonly given: ReadonlyMap<OnnxNode, Given>;
}

/** All columns but those that are new. */
export function columnsOf({ left, gap, right }: Arrangement): number {
  return left + gap + right;
}

/** How each node's tensors lie, with what was chosen. */
export function arrangements(
  graph: OnnxGraph,
  analysis: Analysis,
  layouts: ReadonlyMap<string, Layout>,
  choice: Choice,
): Arrangements {
  const { timed, streamed } = analysis;
  const made = new Map<string, Arrangement[]>();
  const given = new Map<OnnxNode, Given>();
  for (const { name } of graph.inputs) {
    const layout = layouts.get(name);
    if (layout === undefined) continue;
    const { left, right } = layout;
    made.set(name, [{ left, right, gap: left > 0 ? (choice.gaps.get(name) ?? 0) : 0 }]);
  }
  const facts: Facts = { analysis, layouts, choice, made };
  for (const node of graph.nodes) {
    const rule = streamed.get(node);
    if (rule === undefined) continue;
    const arranged = rule.kind === 'neighbours' ? neighbours(node, rule, facts) : columnwise(node, facts);
    given.set(node, arranged);
    for (const output of node.outputs) {
      const { left, right } = layouts.get(output)!;
      if (timed.has(output)) made.set(output, [{ left, right, gap: arranged.gap }]);
    }
  }
  return { made, given };
}

interface Facts {
  analysis: Analysis;
  layouts: ReadonlyMap<string, Layout>;
  choice: Choice;
  made: ReadonlyMap<string, Arrangement[]>;
}

type Wanted = Omit<Arrangement, 'gap'>;

/** Whether a tensor has all that is wanted, though more may be in it, which becomes part of the gap. */
function has(arrangement: Arrangement, { left, right }: Wanted): boolean {
  return arrangement.left >= left && arrangement.right >= right;
}

/** A tensor of so many columns: one that there is, or another one that is made. */
function arrangedTo(list: Arrangement[], wanted: Wanted, total: number): Arrangement {
  const known = list.find((one) => has(one, wanted) && columnsOf(one) === total);
  if (known !== undefined) return known;
  const arranged = { ...wanted, gap: total - wanted.left - wanted.right };
  list.push(arranged);
  return arranged;
}

/** All inputs lie the same way: where they do not, those that are cut up anyway, or are shorter, are put together anew. */
function columnwise(node: OnnxNode, { layouts, choice, made }: Facts): Given & { gap: number } {
  const { left, right } = layouts.get(node.outputs[0] ?? '')!;
  const wanted = { left, right };
  let total = left + right;
  for (const name of node.inputs) {
    const own = made.get(name)?.[0];
    if (own === undefined) continue;
    if (!choice.cuts.has(name) && has(own, wanted)) total = Math.max(total, columnsOf(own));
  }
  const lists = node.inputs.map((name) => made.get(name));
  if (lists.filter((list) => list !== undefined).length === 1) {
    const at = node.inputs.findIndex((name) => made.has(name));
    const name = node.inputs[at]!;
    const own = made.get(name)![0]!;
    if (left > 0 && (choice.cuts.has(name) || !has(own, wanted))) total += choice.gaps.get(name) ?? 0;
  }
  const inputs = lists.map((list) => (list === undefined ? null : arrangedTo(list, wanted, total)));
  return { inputs, before: 0, gap: total - left - right };
}

function neighbours(
  node: OnnxNode,
  window: TimeWindow & { kind: 'neighbours' },
  facts: Facts,
): Given & { gap: number } {
  const { layouts, choice, made, analysis } = facts;
  const [source = ''] = node.inputs;
  const [output = ''] = node.outputs;
  const list = made.get(source)!;
  const wanted = layouts.get(output)!;
  const { timed } = analysis;
  const left = leftNeeded(window, wanted.left);
  const right = rightNeeded(window, wanted.right, timed.get(source)!, timed.get(output)!);
  const before = left > 0 ? window.before : 0;
  // Behind the gap, columns begin where a step of the convolution does.
  const isAligned = (gap: number): boolean => (left + gap + before) % window.stride === 0;
  const own = list[0]!;
  const ownGap = columnsOf(own) - left - right;
  const isFitting = !choice.cuts.has(source) && has(own, { left, right }) && isAligned(ownGap);
  let gap = isFitting ? ownGap : left > 0 ? (choice.gaps.get(source) ?? 0) : 0;
  while (left > 0 && !isAligned(gap)) gap += 1;
  const input = isFitting ? own : arrangedTo(list, { left, right }, left + gap + right);
  const inputs = node.inputs.map((_, i) => (i === 0 ? input : null));
  return { inputs, before, gap: (left + gap + before) / window.stride - wanted.left };
}
