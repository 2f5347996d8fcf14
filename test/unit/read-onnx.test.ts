import { readFileSync } from 'node:fs';
import t from 'tap';
import { encodeOnnx, type OnnxModel } from '../../src/convert/onnx.js';
import { readOnnx } from '../../src/convert/read-onnx.js';
import { projectPath } from '../support/shared.js';

const model: OnnxModel = {
  opset: 17,
  graph: {
    name: 'small',
    inputs: [{ name: 'x', type: 'float32', dims: ['batch', 1, 3] }],
    outputs: [{ name: 'y', type: 'float32', dims: ['batch', 2] }],
    nodes: [
      {
        op: 'Conv',
        inputs: ['x', 'w'],
        outputs: ['y'],
        attributes: {
          pads: { ints: [1, -1] },
          group: { int: 2 },
          alpha: { float: 0.5 },
          mode: { string: 'same' },
        },
      },
    ],
    initializers: [
      { name: 'w', type: 'float32', dims: [2, 1], data: Float32Array.of(1.5, -2) },
      { name: 'shape', type: 'int64', dims: [2], data: BigInt64Array.of(-1n, 7n) },
      { name: 'mask', type: 'bool', dims: [1], data: Uint8Array.of(1) },
    ],
  },
};

t.test('a network that was written is read as it was', (t) => {
  const { parts } = encodeOnnx(model);
  t.same(readOnnx(Buffer.concat(parts)), model);
  t.end();
});

t.test('a network of another program is read with its constants', (t) => {
  const { graph } = readOnnx(readFileSync(projectPath('models', 'soundpost-home', 'model.onnx')));
  t.same(
    graph.outputs.map(({ name }) => name),
    ['probs', 'frames', 'embedding', 'embedding_frames'],
  );
  const known = new Set([...graph.inputs, ...graph.initializers].map(({ name }) => name));
  for (const { inputs, outputs } of graph.nodes) {
    t.ok(
      inputs.every((name) => known.has(name)),
      `every input of ${outputs.join()} is there`,
    );
    for (const name of outputs) known.add(name);
  }
  t.end();
});

t.test('what is no network is refused in a sentence', (t) => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('RIFF….WAVEfmt '), Buffer.from([0x3a, 0xff, 0x01])]) {
    t.throws(() => readOnnx(bytes), { code: 'onnx_invalid', message: /cannot be read/ });
  }
  t.end();
});
