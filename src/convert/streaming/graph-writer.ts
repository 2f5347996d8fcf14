import type { OnnxAttribute, OnnxElementType, OnnxGraph, OnnxNode, OnnxTensor, OnnxValue } from '../onnx.js';

/** Further than any axis is long. */
const END = 2 ** 31 - 1;

/** Places along an axis. */
interface Cut {
  from?: number;
  to?: number;
  step?: number;
}

/** Collects the nodes of a graph that is written beside another one, whose constants it shares. */
export class GraphWriter {
  readonly nodes: OnnxNode[] = [];
  readonly inputs: OnnxValue[] = [];
  readonly outputs: OnnxValue[] = [];
  private readonly constants = new Map<string, OnnxTensor>();
  private count = 0;

  constructor(private readonly given: ReadonlyMap<string, OnnxTensor>) {}

  /** @param output the name of what it makes; one of its own where left out */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
    output = this.name(op),
  ): string {
    this.copy({ op, inputs, outputs: [output], attributes });
    return output;
  }

  /** A node as it is. */
  copy(node: OnnxNode): void {
    for (const name of node.inputs) {
      const constant = this.given.get(name);
      if (constant !== undefined) this.constants.set(name, constant);
    }
    this.nodes.push(node);
  }

  /** From `from` to before `to` along an axis, counted from the end where negative; `to` left out: to the end. */
  slice(x: string, axis: number, { from = 0, to = END, step = 1 }: Cut, output?: string): string {
    if (output === undefined && from === 0 && to === END && step === 1) return x;
    const places = [from, to, axis, ...(step === 1 ? [] : [step])].map((place) => this.integers([place]));
    return this.node('Slice', [x, ...places], {}, output);
  }

  concat(parts: readonly string[], axis: number, output?: string): string {
    const [first] = parts;
    if (parts.length === 1 && output === undefined) return first!;
    if (parts.length === 1) return this.node('Identity', parts, {}, output);
    return this.node('Concat', parts, { axis: { int: axis } }, output);
  }

  transpose(x: string, order: readonly number[], output?: string): string {
    return this.node('Transpose', [x], { perm: { ints: order } }, output);
  }

  zeros(dims: readonly number[]): string {
    const name = `zeros ${dims.join('x')}`;
    const data = new Float32Array(dims.reduce((product, dim) => product * dim, 1));
    this.constants.set(name, { name, type: 'float32', dims, data });
    return name;
  }

  integers(values: readonly number[]): string {
    const name = `integers ${values.join(' ')}`;
    this.constants.set(name, {
      name,
      type: 'int64',
      dims: [values.length],
      data: BigInt64Array.from(values, BigInt),
    });
    return name;
  }

  input(name: string, dims: readonly (number | string)[], type: OnnxElementType = 'float32'): string {
    this.inputs.push({ name, type, dims });
    return name;
  }

  output(name: string, dims: readonly (number | string)[]): string {
    this.outputs.push({ name, type: 'float32', dims });
    return name;
  }

  finish(name: string): OnnxGraph {
    return {
      name,
      inputs: this.inputs,
      outputs: this.outputs,
      nodes: this.nodes,
      initializers: [...this.constants.values()],
    };
  }

  private name(op: string): string {
    this.count += 1;
    return `stream ${op.toLowerCase()} ${this.count}`;
  }
}
