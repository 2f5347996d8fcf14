import { closeSync, openSync } from 'node:fs';
import { createWireReader, Malformed, type Field, type WireReader } from './wire-reader.js';

/*
 * What a network takes at the least, read from its file before ONNX Runtime opens it: a file of a few bytes can ask for
 * more memory than any machine has. Field numbers are those of onnx.proto:
 * https://github.com/onnx/onnx/blob/v1.12.0/onnx/onnx.proto. Weights are skipped, not read.
 */

/** Lower bounds: the network cannot do with less. */
export interface DeclaredMemory {
  /** The constants of all graphs, in bytes. */
  weightsBytes: number;
  /** The largest value between the nodes whose size the file fixes, in bytes. */
  largestBytes: number;
}

/** Bytes of an element by TensorProto.DataType; texts (8) and what is unknown count nothing. */
const ELEMENT_BYTES: readonly number[] = [0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2];
const FLOAT_BYTES = 4;
const INT64 = 7;
/** A shape has few dimensions; longer lists of numbers are none. */
const MAX_RANK = 16;
/** Graphs within graphs (the bodies of If and Loop). */
const MAX_DEPTH = 64;
/** Of a file that has more constants, the shapes of some are not known. */
const MAX_SHAPES = 100_000;
const MAX_NAME_BYTES = 1000;

/**
 * Sums what a file declares. It takes as long as there are fields, whatever the size of the weights.
 * @returns null where the file is no ONNX network or cannot be read: what is wrong with it, ONNX Runtime says.
 */
export function declaredMemory(path: string): DeclaredMemory | null {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    return modelIn(createWireReader(fd));
  } catch {
    return null;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** What has been found so far. */
interface Sums extends DeclaredMemory {
  readonly reader: WireReader;
  /** Small constants that may be shapes, by the name of the value; null where several have the same name. */
  readonly shapes: Map<string, readonly number[] | null>;
  /** Nodes whose output is as large as a constant says. */
  readonly sized: { shapeName: string; elementBytes: number }[];
}

interface Tensor {
  name: string;
  bytes: number;
  elementBytes: number;
  /** The numbers of a small int64 tensor. */
  shape: readonly number[] | null;
}

function modelIn(reader: WireReader): DeclaredMemory {
  const sums: Sums = { reader, weightsBytes: 0, largestBytes: 0, shapes: new Map(), sized: [] };
  reader.file((field) => {
    if (field.number === 7) readGraph(sums, field, 0);
  });
  for (const { shapeName, elementBytes } of sums.sized) {
    const shape = sums.shapes.get(shapeName);
    if (shape) sums.largestBytes = Math.max(sums.largestBytes, productOf(shape) * elementBytes);
  }
  return { weightsBytes: sums.weightsBytes, largestBytes: sums.largestBytes };
}

function readGraph(sums: Sums, graph: Field, depth: number): void {
  if (depth > MAX_DEPTH) throw new Malformed('graphs within graphs without an end');
  sums.reader.message(graph, (field) => {
    if (field.number === 1) readNode(sums, field, depth);
    else if (field.number === 5) {
      const found = readTensor(sums.reader, field);
      addConstant(sums, found, found.name);
    } else if (field.number >= 11 && field.number <= 13) {
      sums.largestBytes = Math.max(sums.largestBytes, bytesOfValue(sums.reader, field));
    }
  });
}

function addConstant(sums: Sums, { bytes, shape }: Tensor, name: string): void {
  sums.weightsBytes += bytes;
  if (shape === null || sums.shapes.size >= MAX_SHAPES) return;
  sums.shapes.set(name, sums.shapes.has(name) ? null : shape);
}

function readNode(sums: Sums, node: Field, depth: number): void {
  const { reader } = sums;
  const inputs: string[] = [];
  let output: string | undefined;
  let op = '';
  const held: Tensor[] = [];
  reader.message(node, (field) => {
    if (field.number === 1 && inputs.length < 2) inputs.push(textOf(reader, field));
    else if (field.number === 2) output ??= textOf(reader, field);
    else if (field.number === 4) op = textOf(reader, field);
    else if (field.number === 5) {
      reader.message(field, (part) => {
        if (part.number === 5) held.push(readTensor(reader, part));
        else if (part.number === 6 || part.number === 11) readGraph(sums, part, depth + 1);
      });
    }
  });
  const [value] = held;
  if (op === 'Constant' && value !== undefined) addConstant(sums, value, output ?? '');
  if (sums.sized.length >= MAX_SHAPES) return;
  const [first, second] = inputs;
  if (op === 'ConstantOfShape' && first !== undefined) {
    // Its attribute is the one element that is repeated; without it, a float.
    sums.sized.push({ shapeName: first, elementBytes: value?.elementBytes ?? FLOAT_BYTES });
  } else if ((op === 'Expand' || op === 'Tile') && second !== undefined) {
    sums.sized.push({ shapeName: second, elementBytes: 1 });
  }
}

function readTensor(reader: WireReader, tensor: Field): Tensor {
  const dims: number[] = [];
  const values: number[] = [];
  let type = 0;
  let name = '';
  let raw: Field | undefined;
  reader.message(tensor, (field) => {
    if (field.number === 1) reader.numbers(field, dims, MAX_RANK + 1);
    else if (field.number === 2 && field.kind === 'number') type = field.value;
    else if (field.number === 7) reader.numbers(field, values, MAX_RANK + 1);
    else if (field.number === 8) name = textOf(reader, field);
    else if (field.number === 9) raw = field;
  });
  if (type === INT64 && raw !== undefined) {
    const bytes = reader.bytes(raw, 8 * (MAX_RANK + 1));
    for (let at = 0; at + 8 <= bytes.length; at += 8) values.push(Number(bytes.readBigInt64LE(at)));
  }
  const isShape = type === INT64 && values.length > 0 && values.length <= MAX_RANK;
  const elementBytes = ELEMENT_BYTES[type] ?? 0;
  return { name, elementBytes, bytes: productOf(dims) * elementBytes, shape: isShape ? values : null };
}

/** Of a ValueInfoProto: what a tensor of its type takes; where a size is left open, with one element there. */
function bytesOfValue(reader: WireReader, value: Field): number {
  let type = 0;
  const dims: number[] = [];
  inside(reader, value, [2, 1], (field) => {
    if (field.number === 1 && field.kind === 'number') type = field.value;
    if (field.number !== 2) return;
    inside(reader, field, [1], (part) => {
      if (part.number === 1 && part.kind === 'number') dims.push(part.value);
    });
  });
  return productOf(dims) * (ELEMENT_BYTES[type] ?? 0);
}

/** Calls `visit` with the fields of the messages that are nested in a message by these numbers. */
function inside(
  reader: WireReader,
  message: Field,
  [number, ...rest]: readonly number[],
  visit: (field: Field) => void,
): void {
  reader.message(message, (field) => {
    if (number === undefined) visit(field);
    else if (field.number === number) inside(reader, field, rest, visit);
  });
}

function textOf(reader: WireReader, field: Field): string {
  return reader.bytes(field, MAX_NAME_BYTES).toString('latin1');
}

/** Elements of a shape; none where a size is 0, or negative, which ONNX Runtime refuses by itself. */
function productOf(dims: readonly number[]): number {
  return dims.some((size) => size <= 0) ? 0 : dims.reduce((product, size) => product * size, 1);
}
