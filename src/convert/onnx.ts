import { createHash, randomBytes } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { endianness } from 'node:os';
import { dirname } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import {
  bytesField,
  concat,
  floatField,
  intField,
  messageField,
  stringField,
  type Encoded,
} from './protobuf.js';

/*
 * Field numbers and enumerations are those of onnx.proto (ONNX IR version 8, ONNX 1.12):
 * https://github.com/onnx/onnx/blob/v1.12.0/onnx/onnx.proto (proto2, so lists of numbers are not packed).
 */

/** Element types that the models of this project need. */
export type OnnxElementType = 'float32' | 'int64' | 'bool';

/**
 * A constant. `data` holds the elements in C order, as many as the product of `dims`; `bool` has one byte per
 * element, 0 or 1. `dims` empty is a scalar.
 */
export type OnnxTensor = {
  name: string;
  dims: readonly number[];
  /** The same elements as little-endian bytes, where they are known: written without a look at `data`. */
  raw?: Uint8Array;
} & (
  | { type: 'float32'; data: Float32Array }
  | { type: 'int64'; data: BigInt64Array }
  | { type: 'bool'; data: Uint8Array }
);

/** An input or output of a graph. A number is a fixed dimension, a string a symbolic one, as in `['batch', 64]`. */
export interface OnnxValue {
  name: string;
  type: OnnxElementType;
  dims: readonly (number | string)[];
}

/** An attribute of a node, with its kind named, because a JavaScript number may be meant as either kind. */
export type OnnxAttribute =
  | { int: number }
  | { ints: readonly number[] }
  | { float: number }
  | { floats: readonly number[] }
  | { string: string }
  | { tensor: OnnxTensor }
  | { graph: OnnxGraph };

export interface OnnxNode {
  op: string;
  /** Names of values; an empty name leaves out an optional input. */
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Readonly<Record<string, OnnxAttribute>>;
  name?: string;
}

export interface OnnxGraph {
  name: string;
  inputs: readonly OnnxValue[];
  outputs: readonly OnnxValue[];
  /** In an order in which every node comes after those it reads from. */
  nodes: readonly OnnxNode[];
  initializers: readonly OnnxTensor[];
}

export interface OnnxModel {
  /** Version of the default operator set. */
  opset: 13 | 14 | 15 | 16 | 17;
  graph: OnnxGraph;
  producer?: { name: string; version: string };
  /** Shown by tools that inspect the file. */
  metadata?: Readonly<Record<string, string>>;
}

const IR_VERSION = 8;
const ELEMENT_TYPES: Record<OnnxElementType, number> = { float32: 1, int64: 7, bool: 9 };
const ELEMENT_BYTES: Record<OnnxElementType, number> = { float32: 4, int64: 8, bool: 1 };
const ATTRIBUTE_TYPES = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7 };
/** Protocol Buffers refuse messages of 2 GiB and more. */
const MAX_BYTES = 2 ** 31 - 1;
/** Parts are hashed and written in pieces of this size, so that the event loop turns in between. */
const PIECE_BYTES = 1 << 20;

function invalid(what: string, why: string): SoundpostError {
  return new SoundpostError('onnx_invalid', `The ONNX model cannot be written: ${what} ${why}.`);
}

function tensorFields(tensor: OnnxTensor): Encoded[] {
  const elements = tensor.dims.reduce((product, dim) => product * dim, 1);
  const bytes = bytesOf(tensor);
  const held = bytes.byteLength / ELEMENT_BYTES[tensor.type];
  if (elements !== held)
    throw invalid(
      `tensor "${tensor.name}"`,
      `has ${held} elements, but its dimensions [${tensor.dims.join(', ')}] ask for ${elements}`,
    );
  return [
    ...tensor.dims.map((dim) => intField(1, dim)),
    intField(2, ELEMENT_TYPES[tensor.type]),
    stringField(8, tensor.name),
    bytesField(9, bytes),
  ];
}

function bytesOf(tensor: OnnxTensor): Uint8Array {
  if (tensor.raw !== undefined) return tensor.raw;
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function valueFields(value: OnnxValue): Encoded[] {
  const dims = value.dims.map((dim) =>
    messageField(1, [typeof dim === 'number' ? intField(1, dim) : stringField(2, dim)]),
  );
  const tensorType = messageField(1, [intField(1, ELEMENT_TYPES[value.type]), messageField(2, dims)]);
  return [stringField(1, value.name), messageField(2, [tensorType])];
}

function attributeFields(name: string, attribute: OnnxAttribute): Encoded[] {
  const head = stringField(1, name);
  const type = (kind: keyof typeof ATTRIBUTE_TYPES): Encoded => intField(20, ATTRIBUTE_TYPES[kind]);
  if ('int' in attribute) return [head, type('int'), intField(3, attribute.int)];
  if ('ints' in attribute) return [head, type('ints'), ...attribute.ints.map((value) => intField(8, value))];
  if ('float' in attribute) return [head, type('float'), floatField(2, attribute.float)];
  if ('floats' in attribute)
    return [head, type('floats'), ...attribute.floats.map((value) => floatField(7, value))];
  if ('string' in attribute) return [head, type('string'), stringField(4, attribute.string)];
  if ('tensor' in attribute) return [head, type('tensor'), messageField(5, tensorFields(attribute.tensor))];
  return [head, type('graph'), messageField(6, graphFields(attribute.graph))];
}

function nodeFields(node: OnnxNode): Encoded[] {
  return [
    ...node.inputs.map((name) => stringField(1, name)),
    ...node.outputs.map((name) => stringField(2, name)),
    stringField(3, node.name ?? ''),
    stringField(4, node.op),
    ...Object.entries(node.attributes ?? {}).map(([name, value]) =>
      messageField(5, attributeFields(name, value)),
    ),
  ];
}

function graphFields(graph: OnnxGraph): Encoded[] {
  const names = new Set<string>();
  for (const { name } of graph.initializers) {
    if (names.has(name)) throw invalid(`tensor "${name}"`, 'is there twice');
    names.add(name);
  }
  return [
    ...graph.nodes.map((node) => messageField(1, nodeFields(node))),
    stringField(2, graph.name),
    ...graph.initializers.map((tensor) => messageField(5, tensorFields(tensor))),
    ...graph.inputs.map((value) => messageField(11, valueFields(value))),
    ...graph.outputs.map((value) => messageField(12, valueFields(value))),
  ];
}

/**
 * The model as a ModelProto in parts. The weights in it are the given arrays themselves: they must not change
 * until the parts are written. Throws a SoundpostError `onnx_invalid` where dimensions and data disagree.
 */
export function encodeOnnx(model: OnnxModel): Encoded {
  // raw_data is little-endian by definition, and so is every machine onnxruntime-node runs on.
  if (endianness() !== 'LE') throw invalid('this machine', 'is big-endian');
  const encoded = concat([
    intField(1, IR_VERSION),
    stringField(2, model.producer?.name ?? 'soundpost'),
    ...(model.producer === undefined ? [] : [stringField(3, model.producer.version)]),
    messageField(7, graphFields(model.graph)),
    messageField(8, [stringField(1, ''), intField(2, model.opset)]),
    ...Object.entries(model.metadata ?? {}).map(([key, value]) =>
      messageField(14, [stringField(1, key), stringField(2, value)]),
    ),
  ]);
  if (encoded.bytes > MAX_BYTES)
    throw invalid('it', `would have ${encoded.bytes} bytes, and the format ends at ${MAX_BYTES}`);
  return encoded;
}

/** Large parts as pieces of themselves, runs of small ones gathered in one buffer. */
function* pieces(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  const gathered = new Uint8Array(64 * 1024);
  let used = 0;
  for (const part of parts) {
    if (used > 0 && used + part.byteLength > gathered.byteLength) {
      yield gathered.subarray(0, used);
      used = 0;
    }
    if (part.byteLength <= gathered.byteLength) {
      gathered.set(part, used);
      used += part.byteLength;
    } else {
      for (let at = 0; at < part.byteLength; at += PIECE_BYTES) yield part.subarray(at, at + PIECE_BYTES);
    }
  }
  if (used > 0) yield gathered.subarray(0, used);
}

async function writeFully(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.byteLength;) at += (await file.write(piece, at)).bytesWritten;
}

/**
 * Writes an ONNX file. The file appears under its name only when it is whole and on disk (temporary name,
 * fsync, rename); on an error nothing is left behind. The weights go to the file straight from the given
 * arrays, without a copy.
 *
 * Throws a SoundpostError `onnx_invalid` for a model that contradicts itself, and file system errors as they
 * come.
 */
export async function writeOnnx(path: string, model: OnnxModel): Promise<{ bytes: number; sha256: string }> {
  const { bytes, parts } = encodeOnnx(model);
  const hash = createHash('sha256');
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      for (const piece of pieces(parts)) {
        hash.update(piece);
        await writeFully(file, piece);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
  return { bytes, sha256: hash.digest('hex') };
}

/** Makes a rename survive a loss of power. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
