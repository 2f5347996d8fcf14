import { intsOf } from '../attributes.js';
import type { OnnxAttribute, OnnxGraph, OnnxNode } from '../onnx.js';
import { leftNeeded, rightNeeded, type Analysis, type StreamInput, type Timed } from './analyse.js';
import { GraphWriter } from './graph-writer.js';
import { layouts, type Layout } from './layouts.js';
import type { PlannedEdge, PlannedInput, PlannedKept, PlannedTail } from './plan.js';
import type { TimeWindow } from './time-rules.js';

/*
 * A value of the streamed graph is one tensor that holds both ends of the window:
 *
 *   [ first columns | nothing | what is new, and the last columns ]
 *
 * A convolution is given what was kept between the two, so that it sees what it would see in the whole window:
 *
 *   [ first columns | kept ones after them | kept ones before what is new | what is new, and the last columns ]
 *
 * and pads the outer ends itself. The columns that it makes of both kinds of kept ones at once mean nothing: they are the
 * "nothing" of its output, and are cut out before the next convolution. So each layer reads its weights once.
 */

/** A value's tensor in the streamed graph. */
interface Piece {
  name: string;
  timed: Timed;
  layout: Layout;
  /** Columns that mean nothing, between its two ends. */
  gap: number;
  /** All of the value's axes, of the whole window. */
  dims: readonly number[];
  /** What was kept of it, where something is: the columns after its first ones, and those before what is new. */
  edge: string | null;
  tail: { name: string; columns: number } | null;
  /** Tensors that were put together for one consumer, for the next that wants the same. */
  arranged: Map<string, string>;
}

/** The columns that a consumer wants of a value: the same as in a piece. */
interface Wanted {
  left: number;
  right: number;
  gap: number;
}

export interface Emitted {
  graph: OnnxGraph;
  inputs: PlannedInput[];
  tails: PlannedTail[];
  edges: PlannedEdge[];
  kept: PlannedKept[];
  /** In steps of the grid. */
  maxHop: number;
}

/** Writes the streamed graph of what has been found out about a graph. */
export function emit(
  graph: OnnxGraph,
  analysis: Analysis,
  streamInputs: readonly StreamInput[],
  hopSamples: number,
): Emitted {
  return new Emitter(graph, analysis, hopSamples).run(streamInputs);
}

class Emitter {
  private readonly writer: GraphWriter;
  private readonly layouts: ReadonlyMap<string, Layout>;
  private readonly pieces = new Map<string, Piece>();
  private readonly inputs: PlannedInput[] = [];
  private readonly tails: PlannedTail[] = [];
  private readonly edges: PlannedEdge[] = [];
  private readonly kept: PlannedKept[] = [];
  private maxHop = Infinity;

  constructor(
    private readonly graph: OnnxGraph,
    private readonly analysis: Analysis,
    hopSamples: number,
  ) {
    this.writer = new GraphWriter(analysis.constants);
    this.layouts = layouts(graph, { ...analysis, hopSamples });
  }

  run(streamInputs: readonly StreamInput[]): Emitted {
    const { analysis, graph, writer } = this;
    for (const input of streamInputs) this.readInput(input);
    for (const node of graph.nodes) {
      if (analysis.streamed.has(node)) this.stream(node);
      else writer.copy(node);
    }
    for (const { name, dims } of graph.outputs) {
      writer.output(
        name,
        dims.map((dim) => (dim === 'batch' ? 1 : dim)),
      );
    }
    const { inputs, tails, edges, kept } = this;
    this.writeOutputs();
    return {
      graph: writer.finish(`${graph.name} streamed`),
      inputs,
      tails,
      edges,
      kept,
      maxHop: this.maxHop,
    };
  }

  private writeOutputs(): void {
    for (const { output, dims } of this.tails) this.writer.output(output, dims);
    for (const { output, dims } of this.edges) this.writer.output(output, ['steps', ...dims]);
    for (const { output, dims } of this.kept) this.writer.output(output, [`${output} columns`, ...dims]);
  }

  /** The columns of a value within one step of the grid. */
  private perGrid({ stride }: Timed): number {
    return this.analysis.gridSamples / stride;
  }

  private readInput({ name, timeAxis, columns, left }: StreamInput): void {
    const timed = this.analysis.timed.get(name)!;
    const layout = this.layouts.get(name)!;
    const dims = this.dimsOf(name);
    const withLength = (length: number | string): (number | string)[] =>
      dims.map((dim, axis) => (axis === timeAxis ? length : dim));
    const tail = this.writer.input(`${name} tail`, withLength(`${name} tail`));
    const head = layout.left > 0 ? this.writer.input(`${name} head`, withLength(layout.left)) : null;
    const joined = head === null ? tail : this.writer.concat([head, tail], timeAxis);
    this.inputs.push({
      name,
      timeAxis,
      columns,
      columnsPerGrid: this.perGrid(timed),
      head: head === null ? null : { name: head, columns: layout.left },
      tail: { name: tail, columns: layout.right },
    });
    // What is before the window, and what is of this window alone at its beginning, must not get into the stream.
    if (head === null) this.limitHop(Math.floor((columns - layout.right - left) / this.perGrid(timed)));
    this.add(name, joined, 0);
  }

  private dimsOf(name: string): number[] {
    return this.analysis.shapes.get(name)!.map((dim) => dim!);
  }

  private stream(node: OnnxNode): void {
    const rule = this.analysis.streamed.get(node)!;
    const [output = ''] = node.outputs;
    const made = this.layouts.get(output)!;
    if (rule.kind === 'neighbours') this.neighbours(node, rule, made);
    else this.columnwise(node, made);
  }

  private columnwise(node: OnnxNode, { left, right }: Layout): void {
    const sources = node.inputs.map((name) => this.pieces.get(name));
    const fitting = sources.filter(
      (piece) => piece !== undefined && piece.layout.left === left && piece.layout.right === right,
    );
    // Where inputs differ, the shorter ones are put together anew.
    const gap = Math.max(0, ...fitting.map((piece) => piece!.gap));
    const inputs = node.inputs.map((name, i) => {
      const piece = sources[i];
      return piece === undefined ? name : this.arrange(piece, { left, right, gap });
    });
    const outputs = node.outputs.map(pieceName);
    this.writer.copy({ ...node, inputs, outputs });
    for (const [i, output] of node.outputs.entries()) this.add(output, outputs[i]!, gap);
  }

  private neighbours(node: OnnxNode, window: { kind: 'neighbours' } & TimeWindow, made: Layout): void {
    const [source = '', ...constants] = node.inputs;
    const [output = ''] = node.outputs;
    const piece = this.pieces.get(source)!;
    const left = leftNeeded(window, made.left);
    const right = rightNeeded(window, made.right, piece.timed, this.analysis.timed.get(output)!);
    const before = left > 0 ? window.before : 0;
    // Behind the gap, columns begin where a step of the convolution does.
    const isAligned = (gap: number): boolean => (left + gap + before) % window.stride === 0;
    const isFitting = piece.layout.left === left && piece.layout.right === right && isAligned(piece.gap);
    let gap = isFitting ? piece.gap : 0;
    while (left > 0 && !isAligned(gap)) gap += 1;
    const input = this.arrange(piece, { left, right, gap });
    const name = pieceName(output);
    this.writer.copy({
      ...node,
      inputs: [input, ...constants],
      outputs: [name],
      attributes: { ...node.attributes, ...paddedBefore(node, window.axis - 2, before) },
    });
    this.add(output, name, (left + gap + before) / window.stride - made.left);
  }

  /** A new value: what the next hop needs of it is kept, and where the whole window is wanted, that is put together. */
  private add(value: string, name: string, gap: number): void {
    const timed = this.analysis.timed.get(value)!;
    const layout = this.layouts.get(value)!;
    const piece: Piece = {
      name,
      timed,
      layout,
      gap,
      dims: this.dimsOf(value),
      edge: null,
      tail: null,
      arranged: new Map(),
    };
    this.pieces.set(value, piece);
    if (layout.moreLeft > 0 || layout.moreRight > 0) this.keep(value, piece);
    if (this.analysis.whole.has(value)) this.putTogether(value, piece);
  }

  private keep(value: string, piece: Piece): void {
    const { writer } = this;
    const { timed, layout, dims } = piece;
    const { axis, columns } = timed;
    const { left, right, moreLeft, moreRight } = layout;
    const step = this.perGrid(timed);
    // Where the first of a window's kept columns lie, from where the new ones begin; before that, where negative.
    const end = modulo(left + moreLeft - (columns - right) - 1, step) + 1;
    const begin = end - moreLeft;
    const tailColumns = Math.max(moreRight, moreLeft > 0 ? -begin : 0);
    const newest = this.newest(piece);
    let longer = newest;
    if (tailColumns > 0) {
      const tailDims = dims.map((dim, at) => (at === axis ? tailColumns : dim));
      const input = writer.input(`${value} tail`, tailDims);
      const output = `${value} next tail`;
      longer = writer.concat([input, newest], axis);
      const to = right > 0 ? -right : undefined;
      writer.slice(longer, axis, { from: -right - tailColumns, ...(to === undefined ? {} : { to }) }, output);
      this.tails.push({ input, output, dims: tailDims });
      piece.tail = { name: longer, columns: tailColumns };
    }
    if (moreLeft === 0) return;
    const edgeDims = dims.map((dim, at) => (at === axis ? moreLeft : dim));
    const input = writer.input(`${value} edge`, edgeDims);
    const output = `${value} next edges`;
    const rows = writer.input(`${value} edge places`, ['steps', moreLeft], 'int64');
    const stacked = writer.node('Gather', [longer, rows], { axis: { int: axis } });
    const others = Array.from({ length: dims.length + 1 }, (_, i) => i).filter((i) => i !== axis);
    writer.transpose(stacked, [axis, ...others], output);
    const lag = (columns - right + begin - step - left) / step;
    const places = { name: rows, count: moreLeft, last: begin - step - right, columnsPerGrid: step };
    this.edges.push({ input, output, dims: edgeDims, lag, places });
    piece.edge = input;
    this.limitHop(Math.floor((columns - right - left - moreLeft) / step));
  }

  /** From what is new to the end. */
  private newest({ name, layout, gap, timed }: Piece): string {
    return this.writer.slice(name, timed.axis, { from: layout.left + gap });
  }

  private putTogether(value: string, piece: Piece): void {
    const { writer } = this;
    const { timed, layout, dims } = piece;
    const { axis, columns } = timed;
    const { left, right } = layout;
    const others = dims.map((_, i) => i).filter((i) => i !== axis);
    const columnDims = others.map((i) => dims[i]!);
    const input = writer.input(`${value} kept`, [`${value} kept`, ...columnDims]);
    const back = dims.map((_, i) => (i === axis ? 0 : i < axis ? i + 1 : i));
    const newest = this.newest(piece);
    // When all of it is new, as at the start, there is more than one window of it.
    const fitting = writer.slice(newest, axis, { from: left - columns });
    const parts = [writer.transpose(input, back), fitting];
    if (left > 0) parts.unshift(writer.slice(piece.name, axis, { to: left }));
    writer.concat(parts, axis, value);
    const output = `${value} next kept`;
    writer.transpose(writer.slice(newest, axis, right > 0 ? { to: -right } : {}), [axis, ...others], output);
    const step = this.perGrid(timed);
    this.kept.push({
      input,
      output,
      dims: columnDims,
      columns: columns - right - left,
      columnsPerGrid: step,
    });
    this.limitHop(Math.floor((columns - right - left) / step));
  }

  private limitHop(steps: number): void {
    this.maxHop = Math.min(this.maxHop, steps);
  }

  /** The columns of a piece that a node wants, in the order in which it wants them. */
  private arrange(piece: Piece, wanted: Wanted): string {
    const { layout, gap, name } = piece;
    if (layout.left === wanted.left && layout.right === wanted.right && gap === wanted.gap) return name;
    const key = `${wanted.left} ${wanted.gap} ${wanted.right}`;
    const arranged = piece.arranged.get(key) ?? this.putBeside(piece, wanted);
    piece.arranged.set(key, arranged);
    return arranged;
  }

  private putBeside(piece: Piece, wanted: Wanted): string {
    const { writer } = this;
    const { layout, gap, name, timed, dims } = piece;
    const { axis } = timed;
    const parts: string[] = [];
    const own = Math.min(wanted.left, layout.left);
    if (own > 0) parts.push(writer.slice(name, axis, { to: own }));
    const more = wanted.left - own;
    if (more > 0) parts.push(writer.slice(piece.edge!, axis, more === layout.moreLeft ? {} : { to: more }));
    if (wanted.gap > 0) parts.push(writer.zeros(dims.map((dim, at) => (at === axis ? wanted.gap : dim))));
    const before = wanted.right - layout.right;
    if (before > 0) parts.push(writer.slice(piece.tail!.name, axis, { from: piece.tail!.columns - before }));
    else parts.push(writer.slice(name, axis, { from: layout.left + gap - before }));
    return writer.concat(parts, axis);
  }
}

function pieceName(value: string): string {
  return `${value} columns`;
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

/** The attributes of a convolution or pooling with so much padding before the first column. */
function paddedBefore(node: OnnxNode, at: number, before: number): Record<string, OnnxAttribute> {
  const pads = [...intsOf(node, 'pads')];
  if (pads.length === 0) return {};
  pads[at] = before;
  return { pads: { ints: pads } };
}
