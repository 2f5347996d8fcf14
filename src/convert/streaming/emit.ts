import { intOf, intsOf } from '../attributes.js';
import type { OnnxAttribute, OnnxGraph, OnnxNode } from '../onnx.js';
import type { Analysis, StreamInput, Timed } from './analyse.js';
import { columnsOf, type Arrangement, type Arrangements } from './arrangements.js';
import { GraphWriter } from './graph-writer.js';
import type { Layout } from './layouts.js';
import { copiedCost, gatheredCost, keptNumbers, type Costs } from './costs.js';
import type { EdgePlaces, PlannedCut, PlannedEdge, PlannedInput, PlannedKept, PlannedTail } from './plan.js';
import type { TimeRule } from './time-rules.js';

/** What was found out about a graph, and chosen: all that its streamed graph is written from. */
export interface Design {
  analysis: Analysis;
  layouts: ReadonlyMap<string, Layout>;
  arrangements: Arrangements;
  /** What a window usually moves by. */
  hopSamples: number;
  costs: Costs;
}

/** A value's tensors in the streamed graph; `arrangements.ts` says how they lie. */
interface Piece {
  value: string;
  timed: Timed;
  layout: Layout;
  /** All of the value's axes, of the whole window. */
  dims: readonly number[];
  /** As it is computed. */
  own: Arrangement;
  /** The tensors that there are of it, for those who take them. */
  tensors: Map<Arrangement, string>;
  /** Of those that were put together: as they came out of that. */
  plain: Map<Arrangement, string>;
  kept: Kept | null;
}

/** What was kept of a value: the columns after its first ones, a gap, and those before what is new. */
interface Kept {
  edge: number;
  gap: number;
  tail: number;
  /** One tensor with all of it, where it is copied there. */
  all: string | null;
  /** Else its parts, each where there is one. */
  edgeInput: string | null;
  tailInput: string | null;
}

/** Channels in a block are this many, or half of it. */
const BLOCK = 16;

export interface Emitted {
  graph: OnnxGraph;
  inputs: PlannedInput[];
  cuts: PlannedCut[];
  tails: PlannedTail[];
  edges: PlannedEdge[];
  kept: PlannedKept[];
  /** In steps of the grid. */
  maxHop: number;
}

/** Writes the streamed graph. */
export function emit(graph: OnnxGraph, design: Design, streamInputs: readonly StreamInput[]): Emitted {
  return new Emitter(graph, design).run(streamInputs);
}

class Emitter {
  private readonly writer: GraphWriter;
  private readonly pieces = new Map<string, Piece>();
  private readonly inputs: PlannedInput[] = [];
  private readonly cuts: PlannedCut[] = [];
  private readonly tails: PlannedTail[] = [];
  private readonly edges: PlannedEdge[] = [];
  private readonly kept: PlannedKept[] = [];
  private maxHop = Infinity;

  constructor(
    private readonly graph: OnnxGraph,
    private readonly design: Design,
  ) {
    this.writer = new GraphWriter(design.analysis.constants);
  }

  run(streamInputs: readonly StreamInput[]): Emitted {
    const { graph, writer } = this;
    const { streamed } = this.design.analysis;
    for (const input of streamInputs) this.readInput(input);
    for (const node of graph.nodes) {
      const rule = streamed.get(node);
      if (rule === undefined) writer.copy(node);
      else this.stream(node, rule);
    }
    for (const piece of this.pieces.values()) this.giveKept(piece);
    for (const { name, dims } of graph.outputs) {
      writer.output(
        name,
        dims.map((dim) => (dim === 'batch' ? 1 : dim)),
      );
    }
    for (const { output, dims } of this.kept) writer.output(output, [`${output} columns`, ...dims]);
    const { inputs, cuts, tails, edges, kept, maxHop } = this;
    return { graph: writer.finish(`${graph.name} streamed`), inputs, cuts, tails, edges, kept, maxHop };
  }

  /** The columns of a value within one step of the grid. */
  private perGrid({ stride }: Timed): number {
    return this.design.analysis.gridSamples / stride;
  }

  private readInput({ name, timeAxis, columns, left }: StreamInput): void {
    const timed = this.design.analysis.timed.get(name)!;
    const layout = this.design.layouts.get(name)!;
    const [{ gap }] = this.design.arrangements.made.get(name)! as [Arrangement];
    const dims = this.dimsOf(name).map((dim, axis) => (axis === timeAxis ? `${name} columns` : dim));
    const input = this.writer.input(`${name} columns`, dims);
    this.inputs.push({
      ...{ name, timeAxis, input, columns, gap },
      columnsPerGrid: this.perGrid(timed),
      head: layout.left,
      tail: layout.right,
    });
    // What is before the window, and what is of this window alone at its beginning, must not get into the stream.
    if (layout.left === 0) this.limitHop(Math.floor((columns - layout.right - left) / this.perGrid(timed)));
    this.add(name, input);
  }

  private dimsOf(name: string): number[] {
    return this.design.analysis.shapes.get(name)!.map((dim) => dim!);
  }

  private stream(node: OnnxNode, rule: TimeRule): void {
    const given = this.design.arrangements.given.get(node)!;
    const inputs = node.inputs.map((name, i) => {
      const arrangement = given.inputs[i] ?? null;
      return arrangement === null ? name : this.arranged(this.pieces.get(name)!, arrangement);
    });
    const outputs = node.outputs.map((value) => `${value} columns`);
    const padding = rule.kind === 'neighbours' ? paddedBefore(node, rule.axis - 2, given.before) : {};
    const pair = this.pairOf(node);
    if (pair !== null) this.meanOfPair(pair, inputs[0]!, outputs[0]!);
    else this.writer.copy({ ...node, inputs, outputs, attributes: { ...node.attributes, ...padding } });
    for (const [i, output] of node.outputs.entries()) this.add(output, outputs[i]!);
  }

  /** The axis of two numbers over which a node takes the mean, of an image that ONNX Runtime has in blocks of channels. */
  private pairOf(node: OnnxNode): { axis: number; rank: number; keep: boolean } | null {
    const dims = this.design.analysis.shapes.get(node.inputs[0] ?? '') ?? [];
    const [axis = 0, ...others] = intsOf(node, 'axes').map((at) => modulo(at, dims.length));
    const isPair = node.op === 'ReduceMean' && others.length === 0 && axis >= 2 && dims[axis] === 2;
    const maker = this.graph.nodes.find(({ outputs }) => outputs.includes(node.inputs[0] ?? ''));
    const isInBlocks = ['Conv', 'Relu', 'Clip', 'AveragePool'].includes(maker?.op ?? '');
    if (!isPair || !isInBlocks || dims.length !== 4 || dims[1]! % BLOCK !== 0) return null;
    return { axis, rank: dims.length, keep: intOf(node, 'keepdims', 1) === 1 };
  }

  /**
   * A pooling in place of a mean: it takes the blocks as they are, so that half as much has to be put in order. Of two numbers
   * it gives the same to the last bit. (In a profile of MobileNetV2 the mean took 73 µs of a hop.)
   */
  private meanOfPair(
    { axis, rank, keep }: { axis: number; rank: number; keep: boolean },
    input: string,
    output: string,
  ): void {
    const { writer } = this;
    const kernel = Array.from({ length: rank - 2 }, (_, i) => (i + 2 === axis ? 2 : 1));
    const attributes = { kernel_shape: { ints: kernel } };
    if (keep) writer.node('AveragePool', [input], attributes, output);
    else {
      const pooled = writer.node('AveragePool', [input], attributes);
      writer.node('Squeeze', [pooled, writer.integers([axis])], {}, output);
    }
  }

  /** A new value: what was kept of it is taken, and where the whole window is wanted, that is put together. */
  private add(value: string, tensor: string): void {
    const { analysis, layouts, arrangements } = this.design;
    const [own] = arrangements.made.get(value)! as [Arrangement];
    const piece: Piece = {
      value,
      timed: analysis.timed.get(value)!,
      layout: layouts.get(value)!,
      dims: this.dimsOf(value),
      own,
      tensors: new Map([[own, tensor]]),
      plain: new Map(),
      kept: null,
    };
    this.pieces.set(value, piece);
    piece.kept = this.takeKept(piece, arrangements.made.get(value)!);
    if (analysis.whole.has(value)) this.putTogether(value, piece);
  }

  /** The columns of a value that a node wants, in the order in which it wants them. */
  private arranged(piece: Piece, arrangement: Arrangement): string {
    const known = piece.tensors.get(arrangement);
    if (known !== undefined) return known;
    const plain = this.putBeside(piece, arrangement);
    piece.plain.set(arrangement, plain);
    const tensor = this.isShortcut(piece, arrangement) ? this.inBlocks(plain) : plain;
    piece.tensors.set(arrangement, tensor);
    return tensor;
  }

  /** Whether one who takes a tensor makes an image of it to which another one adds it. */
  private isShortcut({ value, dims }: Piece, arrangement: Arrangement): boolean {
    if (dims.length !== 4 || dims[1]! % BLOCK !== 0) return false;
    const takers = this.graph.nodes.filter((node) => {
      const at = node.inputs.indexOf(value);
      return at >= 0 && this.design.arrangements.given.get(node)?.inputs[at] === arrangement;
    });
    return takers.some(({ op }) => op === 'Conv') && takers.some(({ op }) => op === 'Add');
  }

  /**
   * The same numbers as the output of a node that ONNX Runtime computes in blocks of channels (NCHWc). It adds a shortcut
   * within the convolution before it only where both are in that order; else it puts the convolution's output in order, adds,
   * and puts the sum in blocks again. (In a profile of MobileNetV2: 13 µs for each sum, where this pooling takes 5.)
   */
  private inBlocks(plain: string): string {
    return this.writer.node('MaxPool', [plain], { kernel_shape: { ints: [1, 1] } });
  }

  private putBeside(piece: Piece, wanted: Arrangement): string {
    const { writer } = this;
    const { layout, timed } = piece;
    const { axis } = timed;
    const parts: string[] = [];
    const own = Math.min(wanted.left, layout.left);
    if (own > 0) parts.push(writer.slice(ownTensor(piece), axis, { to: own }));
    const edge = wanted.left - own;
    const tail = Math.max(0, wanted.right - layout.right);
    parts.push(...this.partsOfKept(piece, { edge, gap: wanted.gap, tail }));
    parts.push(this.newest(piece, Math.max(0, layout.right - wanted.right)));
    return writer.concat(parts, axis);
  }

  private partsOfKept(
    { kept, timed, dims }: Piece,
    { edge, gap, tail }: Pick<Kept, 'edge' | 'gap' | 'tail'>,
  ): string[] {
    const { writer } = this;
    const { axis } = timed;
    const all = kept?.all ?? null;
    if (all !== null && kept!.edge === edge && kept!.gap === gap && kept!.tail === tail) return [all];
    const parts: string[] = [];
    if (edge > 0) {
      const from = kept!.edgeInput ?? all!;
      parts.push(
        from === kept!.edgeInput && edge === kept!.edge ? from : writer.slice(from, axis, { to: edge }),
      );
    }
    if (gap > 0) parts.push(writer.zeros(dims.map((dim, at) => (at === axis ? gap : dim))));
    if (tail > 0) {
      const from = kept!.tailInput ?? all!;
      parts.push(
        from === kept!.tailInput && tail === kept!.tail ? from : writer.slice(from, axis, { from: -tail }),
      );
    }
    return parts;
  }

  /** From what is new to the end, or from so many columns behind that. */
  private newest(piece: Piece, behind = 0): string {
    const { own, timed } = piece;
    return this.writer.slice(ownTensor(piece), timed.axis, { from: own.left + own.gap + behind });
  }

  private takeKept(piece: Piece, arranged: readonly Arrangement[]): Kept | null {
    const { value, layout } = piece;
    const edge = layout.moreLeft;
    const tail = this.tailColumns(piece);
    if (edge + tail === 0) return null;
    const input = (name: string, columns: number): string | null =>
      columns === 0 ? null : this.writer.input(`${value} ${name}`, withColumns(piece, columns));
    if (!this.isCopied(piece, { edge, tail })) {
      return {
        ...{ edge, tail, gap: 0, all: null },
        edgeInput: input('edge', edge),
        tailInput: input('tail', tail),
      };
    }
    // As the consumer wants it that takes all of it, so that it need not be cut up.
    const widest = arranged.find(
      ({ left, right }) => left === layout.left + edge && right === layout.right + tail,
    );
    const gap = widest?.gap ?? 0;
    return {
      ...{ edge, tail, gap, edgeInput: null, tailInput: null },
      all: input('kept', edge + gap + tail),
    };
  }

  /** Whether what is kept is so little that it is copied; else the graph gathers it. */
  private isCopied({ value }: Piece, kept: { edge: number; tail: number }): boolean {
    const { costs } = this.design;
    const numbers = keptNumbers(value, kept, this.design);
    return copiedCost(costs, numbers) < gatheredCost(costs, numbers);
  }

  /** Where the first of a window's kept columns lie, from where the new ones begin; before that, where negative. */
  private edgeBegins({ timed, layout }: Piece): number {
    const { left, right, moreLeft } = layout;
    const step = this.perGrid(timed);
    return modulo(left + moreLeft - (timed.columns - right) - 1, step) + 1 - moreLeft;
  }

  private tailColumns(piece: Piece): number {
    const { moreLeft, moreRight } = piece.layout;
    return Math.max(moreRight, moreLeft > 0 ? -this.edgeBegins(piece) : 0);
  }

  /** What the hops to come need of a value. */
  private giveKept(piece: Piece): void {
    const { layout, kept } = piece;
    if (kept === null) return;
    const { edge, tail } = kept;
    // What was put together for a consumer usually ends with all of it.
    const wide = [...piece.plain].find(([{ right }]) => right === layout.right + tail);
    const longer = wide?.[1] ?? this.afterTail(piece);
    const places = edge === 0 ? null : this.edgeOf(piece);
    const fixed = wide === undefined ? layout.right + tail : columnsOf(wide[0]);
    if (kept.all !== null) this.giveCopied(piece, { longer, fixed, places });
    if (kept.tailInput !== null) this.giveTail(piece, longer);
    if (kept.edgeInput !== null) this.giveEdges(piece, longer, places!);
  }

  /** The columns that were kept before what is new, and what is new. */
  private afterTail(piece: Piece): string {
    const tail = this.partsOfKept(piece, { edge: 0, gap: 0, tail: piece.kept!.tail });
    return this.writer.concat([...tail, this.newest(piece)], piece.timed.axis);
  }

  private giveCopied(
    piece: Piece,
    { longer, fixed, places }: { longer: string; fixed: number; places: EdgePlaces | null },
  ): void {
    const { layout, timed, kept } = piece;
    const { all, edge, gap, tail } = kept!;
    this.writer.output(longer, withColumns(piece, `${longer} columns`));
    this.cuts.push({
      ...{ input: all!, output: longer, axis: timed.axis, edge: places },
      dims: withColumns(piece, edge + gap + tail),
      columns: { fixed, perStep: this.perGrid(timed) },
      tail: { columns: tail, behind: layout.right },
    });
  }

  private giveTail(piece: Piece, longer: string): void {
    const { value, layout, timed, kept } = piece;
    const { tail, tailInput } = kept!;
    const to = layout.right > 0 ? { to: -layout.right } : {};
    const output = this.writer.slice(
      longer,
      timed.axis,
      { from: -layout.right - tail, ...to },
      `${value} next tail`,
    );
    const dims = withColumns(piece, tail);
    this.writer.output(output, dims);
    this.tails.push({ input: tailInput!, output, dims });
  }

  private giveEdges(piece: Piece, longer: string, places: EdgePlaces): void {
    const { writer } = this;
    const { value, timed, kept } = piece;
    const { edge, edgeInput } = kept!;
    const { axis } = timed;
    const dims = withColumns(piece, edge);
    const placesInput = writer.input(`${value} edge places`, ['steps', edge], 'int64');
    const stacked = writer.node('Gather', [longer, placesInput], { axis: { int: axis } });
    const others = Array.from({ length: dims.length + 1 }, (_, i) => i).filter((i) => i !== axis);
    const output = writer.transpose(stacked, [axis, ...others], `${value} next edges`);
    writer.output(output, ['steps', ...dims]);
    this.edges.push({ input: edgeInput!, output, dims, places, placesInput });
  }

  /** Where the edges of the windows to come lie, in a tensor that ends with what is new. */
  private edgeOf(piece: Piece): EdgePlaces {
    const { timed, layout } = piece;
    const { left, right, moreLeft } = layout;
    const step = this.perGrid(timed);
    const begin = this.edgeBegins(piece);
    this.limitHop(Math.floor((timed.columns - right - left - moreLeft) / step));
    return {
      columns: moreLeft,
      lag: (timed.columns - right + begin - step - left) / step,
      last: begin - step - right,
      perStep: step,
    };
  }

  private putTogether(value: string, piece: Piece): void {
    const { writer } = this;
    const { timed, layout, dims } = piece;
    const { axis, columns } = timed;
    const { left, right } = layout;
    const others = dims.map((_, i) => i).filter((i) => i !== axis);
    const columnDims = others.map((i) => dims[i]!);
    const input = writer.input(`${value} old`, [`${value} old`, ...columnDims]);
    const back = dims.map((_, i) => (i === axis ? 0 : i < axis ? i + 1 : i));
    const newest = this.newest(piece);
    // When all of it is new, as at the start, there is more than one window of it.
    const fitting = writer.slice(newest, axis, { from: left - columns });
    const parts = [writer.transpose(input, back), fitting];
    if (left > 0) parts.unshift(writer.slice(ownTensor(piece), axis, { to: left }));
    writer.concat(parts, axis, value);
    const output = `${value} next old`;
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
}

/** The axes of a value with so many columns. */
function withColumns<T extends number | string>({ dims, timed }: Piece, columns: T): (number | T)[] {
  return dims.map((dim, at) => (at === timed.axis ? columns : dim));
}

function ownTensor({ own, tensors }: Piece): string {
  return tensors.get(own)!;
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
