/** The number formats of stored tensors that can be converted to float32. */
export type Dtype =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint64'
  | 'uint32'
  | 'uint16'
  | 'uint8'
  | 'bool';

interface Format {
  bytes: number;
  /** The number at a byte offset, little-endian; rounding to float32 is left to the Float32Array it goes into. */
  get: (view: DataView, at: number) => number;
}

const FORMATS: Record<Dtype, Format> = {
  float64: { bytes: 8, get: (view, at) => view.getFloat64(at, true) },
  float32: { bytes: 4, get: (view, at) => view.getFloat32(at, true) },
  float16: { bytes: 2, get: (view, at) => float16(view.getUint16(at, true)) },
  bfloat16: { bytes: 2, get: (view, at) => bfloat16(view.getUint16(at, true)) },
  int64: {
    bytes: 8,
    get: (view, at) => view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true),
  },
  int32: { bytes: 4, get: (view, at) => view.getInt32(at, true) },
  int16: { bytes: 2, get: (view, at) => view.getInt16(at, true) },
  int8: { bytes: 1, get: (view, at) => view.getInt8(at) },
  uint64: {
    bytes: 8,
    get: (view, at) => view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true),
  },
  uint32: { bytes: 4, get: (view, at) => view.getUint32(at, true) },
  uint16: { bytes: 2, get: (view, at) => view.getUint16(at, true) },
  uint8: { bytes: 1, get: (view, at) => view.getUint8(at) },
  bool: { bytes: 1, get: (view, at) => (view.getUint8(at) === 0 ? 0 : 1) },
};

/** Bytes of one element. */
export const bytesOf = (dtype: Dtype): number => FORMATS[dtype].bytes;

/** Reads the element at a byte offset of little-endian data. */
export const readerOf = (dtype: Dtype): ((view: DataView, at: number) => number) => FORMATS[dtype].get;

/** IEEE 754 binary16: 1 sign bit, 5 of the exponent (bias 15), 10 of the fraction. */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const bits32 = new Uint32Array(1);
const asFloat = new Float32Array(bits32.buffer);

/** The upper half of a float32. */
function bfloat16(bits: number): number {
  bits32[0] = bits << 16;
  return asFloat[0]!;
}
