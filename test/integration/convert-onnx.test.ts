import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import t, { type Test } from 'tap';
import { writeOnnx, type OnnxGraph, type OnnxModel, type OnnxTensor } from '../../src/convert/onnx.js';

const folder = async (test: Test): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'soundpost-onnx-'));
  test.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
};

const f32 = (name: string, dims: number[], data: number[]): OnnxTensor => ({
  name,
  dims,
  type: 'float32',
  data: Float32Array.from(data),
});
const i64 = (name: string, dims: number[], data: number[]): OnnxTensor => ({
  name,
  dims,
  type: 'int64',
  data: BigInt64Array.from(data, BigInt),
});

async function run(
  test: Test,
  graph: OnnxGraph,
  feeds: Record<string, Tensor>,
  opset: OnnxModel['opset'] = 13,
): Promise<Record<string, Tensor>> {
  const path = join(await folder(test), 'model.onnx');
  await writeOnnx(path, { opset, graph });
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  const results = (await session.run(feeds)) as Record<string, Tensor>;
  await session.release();
  return results;
}

t.test('a dense layer with a symbolic batch gives the right numbers', async (test) => {
  const graph: OnnxGraph = {
    name: 'dense',
    inputs: [{ name: 'x', type: 'float32', dims: ['batch', 3] }],
    outputs: [{ name: 'y', type: 'float32', dims: ['batch', 2] }],
    nodes: [
      {
        op: 'Gemm',
        inputs: ['x', 'w', 'b'],
        outputs: ['y'],
        attributes: { alpha: { float: 0.5 }, transB: { int: 1 } },
      },
    ],
    initializers: [f32('w', [2, 3], [1, 2, 3, -1, 0, 1]), f32('b', [2], [10, 20])],
  };
  for (const opset of [13, 14, 15, 16, 17] as const) {
    const x = new Tensor('float32', Float32Array.of(1, 1, 1, 2, 0, 2), [2, 3]);
    const { y } = await run(test, graph, { x }, opset);
    test.same(y!.dims, [2, 2]);
    test.same([...(y!.data as Float32Array)], [13, 20, 14, 20]);
  }
});

t.test('a convolution with list, string and tensor attributes gives the right numbers', async (test) => {
  const graph: OnnxGraph = {
    name: 'conv',
    inputs: [{ name: 'x', type: 'float32', dims: [1, 1, 3, 3] }],
    outputs: [
      { name: 'y', type: 'float32', dims: [1, 1, 'h', 'w'] },
      { name: 'c', type: 'float32', dims: [2] },
      { name: 'same', type: 'float32', dims: [1, 1, 3, 3] },
      { name: 'f', type: 'float32', dims: [3] },
    ],
    nodes: [
      {
        op: 'Conv',
        inputs: ['x', 'w', 'b'],
        outputs: ['y'],
        attributes: {
          kernel_shape: { ints: [2, 2] },
          pads: { ints: [0, 0, 0, 0] },
          strides: { ints: [1, 1] },
        },
      },
      {
        op: 'Conv',
        inputs: ['x', 'w'],
        outputs: ['same'],
        attributes: { auto_pad: { string: 'SAME_UPPER' } },
      },
      {
        op: 'Constant',
        inputs: [],
        outputs: ['c'],
        attributes: { value: { tensor: f32('', [2], [7, -0.25]) } },
      },
      {
        op: 'Constant',
        inputs: [],
        outputs: ['f'],
        attributes: { value_floats: { floats: [0.5, -1, 1e-3] } },
      },
    ],
    initializers: [f32('w', [1, 1, 2, 2], [1, 0, 0, -1]), f32('b', [1], [0.5])],
  };
  const x = new Tensor('float32', Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 10), [1, 1, 3, 3]);
  const { y, c, same, f } = await run(test, graph, { x });
  test.same(y!.dims, [1, 1, 2, 2]);
  test.same([...(y!.data as Float32Array)], [-3.5, -3.5, -3.5, -4.5]);
  test.same([...(c!.data as Float32Array)], [7, -0.25]);
  test.same([...(same!.data as Float32Array)], [-4, -4, 3, -4, -5, 6, 7, 8, 10]);
  test.same([...(f!.data as Float32Array)], [0.5, -1, Math.fround(1e-3)]);
});

t.test('a loop with a sub-graph, bool and int64 constants runs as often as it should', async (test) => {
  const graph: OnnxGraph = {
    name: 'loop',
    inputs: [{ name: 'x', type: 'float32', dims: [] }],
    outputs: [{ name: 'y', type: 'float32', dims: [] }],
    nodes: [
      {
        op: 'Loop',
        inputs: ['trips', 'go', 'x'],
        outputs: ['y'],
        attributes: {
          body: {
            graph: {
              name: 'body',
              inputs: [
                { name: 'i', type: 'int64', dims: [] },
                { name: 'go_in', type: 'bool', dims: [] },
                { name: 'acc', type: 'float32', dims: [] },
              ],
              outputs: [
                { name: 'go_out', type: 'bool', dims: [] },
                { name: 'next', type: 'float32', dims: [] },
              ],
              nodes: [
                { op: 'Identity', inputs: ['go_in'], outputs: ['go_out'] },
                { op: 'Mul', inputs: ['acc', 'two'], outputs: ['next'] },
              ],
              initializers: [f32('two', [], [2])],
            },
          },
        },
      },
    ],
    initializers: [i64('trips', [], [10]), { name: 'go', dims: [], type: 'bool', data: Uint8Array.of(1) }],
  };
  const { y } = await run(test, graph, { x: new Tensor('float32', Float32Array.of(1.5), []) });
  test.equal(y!.data[0], 1.5 * 1024);
});

t.test(
  'a large weight goes to the file as it is, and digest and size are those of the file',
  async (test) => {
    const path = join(await folder(test), 'large.onnx');
    // A view into a larger buffer, at an offset, larger than every buffer on the way.
    const backing = new Float32Array(3_000_001);
    for (let i = 0; i < backing.length; i++) backing[i] = (i % 8191) - 4000;
    const data = backing.subarray(1);
    const graph: OnnxGraph = {
      name: 'large',
      inputs: [{ name: 'at', type: 'int64', dims: ['n'] }],
      outputs: [{ name: 'y', type: 'float32', dims: ['n', 3] }],
      nodes: [{ op: 'Gather', inputs: ['table', 'at'], outputs: ['y'] }],
      initializers: [{ name: 'table', dims: [1_000_000, 3], type: 'float32', data }],
    };
    const written = await writeOnnx(path, { opset: 17, graph, metadata: { licence: 'MIT' } });
    const bytes = await readFile(path);
    test.equal(written.bytes, (await stat(path)).size);
    test.equal(written.sha256, createHash('sha256').update(bytes).digest('hex'));
    test.ok(written.bytes < data.byteLength + 1000, 'there is little beside the weights');

    const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 4 });
    const at = new Tensor('int64', BigInt64Array.of(0n, 999_999n, 4711n), [3]);
    const { y } = (await session.run({ at })) as Record<string, Tensor>;
    const rows = [0, 999_999, 4711].flatMap((row) => [...data.subarray(row * 3, row * 3 + 3)]);
    test.same([...(y!.data as Float32Array)], rows);
    await session.release();
  },
);

t.test('a model that contradicts itself is refused, and failures leave nothing behind', async (test) => {
  const path = await folder(test);
  const graph: OnnxGraph = { name: 'g', inputs: [], outputs: [], nodes: [], initializers: [] };
  const write = (initializers: OnnxTensor[]): Promise<unknown> =>
    writeOnnx(join(path, 'bad.onnx'), { opset: 13, graph: { ...graph, initializers } });
  await test.rejects(write([f32('w', [2, 2], [1, 2, 3])]), {
    code: 'onnx_invalid',
    message: /"w" has 3 elements, but .* \[2, 2\] ask for 4/,
  });
  await test.rejects(write([f32('w', [1], [1]), f32('w', [1], [1])]), { code: 'onnx_invalid' });

  await mkdir(join(path, 'taken'));
  await test.rejects(writeOnnx(join(path, 'taken'), { opset: 13, graph }), 'the name belongs to a folder');
  await test.rejects(writeOnnx(join(path, 'none', 'x.onnx'), { opset: 13, graph }), { code: 'ENOENT' });
  test.same(await readdir(path), ['taken']);
});
