import type { Graph, Value } from '../graph.js';

/*
 * Networks over time behind the convolutions of the frame-wise networks of EfficientSED (arXiv 2503.11373). Values are
 * [batch, frames, features] where nothing else is said.
 */

const GRU_LAYERS = 2;
const DIRECTIONS = ['', '_reverse'];

/** Two layers of gated recurrent units that read forwards and backwards: [batch, frames, inputs] → [batch, frames, 2·hidden]. */
export function recurrent(
  g: Graph,
  x: Value,
  path: string,
  { inputs, hidden }: { inputs: number; hidden: number },
): Value {
  // [frames, batch, features], as the operator takes it.
  let y = g.transpose(x, [1, 0, 2]);
  for (let layer = 0; layer < GRU_LAYERS; layer += 1) {
    const width = layer === 0 ? inputs : 2 * hidden;
    // PyTorch's gates are reset, update, new; the operator wants update, reset, new.
    const tensor = (leaf: string, direction: string, shape: readonly number[]): Float32Array =>
      secondThirdFirst(g.tensor(`${path}.${leaf}_l${layer}${direction}`, shape));
    const both = (leaf: string, columns: number): Value =>
      g.constant(
        [DIRECTIONS.length, 3 * hidden, columns],
        joined(DIRECTIONS.map((direction) => tensor(leaf, direction, [3 * hidden, columns]))),
        `${path}.${leaf}_l${layer} (both directions)`,
      );
    const weights = [both('weight_ih', width), both('weight_hh', hidden)];
    const biases = DIRECTIONS.flatMap((direction) =>
      ['bias_ih', 'bias_hh'].map((leaf) => tensor(leaf, direction, [3 * hidden])),
    );
    const bias = g.constant(
      [DIRECTIONS.length, 6 * hidden],
      joined(biases),
      `${path}.bias_l${layer} (both directions)`,
    );
    const states = g.node('GRU', [y, ...weights, bias], {
      direction: { string: 'bidirectional' },
      hidden_size: { int: hidden },
      // PyTorch resets the state after its matrix product, not before.
      linear_before_reset: { int: 1 },
    });
    // [frames, directions, batch, hidden]
    y = g.reshape(g.transpose(states, [0, 2, 1, 3]), [0, 0, 2 * hidden]);
  }
  return g.transpose(y, [1, 0, 2]);
}

function secondThirdFirst(data: Float32Array): Float32Array {
  const third = data.length / 3;
  return joined([data.subarray(third, 2 * third), data.subarray(0, third), data.subarray(2 * third)]);
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const result = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

const TRANSFORMER_LAYERS = 2;

/** Layers of attention over all frames of the window, [batch, frames, size] → the same. */
export function transformer(g: Graph, x: Value, path: string, size: number): Value {
  const frame = framePositions(g, x);
  let y = x;
  for (let layer = 0; layer < TRANSFORMER_LAYERS; layer += 1) {
    y = g.add(y, attention(g, y, `${path}.layers.${layer}.0`, size, frame));
    y = g.add(y, feedForward(g, y, `${path}.layers.${layer}.1.net`, size));
  }
  return rootMeanSquareNorm(g, y, `${path}.norm.gamma`, size);
}

/** 0, 1, 2 … for the frames of the window: [frames, 1]. */
function framePositions(g: Graph, x: Value): Value {
  const count = g.squeeze(g.node('Shape', [x], { start: { int: 1 }, end: { int: 2 } }), [0]);
  const limit = g.node('Cast', [count], { to: { int: FLOAT } });
  return g.reshape(g.node('Range', [g.constant([], [0]), limit, g.constant([], [1])]), [-1, 1]);
}

/** As ONNX numbers the types of tensors. */
const FLOAT = 1;

/** γ·√size·x/‖x‖ along the last axis (Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019). */
function rootMeanSquareNorm(g: Graph, x: Value, name: string, size: number): Value {
  const length = g.node('ReduceL2', [x], { axes: { ints: [-1] }, keepdims: { int: 1 } });
  const unit = g.node('Div', [x, g.node('Max', [length, g.constant([], [1e-12])])]);
  const gamma = g.tensor(name, [size]).map((value) => value * Math.sqrt(size));
  return g.multiply(unit, g.constant([size], gamma, name));
}

/** Attention with a gate per head and frame, and positions as rotations (Su et al., "RoFormer", 2021). */
function attention(g: Graph, x: Value, path: string, size: number, frame: Value): Value {
  const heads = size < 128 ? 4 : 8;
  const perHead = size / heads;
  const normed = rootMeanSquareNorm(g, x, `${path}.norm.gamma`, size);
  const [query, key, value] = g
    .split(g.node('MatMul', [normed, projection(g, `${path}.to_qkv.weight`, size, heads)]), 3, 2)
    .map((part) => g.reshape(part, [0, 0, heads, perHead])) as [Value, Value, Value];

  const half = perHead / 2;
  const frequencies = g.tensor(`${path}.pos_encoding.freqs`, [half]);
  const angle = g.multiply(frame, g.constant([1, half], frequencies, `${path}.pos_encoding.freqs`));
  const [cosine, sine] = [g.node('Cos', [angle]), g.node('Sin', [angle])];
  const rotated = (y: Value): Value => {
    const [even, odd] = g.split(g.transpose(y, [0, 2, 1, 3]), 2, 3) as [Value, Value];
    const first = g.node('Sub', [g.multiply(even, cosine), g.multiply(odd, sine)]);
    return g.concat([first, g.add(g.multiply(odd, cosine), g.multiply(even, sine))], 3);
  };

  const likeness = g.node('MatMul', [rotated(query), g.transpose(rotated(key), [0, 1, 3, 2])]);
  const attended = g.node('MatMul', [g.softmax(likeness, 3), g.transpose(value, [0, 2, 1, 3])]);
  // [batch, heads, frames, perHead], and a gate for each of the first three.
  const gates = g.sigmoid(g.linearLast(normed, `${path}.to_gates`, { features: heads }));
  const gated = g.multiply(attended, g.transpose(g.reshape(gates, [0, 0, heads, 1]), [0, 2, 1, 3]));
  const merged = g.reshape(g.transpose(gated, [0, 2, 1, 3]), [0, 0, size]);
  return g.linearLast(merged, `${path}.to_out.0`, { features: size });
}

/**
 * The matrix that makes queries, keys and values of a frame, [size, 3·size]. The original turns the pairs of
 * neighbouring features (0, 1), (2, 3) … by an angle; here the even ones of each head stand before the odd ones, in
 * queries and keys alike, which changes no product of the two and spares a shuffle for each frame. The scale of the
 * products, 1/√(features of a head), is in the queries.
 */
function projection(g: Graph, name: string, size: number, heads: number): Value {
  const weight = g.tensor(name, [3 * size, size]);
  const perHead = size / heads;
  const half = perHead / 2;
  const matrix = new Float32Array(weight.length);
  for (let row = 0; row < 3 * size; row += 1) {
    const [part, feature] = [Math.floor(row / size), row % perHead];
    const inPairs = feature < half ? 2 * feature : 2 * (feature - half) + 1;
    const from = part === 2 ? row : row - feature + inPairs;
    const factor = part === 0 ? 1 / Math.sqrt(perHead) : 1;
    for (let column = 0; column < size; column += 1) {
      matrix[column * 3 * size + row] = weight[from * size + column]! * factor;
    }
  }
  return g.constant([size, 3 * size], matrix, `${name} (transposed)`);
}

function feedForward(g: Graph, x: Value, path: string, size: number): Value {
  const normed = rootMeanSquareNorm(g, x, `${path}.0.gamma`, size);
  const wide = g.gelu(g.linearLast(normed, `${path}.1`, { features: 4 * size }));
  return g.linearLast(wide, `${path}.4`, { features: size });
}
