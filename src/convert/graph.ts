import { SoundpostError } from '../common/errors.js';
import type { OnnxAttribute, OnnxGraph, OnnxNode, OnnxTensor, OnnxValue } from './onnx.js';
import type { Tensor, Weights } from './weights.js';

/** An edge of the graph. Its shape is the architecture's business; the names of axes are in the docstrings. */
export interface Value {
  readonly name: string;
}

/** The opset of every graph: 17 has LayerNormalization and HardSwish, and ReduceMean's axes as attributes. */
export const OPSET = 17;

/** Ends the name of a constant whose rows are the columns of the checkpoint's tensor. */
export const TRANSPOSED = ' (transposed)';

/** Further than any axis is long. */
const END = 2 ** 31 - 1;

type OneOrTwo = number | readonly number[];

export interface ConvOptions {
  /** Of the output, for networks that exist in several widths: a checkpoint of another width is refused. */
  channels?: number;
  /** For each spatial axis, or one number for all of them. */
  stride?: OneOrTwo;
  /** On both sides of each spatial axis. */
  padding?: OneOrTwo;
  dilation?: OneOrTwo;
  groups?: number;
  /** The batch norm behind the convolution, to be folded into it: its path in the state dict, and epsilon. */
  norm?: { path: string; epsilon: number };
}

export interface PoolOptions {
  kernel: OneOrTwo;
  /** The kernel where left out, as in PyTorch. */
  stride?: OneOrTwo;
  padding?: OneOrTwo;
  /** Average pooling only; PyTorch's default is true, ONNX's false. */
  countIncludePad?: boolean;
  /** A last window that is not full counts too. */
  ceil?: boolean;
}

/**
 * Builds an ONNX graph from the layers of a PyTorch network and the tensors of its state dict. Paths are those
 * of the state dict, without the last component (`conv_block1.conv1`).
 */
export class Graph {
  private readonly nodes: OnnxNode[] = [];
  private readonly constants: OnnxTensor[] = [];
  private readonly inputs: OnnxValue[] = [];
  private readonly outputs: OnnxValue[] = [];
  private count = 0;

  constructor(readonly weights: Weights) {}

  /** An input of the graph; a text is the name of an axis of any length. */
  input(name: string, dims: readonly (number | string)[]): Value {
    this.inputs.push({ name, type: 'float32', dims });
    return { name };
  }

  /** Makes a value an output of the graph under a name of its own. */
  output(name: string, value: Value, dims: readonly (number | string)[]): void {
    const isOurs = this.nodes.some(({ outputs }) => outputs.includes(value.name));
    const isOutput = this.outputs.some((output) => output.name === value.name);
    if (isOurs && !isOutput) {
      // The value itself takes the name of the output; an Identity behind it would be a node for nothing.
      const renamed = (names: readonly string[]): string[] => names.map((n) => (n === value.name ? name : n));
      for (const [i, node] of this.nodes.entries()) {
        this.nodes[i] = { ...node, inputs: renamed(node.inputs), outputs: renamed(node.outputs) };
      }
    } else {
      this.nodes.push({ op: 'Identity', inputs: [value.name], outputs: [name] });
    }
    this.outputs.push({ name, type: 'float32', dims });
  }

  /** Any operator with one output. */
  node(op: string, inputs: readonly Value[], attributes: Record<string, OnnxAttribute> = {}): Value {
    this.count += 1;
    const value = { name: `${op.toLowerCase()}_${this.count}` };
    this.nodes.push({ op, inputs: inputs.map(({ name }) => name), outputs: [value.name], attributes });
    return value;
  }

  /** A constant of floats; `dims` empty is a scalar. `name`: of the tensor it comes from, where it is one. */
  constant(dims: readonly number[], data: ArrayLike<number>, name?: string): Value {
    return this.addConstant(
      { type: 'float32', dims, data: data instanceof Float32Array ? data : Float32Array.from(data) },
      name,
    );
  }

  /** A constant list of whole numbers, such as a shape. */
  integers(values: readonly number[]): Value {
    return this.addConstant({
      type: 'int64',
      dims: [values.length],
      data: BigInt64Array.from(values, BigInt),
    });
  }

  /**
   * Convolution, 1-D or 2-D by the rank of its weight, [batch, channels, …] → [batch, channels, …]. A batch norm
   * behind it is folded into weight and bias: w' = w·γ/√(σ²+ε), b' = (b − μ)·γ/√(σ²+ε) + β.
   */
  conv(x: Value, path: string, options: ConvOptions = {}): Value {
    return this.sharedConv([x], path, options)[0]!;
  }

  /** The same convolution of several values. */
  sharedConv(xs: readonly Value[], path: string, options: ConvOptions = {}): Value[] {
    const rank = this.weights.shape(`${path}.weight`).length;
    const weight = this.weights.take(`${path}.weight`, rank);
    const channels = this.outputsOf(`${path}.weight`, weight, options.channels);
    let bias = this.weights.has(`${path}.bias`) ? this.vector(`${path}.bias`, channels) : null;
    if (options.norm !== undefined) {
      const { scale, shift } = this.batchNorm(options.norm.path, options.norm.epsilon, channels);
      const perChannel = weight.data.length / channels;
      for (let channel = 0, at = 0; channel < channels; channel += 1) {
        for (const end = at + perChannel; at < end; at += 1) weight.data[at]! *= scale[channel]!;
      }
      bias = Float32Array.from(shift, (value, channel) => value + (bias?.[channel] ?? 0) * scale[channel]!);
    }
    const spatial = rank - 2;
    const padding = each(options.padding ?? 0, spatial);
    const inputs = [this.constant(weight.shape, weight.data, `${path}.weight`)];
    if (bias !== null) inputs.push(this.constant([channels], bias, `${path}.bias`));
    const attributes = {
      kernel_shape: { ints: weight.shape.slice(2) },
      strides: { ints: each(options.stride ?? 1, spatial) },
      pads: { ints: [...padding, ...padding] },
      dilations: { ints: each(options.dilation ?? 1, spatial) },
      group: { int: options.groups ?? 1 },
    };
    return xs.map((x) => this.node('Conv', [x, ...inputs], attributes));
  }

  /**
   * A batch norm that cannot be folded into a convolution before it, as one multiplication and one addition along
   * `axis` of a value of `rank` dimensions.
   */
  affineNorm(x: Value, path: string, epsilon: number, options: { axis: number; rank: number }): Value {
    const channels = this.weights.shape(`${path}.weight`)[0]!;
    const { scale, shift } = this.batchNorm(path, epsilon, channels);
    const dims = Array.from({ length: options.rank }, (_, axis) => (axis === options.axis ? channels : 1));
    const scaled = this.multiply(x, this.constant(dims, scale, `${path}.weight`));
    return this.add(scaled, this.constant(dims, shift, `${path}.bias`));
  }

  /** x·Wᵀ + b: [batch, in] → [batch, out]. `features`: how many must come out. */
  linear(x: Value, path: string, features?: number): Value {
    const weight = this.weights.take(`${path}.weight`, 2);
    this.outputsOf(`${path}.weight`, weight, features);
    const inputs = [x, this.constant(weight.shape, weight.data, `${path}.weight`)];
    const bias = `${path}.bias`;
    if (this.weights.has(bias)) {
      inputs.push(this.constant([weight.shape[0]!], this.vector(bias, weight.shape[0]!), bias));
    }
    return this.node('Gemm', inputs, { transB: { int: 1 } });
  }

  /**
   * The same along the last axis of a value with more dimensions: […, in] → […, out]. `scale` names a tensor [out]
   * that the result is multiplied by; it is folded into weight and bias. `features`: how many must come out.
   */
  linearLast(x: Value, path: string, options: { scale?: string; features?: number } = {}): Value {
    return this.sharedLinearLast([x], path, options)[0]!;
  }

  /** The same layer for several values. */
  sharedLinearLast(
    xs: readonly Value[],
    path: string,
    options: { scale?: string; features?: number } = {},
  ): Value[] {
    const weight = this.weights.take(`${path}.weight`, 2);
    const rows = this.outputsOf(`${path}.weight`, weight, options.features);
    const columns = weight.shape[1]!;
    const bias = this.weights.has(`${path}.bias`) ? this.vector(`${path}.bias`, rows) : null;
    if (options.scale !== undefined) {
      const scale = this.vector(options.scale, rows);
      for (let row = 0, at = 0; row < rows; row += 1) {
        for (const end = at + columns; at < end; at += 1) weight.data[at]! *= scale[row]!;
        if (bias !== null) bias[row]! *= scale[row]!;
      }
    }
    const matrix = this.constant(
      [columns, rows],
      transposed(weight.data, rows, columns),
      `${path}.weight${TRANSPOSED}`,
    );
    const offset = bias === null ? null : this.constant([rows], bias, `${path}.bias`);
    return xs.map((x) => {
      const product = this.node('MatMul', [x, matrix]);
      return offset === null ? product : this.add(product, offset);
    });
  }

  /** The same as a 1×1 convolution: [batch, in, …, …] → [batch, out, …, …]. */
  pointwise(x: Value, path: string): Value {
    const { shape, data } = this.weights.take(`${path}.weight`, 2);
    const bias = this.vector(`${path}.bias`, shape[0]!);
    const kernel = this.constant([...shape, 1, 1], data, `${path}.weight`);
    return this.node('Conv', [x, kernel, this.constant([shape[0]!], bias, `${path}.bias`)], {
      kernel_shape: { ints: [1, 1] },
    });
  }

  /** Layer norm over the last axis. */
  layerNorm(x: Value, path: string, epsilon: number): Value {
    const scale = this.weights.take(`${path}.weight`, 1);
    const bias = this.weights.take(`${path}.bias`, 1);
    return this.node(
      'LayerNormalization',
      [
        x,
        this.constant(scale.shape, scale.data, `${path}.weight`),
        this.constant(bias.shape, bias.data, `${path}.bias`),
      ],
      { axis: { int: -1 }, epsilon: { float: epsilon } },
    );
  }

  relu(x: Value): Value {
    return this.node('Relu', [x]);
  }

  /** Values below `low` become `low`, above `high` `high`; ReLU6 is clip(x, 0, 6). */
  clip(x: Value, low: number, high: number): Value {
    return this.node('Clip', [x, this.constant([], [low]), this.constant([], [high])]);
  }

  sigmoid(x: Value): Value {
    return this.node('Sigmoid', [x]);
  }

  hardSwish(x: Value): Value {
    return this.node('HardSwish', [x]);
  }

  /**
   * The exact GELU, x·(1 + erf(x/√2))/2, not the tanh approximation; written as ONNX Runtime knows it, so that it
   * becomes one operator there.
   */
  gelu(x: Value): Value {
    const erf = this.node('Erf', [this.node('Div', [x, this.constant([], [Math.SQRT2])])]);
    const twice = this.multiply(x, this.add(erf, this.constant([], [1])));
    return this.multiply(twice, this.constant([], [0.5]));
  }

  softmax(x: Value, axis: number): Value {
    return this.node('Softmax', [x], { axis: { int: axis } });
  }

  add(a: Value, b: Value): Value {
    return this.node('Add', [a, b]);
  }

  multiply(a: Value, b: Value): Value {
    return this.node('Mul', [a, b]);
  }

  concat(values: readonly Value[], axis: number): Value {
    return this.node('Concat', values, { axis: { int: axis } });
  }

  /** As many equal parts along an axis. */
  split(x: Value, parts: number, axis: number): Value[] {
    this.count += 1;
    const values = Array.from({ length: parts }, (_, part) => ({ name: `split_${this.count}_${part}` }));
    this.nodes.push({
      op: 'Split',
      inputs: [x.name],
      outputs: values.map(({ name }) => name),
      attributes: { axis: { int: axis } },
    });
    return values;
  }

  /** What is at one place of an axis, which goes. */
  pick(x: Value, axis: number, index: number): Value {
    const place = this.addConstant({ type: 'int64', dims: [], data: BigInt64Array.of(BigInt(index)) });
    return this.node('Gather', [x, place], { axis: { int: axis } });
  }

  /** From a place of an axis to its end; a negative place counts from the end. */
  slice(x: Value, axis: number, from: number): Value {
    return this.node('Slice', [x, this.integers([from]), this.integers([END]), this.integers([axis])]);
  }

  transpose(x: Value, order: readonly number[]): Value {
    return this.node('Transpose', [x], { perm: { ints: order } });
  }

  /** 0 keeps a dimension, -1 takes what is left. */
  reshape(x: Value, dims: readonly number[]): Value {
    return this.node('Reshape', [x, this.integers(dims)]);
  }

  /** Removes axes of length 1. */
  squeeze(x: Value, axes: readonly number[]): Value {
    return this.node('Squeeze', [x, this.integers(axes)]);
  }

  mean(x: Value, axes: readonly number[], keep = false): Value {
    return this.node('ReduceMean', [x], { axes: { ints: axes }, keepdims: { int: keep ? 1 : 0 } });
  }

  max(x: Value, axes: readonly number[], keep = false): Value {
    return this.node('ReduceMax', [x], { axes: { ints: axes }, keepdims: { int: keep ? 1 : 0 } });
  }

  /** `spatial`: 1 or 2 axes, needed where the options give one number for all. */
  maxPool(x: Value, spatial: 1 | 2, options: PoolOptions): Value {
    return this.node('MaxPool', [x], poolAttributes(options, spatial));
  }

  averagePool(x: Value, spatial: 1 | 2, options: PoolOptions): Value {
    return this.node('AveragePool', [x], {
      ...poolAttributes(options, spatial),
      count_include_pad: { int: (options.countIncludePad ?? true) ? 1 : 0 },
    });
  }

  /** Mean over all spatial axes, which stay with length 1. */
  globalAveragePool(x: Value): Value {
    return this.node('GlobalAveragePool', [x]);
  }

  /** All axes but the first as one. */
  flatten(x: Value): Value {
    return this.node('Flatten', [x]);
  }

  /** The finished graph. Throws SoundpostError `checkpoint_shape` where tensors were left over. */
  finish(name: string, unused: (tensor: string) => boolean = () => false): OnnxGraph {
    const left = this.weights.left().filter((tensor) => !unused(tensor));
    if (left.length > 0) {
      const some = left.slice(0, 5).join(', ');
      throw new SoundpostError(
        'checkpoint_shape',
        `${left.length} tensors of the checkpoint have no place in ${name} (${some}${left.length > 5 ? ', …' : ''}): another architecture?`,
      );
    }
    return {
      name,
      inputs: this.inputs,
      outputs: this.outputs,
      nodes: this.nodes,
      initializers: this.constants,
    };
  }

  get nodeCount(): number {
    return this.nodes.length;
  }

  /** Scale and shift of a batch norm at inference: γ/√(σ²+ε) and β − μ·scale, in double precision. */
  batchNorm(path: string, epsilon: number, channels: number): { scale: Float64Array; shift: Float64Array } {
    const gamma = this.vector(`${path}.weight`, channels);
    const beta = this.vector(`${path}.bias`, channels);
    const mean = this.vector(`${path}.running_mean`, channels);
    const variance = this.vector(`${path}.running_var`, channels);
    const scale = Float64Array.from(gamma, (value, i) => value / Math.sqrt(variance[i]! + epsilon));
    const shift = Float64Array.from(beta, (value, i) => value - mean[i]! * scale[i]!);
    return { scale, shift };
  }

  /** Throws SoundpostError `checkpoint_shape` where a weight has not as many outputs as expected. */
  private outputsOf(name: string, { shape }: Tensor, expected = shape[0]!): number {
    if (shape[0] !== expected) {
      throw new SoundpostError(
        'checkpoint_shape',
        `the tensor ${name} has ${shape[0]} outputs instead of ${expected}: another architecture?`,
      );
    }
    return expected;
  }

  /** A tensor of exactly this shape. Throws SoundpostError `checkpoint_shape` where it has another. */
  tensor(name: string, shape: readonly number[]): Float32Array {
    const tensor = this.weights.take(name, shape.length);
    if (!shape.every((size, axis) => size === tensor.shape[axis])) {
      throw new SoundpostError(
        'checkpoint_shape',
        `the tensor ${name} has the shape [${tensor.shape.join(', ')}] instead of [${shape.join(', ')}]: another architecture?`,
      );
    }
    return tensor.data;
  }

  private vector(name: string, length: number): Float32Array {
    return this.tensor(name, [length]);
  }

  private addConstant(
    constant:
      | { type: 'float32'; dims: readonly number[]; data: Float32Array }
      | { type: 'int64'; dims: readonly number[]; data: BigInt64Array },
    name = `constant_${++this.count}`,
  ): Value {
    this.constants.push({ name, ...constant });
    return { name };
  }
}

function each(value: OneOrTwo, spatial: number): number[] {
  return typeof value === 'number' ? new Array<number>(spatial).fill(value) : [...value];
}

function poolAttributes(options: PoolOptions, spatial: number): Record<string, OnnxAttribute> {
  const padding = each(options.padding ?? 0, spatial);
  return {
    kernel_shape: { ints: each(options.kernel, spatial) },
    strides: { ints: each(options.stride ?? options.kernel, spatial) },
    pads: { ints: [...padding, ...padding] },
    ...(options.ceil === true ? { ceil_mode: { int: 1 } } : {}),
  };
}

function transposed(data: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      result[column * rows + row] = data[row * columns + column]!;
    }
  }
  return result;
}
