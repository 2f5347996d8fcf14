import { SoundpostError } from '../common/errors.js';
import type { OnnxAttribute, OnnxGraph, OnnxModel, OnnxNode, OnnxTensor, OnnxValue } from './onnx.js';

/*
 * Reads the ONNX files that `onnx.ts` writes and those of other programs, as far as their parts are what networks of
 * convolutions are made of. Field numbers and enumerations are those of onnx.proto, as in `onnx.ts`.
 */

type Field = { number: number } & ({ value: number } | { bytes: Buffer });

function unreadable(why: string): SoundpostError {
  return new SoundpostError('onnx_invalid', `The ONNX model cannot be read: ${why}.`);
}

/**
 * The network in the bytes of an ONNX file. Weights are copied when they are looked at, and not where they are only
 * written into another file, so that a large network is in memory once. Nodes `Constant` become
 * constants. Throws SoundpostError `onnx_invalid` for what is no ONNX file, and for parts that this program does not know
 * (weights outside of the file, other element types than float32, int64 and bool).
 */
export function readOnnx(file: Buffer): OnnxModel {
  let graph: OnnxGraph | undefined;
  let opset: number | undefined;
  for (const field of fieldsOf(file)) {
    if (field.number === 7 && 'bytes' in field) graph = readGraph(field.bytes);
    if (field.number === 8 && 'bytes' in field) opset = readOpset(field.bytes) ?? opset;
  }
  if (graph === undefined) throw unreadable('it has no graph');
  if (opset === undefined || opset < 13 || opset > 17) throw unreadable(`its opset is ${opset ?? 'unknown'}`);
  return { opset: opset as OnnxModel['opset'], graph };
}

/** The version of the default operator set; undefined for that of another one. */
function readOpset(bytes: Buffer): number | undefined {
  const parts = read(bytes);
  return parts.text(1) === '' ? parts.number(2) : undefined;
}

function readGraph(bytes: Buffer): OnnxGraph {
  const parts = read(bytes);
  const initializers = parts.all(5).map((tensor) => readTensor(tensor));
  const nodes: OnnxNode[] = [];
  for (const node of parts.all(1).map(readNode)) {
    const value = node.attributes?.value;
    const [name = ''] = node.outputs;
    if (node.op === 'Constant' && value !== undefined && 'tensor' in value) {
      initializers.push({ ...value.tensor, name });
    } else nodes.push(node);
  }
  const isConstant = new Set(initializers.map(({ name }) => name));
  return {
    name: parts.text(2),
    // Older files list their constants among the inputs.
    inputs: parts
      .all(11)
      .map(readValue)
      .filter(({ name }) => !isConstant.has(name)),
    outputs: parts.all(12).map(readValue),
    nodes,
    initializers,
  };
}

function readNode(bytes: Buffer): OnnxNode {
  const parts = read(bytes);
  return {
    op: parts.text(4),
    inputs: parts.all(1).map(String),
    outputs: parts.all(2).map(String),
    attributes: Object.fromEntries(parts.all(5).map(readAttribute)),
  };
}

function readAttribute(bytes: Buffer): [name: string, OnnxAttribute] {
  const parts = read(bytes);
  const name = parts.text(1);
  const kind = parts.number(20) ?? 0;
  switch (kind) {
    case 1:
      return [name, { float: parts.float(2) }];
    case 2:
      return [name, { int: parts.number(3) ?? 0 }];
    case 3:
      return [name, { string: parts.text(4) }];
    case 4:
      return [name, { tensor: readTensor(parts.all(5)[0] ?? Buffer.alloc(0)) }];
    case 6:
      return [name, { floats: parts.floats(7) }];
    case 7:
      return [name, { ints: parts.numbers(8) }];
    default:
      throw unreadable(`the attribute ${name} is of a kind that is not known here`);
  }
}

function readValue(bytes: Buffer): OnnxValue {
  const parts = read(bytes);
  const type = read(read(parts.all(2)[0]).all(1)[0]);
  const shape = read(type.all(2)[0]);
  return {
    name: parts.text(1),
    type: elementType(type.number(1), parts.text(1)),
    dims: shape.all(1).map((dim) => {
      const length = read(dim).number(1);
      return length ?? read(dim).text(2);
    }),
  };
}

function elementType(type: number | undefined, name: string): OnnxValue['type'] {
  if (type === 1) return 'float32';
  if (type === 7) return 'int64';
  if (type === 9) return 'bool';
  throw unreadable(`${name} has elements of the kind ${type ?? 'unknown'}`);
}

function readTensor(bytes: Buffer): OnnxTensor {
  const parts = read(bytes);
  const name = parts.text(8);
  const dims = parts.numbers(1);
  const type = elementType(parts.number(2), name);
  if ((parts.number(14) ?? 0) !== 0) throw unreadable(`${name} lies outside of the file`);
  const count = dims.reduce((product, dim) => product * dim, 1);
  const [raw] = parts.all(9);
  if (type === 'float32' && raw !== undefined) return weights(name, dims, raw, count);
  const tensor = ((): OnnxTensor => {
    if (type === 'float32') return { name, dims, type, data: Float32Array.from(parts.floats(4)) };
    if (type === 'int64') {
      const data = raw ? new BigInt64Array(aligned(raw, 8)) : BigInt64Array.from(parts.numbers(7), BigInt);
      return { name, dims, type, data };
    }
    return { name, dims, type, data: raw ? new Uint8Array(raw) : Uint8Array.from(parts.numbers(5)) };
  })();
  if (tensor.data.length !== count)
    throw unreadable(`${name} has ${tensor.data.length} elements of ${count}`);
  return tensor;
}

function weights(name: string, dims: readonly number[], raw: Buffer, count: number): OnnxTensor {
  if (raw.length !== 4 * count) throw unreadable(`${name} has ${raw.length / 4} elements of ${count}`);
  let data: Float32Array | undefined;
  const tensor = {
    name,
    dims,
    type: 'float32' as const,
    get data() {
      return (data ??= new Float32Array(aligned(raw, 4)));
    },
  };
  // Whoever compares or copies tensors looks at their elements.
  return Object.defineProperty(tensor, 'raw', { value: raw, enumerable: false });
}

/** A copy that begins where numbers of this size may. */
function aligned(bytes: Buffer, size: number): ArrayBuffer {
  const copy = new Uint8Array(Math.floor(bytes.length / size) * size);
  copy.set(bytes.subarray(0, copy.length));
  return copy.buffer;
}

/** The fields of a message, by their numbers. */
interface Parts {
  all(field: number): Buffer[];
  /** Empty where there is none. */
  text(field: number): string;
  number(field: number): number | undefined;
  /** Packed or not. */
  numbers(field: number): number[];
  float(field: number): number;
  floats(field: number): number[];
}

function read(bytes: Buffer = Buffer.alloc(0)): Parts {
  const fields = [...fieldsOf(bytes)];
  const of = (number: number): Field[] => fields.filter((field) => field.number === number);
  const all = (number: number): Buffer[] =>
    of(number).flatMap((field) => ('bytes' in field ? [field.bytes] : []));
  const numbers = (number: number): number[] =>
    of(number).flatMap((field) => ('bytes' in field ? packedNumbers(field.bytes) : [field.value]));
  const floats = (number: number): number[] =>
    all(number).flatMap((part) => Array.from({ length: part.length / 4 }, (_, i) => part.readFloatLE(4 * i)));
  return {
    all,
    text: (number) => all(number).at(-1)?.toString('utf8') ?? '',
    number: (number) => numbers(number).at(-1),
    numbers,
    float: (number) => floats(number).at(-1) ?? 0,
    floats,
  };
}

function packedNumbers(bytes: Buffer): number[] {
  const numbers: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const { value, next } = varint(bytes, at);
    numbers.push(value);
    at = next;
  }
  return numbers;
}

function* fieldsOf(bytes: Buffer): Generator<Field> {
  for (let at = 0; at < bytes.length;) {
    const { value: tag, next } = varint(bytes, at);
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === 0) {
      const { value, next: end } = varint(bytes, next);
      yield { number, value };
      at = end;
      continue;
    }
    const { value: length, next: start } =
      wire === 2 ? varint(bytes, next) : { value: FIXED[wire] ?? NaN, next };
    const end = start + length;
    if (!(end >= start && end <= bytes.length)) throw unreadable('it is damaged');
    yield { number, bytes: bytes.subarray(start, end) };
    at = end;
  }
}

/** Bytes of a field of a fixed size, by its kind. */
const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

/** Negative numbers are two's complements of 64 bits. */
function varint(bytes: Buffer, from: number): { value: number; next: number } {
  let wide = 0n;
  for (let count = 0; count < 10; count += 1) {
    const part = bytes[from + count];
    if (part === undefined) break;
    wide |= BigInt(part & 0x7f) << BigInt(7 * count);
    if (part < 0x80) return { value: Number(BigInt.asIntN(64, wide)), next: from + count + 1 };
  }
  throw unreadable('it is damaged');
}
