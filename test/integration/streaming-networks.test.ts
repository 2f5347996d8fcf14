import fc from 'fast-check';
import t from 'tap';
import { checkShapes } from '../../src/convert/check-shapes.js';
import { COSTS, type Costs } from '../../src/convert/streaming/costs.js';
import { withLengths, type InputLength } from '../../src/convert/streaming/with-lengths.js';
import { Graph, type Value } from '../../src/convert/graph.js';
import type { OnnxGraph } from '../../src/convert/onnx.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import type { InputTensor } from '../../src/inference/model-input.js';
import { openBothForms } from '../support/stream-check.js';
import { unitAt } from '../support/synthetic.js';
import { temporaryFolder } from '../support/temporary.js';

/*
 * Random small networks of convolutions, poolings and shortcuts: whatever the hops, the stream gives what the whole window
 * gives. SOUNDPOST_TEST_SEED repeats a run.
 */

const TOLERANCE = 1e-5;
const CHANNELS = 3;
const MELS = 4;
const seed = Number(process.env.SOUNDPOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

interface Layer {
  kind: 'conv' | 'max' | 'mean' | 'shortcut';
  kernel: number;
  stride: number;
  padding: number;
  dilation: number;
  ceil: boolean;
}

const layers = fc.array(
  fc.record<Layer>({
    kind: fc.constantFrom('conv', 'conv', 'max', 'mean', 'shortcut'),
    kernel: fc.integer({ min: 1, max: 5 }),
    stride: fc.integer({ min: 1, max: 3 }),
    padding: fc.integer({ min: 0, max: 2 }),
    dilation: fc.integer({ min: 1, max: 2 }),
    ceil: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

function applyLayer(g: Graph, x: Value, layer: Layer, path: string): Value {
  const { kind, kernel, stride, dilation, ceil } = layer;
  // Padding of more than half a kernel is none that PyTorch or ONNX Runtime take for a pooling.
  const padding = Math.min(layer.padding, Math.floor(kernel / 2));
  switch (kind) {
    case 'conv':
      return g.relu(g.conv(x, path, { stride: [stride, 1], padding: [padding, 0], dilation: [dilation, 1] }));
    case 'max':
      return g.maxPool(x, 2, { kernel: [kernel, 1], stride: [stride, 1], padding: [padding, 0], ceil });
    case 'mean':
      return g.averagePool(x, 2, {
        kernel: [kernel, 1],
        stride: [stride, 1],
        padding: [padding, 0],
        countIncludePad: layer.padding % 2 === 0,
      });
    case 'shortcut': {
      const branch = g.conv(x, path, { padding: [Math.floor(kernel / 2), 0] });
      return g.relu(g.add(branch, x));
    }
  }
}

function buildNetwork(list: readonly Layer[]): OnnxGraph {
  const tensors = new Map<string, Tensor>();
  const add = (name: string, shape: number[]): void => {
    const length = shape.reduce((product, dim) => product * dim, 1);
    const at = tensors.size;
    tensors.set(name, { shape, data: Float32Array.from({ length }, (_, i) => 0.6 * unitAt(at, i)) });
  };
  add('first.weight', [CHANNELS, 1, 1, 1]);
  list.forEach(({ kind, kernel }, index) => {
    const odd = kind === 'shortcut' ? 2 * Math.floor(kernel / 2) + 1 : kernel;
    if (kind === 'conv' || kind === 'shortcut') add(`${index}.weight`, [CHANNELS, CHANNELS, odd, 1]);
    if (kind === 'conv') add(`${index}.bias`, [CHANNELS]);
  });
  const g = new Graph(createWeights(tensors));
  let x = g.conv(g.input('logmel', ['batch', 1, 'frames', MELS]), 'first');
  list.forEach((layer, index) => (x = applyLayer(g, x, layer, String(index))));
  const perColumn = g.mean(x, [3]);
  g.output('probs', g.add(g.mean(perColumn, [2]), g.max(perColumn, [2])), ['batch', CHANNELS]);
  g.output('frames', g.transpose(perColumn, [0, 2, 1]), ['batch', 'time', CHANNELS]);
  return g.finish('random');
}

/** Whether every layer has at least one column to make. */
function hasColumns(graph: OnnxGraph, input: InputLength): boolean {
  return [...checkShapes(withLengths(graph, [input])).values()].every((dims) =>
    dims.every((dim) => dim !== null && dim > 0),
  );
}

/** With what it costs to keep something, such small networks would be computed as a whole: that is made cheaper, in one way. */
function costsWith(cheaper: number, isGathered: boolean): Costs {
  const { cut, cutNumber, copied, copiedNumber, gathered, gatheredNumber, gatheredRun } = COSTS;
  return {
    ...COSTS,
    ...{ cut: cut * cheaper, cutNumber: cutNumber * cheaper },
    ...{ copied: copied * cheaper, gathered: gathered * cheaper, gatheredRun: gatheredRun * cheaper },
    copiedNumber: isGathered ? Infinity : copiedNumber * cheaper,
    gatheredNumber: isGathered ? gatheredNumber * cheaper : Infinity,
  };
}

/** A row of numbers of which windows are cut. */
const sound = Float32Array.from({ length: 4000 * MELS }, (_, i) => unitAt(77, i));

function windowThatEnds(end: number, columns: number, edges: number): InputTensor[] {
  const data = sound.slice((end - columns) * MELS, end * MELS);
  // The first and last columns are made of something else, as padding by reflection does.
  for (let i = 0; i < edges * MELS; i += 1) {
    data[i]! += 1;
    data[data.length - 1 - i]! -= 1;
  }
  return [{ name: 'logmel', data, dims: [1, 1, columns, MELS], timeAxis: 2 }];
}

t.test('whatever the layers, hops and lengths, a stream gives what the whole window gives', async (t) => {
  t.comment(`seed ${seed}`);
  const folder = temporaryFolder(t);
  let streamed = 0;
  let shortened = 0;
  let followed = 0;
  const kept = { copied: 0, byColumn: 0, gathered: 0 };
  const property = fc.asyncProperty(
    layers,
    fc.integer({ min: 60, max: 200 }),
    fc.integer({ min: 0, max: 2 }),
    fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 3, maxLength: 8 }),
    fc.integer({ min: 0, max: 3 }),
    fc.constantFrom(0, 0, 1e-4, 1e-2),
    fc.boolean(),
    async (list, columns, edges, hops, shorter, cheaper, isGathered) => {
      const input = { name: 'logmel', timeAxis: 2, columns, strideSamples: 10, left: edges, right: edges };
      const request = {
        inputs: [input],
        windowSamples: 10 * columns,
        hopSamples: 60,
        leftEdge: 'exact',
        costs: costsWith(cheaper, isGathered),
      } as const;
      const graph = buildNetwork(list);
      // A shorter window leaves the last layers fewer columns.
      if (!hasColumns(graph, input) || !hasColumns(graph, { ...input, columns: Math.min(50, columns) }))
        return;
      const both = await openBothForms(graph, request, folder);
      if ('reason' in both) return;
      streamed += 1;
      const { gridSamples, cuts, edges: gathered } = both.streamed.plan;
      kept.copied += cuts.filter(({ edge }) => edge !== null && edge.columns <= edge.perStep).length;
      kept.byColumn += cuts.filter(({ edge }) => edge !== null && edge.columns > edge.perStep).length;
      kept.gathered += gathered.length;
      let end = 300;
      let moved: number | null = null;
      // A window of another length, then those of the planned one.
      for (const [index, hop] of [1, ...hops].entries()) {
        const short = columns - (index === 0 ? (shorter * gridSamples) / 10 : 0);
        const length = short > 50 && both.stream.fits(10 * short) ? short : columns;
        const worst = await both.compare(windowThatEnds(end, length, edges), 10 * length, moved);
        if (length < columns) shortened += 1;
        if (worst > TOLERANCE) throw new Error(`${worst} off at hop ${index}`);
        // Zero stands for a break in the sound.
        moved = hop === 0 ? null : hop * gridSamples;
        end += (Math.max(1, hop) * gridSamples) / 10;
      }
      followed += hops.length + 1 - both.stream.beginnings;
      await both.release();
    },
  );
  await fc.assert(property, { seed, numRuns: 60, endOnFailure: true });
  t.ok(streamed >= 30, `most can be streamed: ${streamed}`);
  t.ok(followed >= 60, `most hops follow the one before: ${followed}`);
  t.ok(kept.copied > 0 && kept.byColumn > 0 && kept.gathered > 0, `in every way: ${JSON.stringify(kept)}`);
  t.ok(shortened >= 1, `some began with a shorter window: ${shortened}`);
});

/** The last rows of a table of so many columns, and what the random networks make of them: their mean and largest. */
function lastFrames(all: Float32Array, count: number): { frames: Float32Array; probs: number[] } {
  const frames = all.subarray(all.length - count * CHANNELS);
  const probs = Array.from({ length: CHANNELS }, (_, channel) => {
    const values = Array.from({ length: count }, (_, row) => frames[row * CHANNELS + channel]!);
    return values.reduce((sum, value) => sum + value, 0) / count + Math.max(...values);
  });
  return { frames, probs };
}

/** Layers at the end that are computed for the whole window begin with its padding, not with the sound before. */
function isWhollyStreamed({ nodes }: OnnxGraph): boolean {
  return nodes.every(
    ({ op, outputs }) =>
      !['Conv', 'MaxPool', 'AveragePool'].includes(op) || outputs[0]?.endsWith(' columns') === true,
  );
}

function furthest(found: Float32Array, expected: ArrayLike<number>): number {
  const off = [...found].map((value, i) => Math.abs(value - (expected[i] ?? NaN)));
  return off.every(Number.isFinite) && found.length === expected.length ? Math.max(...off) : Infinity;
}

t.test(
  'with the cheaper left edge it gives what the network says of the sound from long before',
  async (t) => {
    t.comment(`seed ${seed}`);
    const folder = temporaryFolder(t);
    let compared = 0;
    const property = fc.asyncProperty(
      layers,
      fc.integer({ min: 60, max: 120 }),
      fc.integer({ min: 0, max: 2 }),
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 5 }),
      async (list, columns, edges, hops) => {
        const input = { name: 'logmel', timeAxis: 2, columns, strideSamples: 10, left: edges, right: edges };
        const graph = buildNetwork(list);
        if (!hasColumns(graph, input)) return;
        const request = { inputs: [input], windowSamples: 10 * columns, hopSamples: 60 };
        const both = await openBothForms(graph, { ...request, leftEdge: 'stream' }, folder);
        if ('reason' in both || !isWhollyStreamed(both.streamed.graph)) return;
        const step = both.streamed.plan.gridSamples / 10;
        const longest = Math.floor(both.streamed.plan.maxHopSamples / both.streamed.plan.gridSamples);
        let end = 300;
        await both.stream.infer(windowThatEnds(end, columns, edges), 10 * columns, null);
        // Until nothing is left of how the stream began.
        while (end < 300 + 2 * columns) {
          end += step;
          await both.stream.infer(windowThatEnds(end, columns, edges), 10 * columns, 10 * step);
        }
        for (const hop of hops) {
          const moved = Math.min(hop, longest) * step;
          end += moved;
          const found = await both.stream.infer(
            windowThatEnds(end, columns, edges),
            10 * columns,
            10 * moved,
          );
          const frames = found.frames!;
          // A window that is longer by whole steps of the grid has its columns at the same places.
          const longer = columns + Math.ceil(columns / step) * step;
          const whole = await both.whole(windowThatEnds(end, longer, edges));
          const expected = lastFrames(whole.frames!.data as Float32Array, frames.dims[1]!);
          const off = Math.max(
            furthest(frames.data as Float32Array, expected.frames),
            furthest(found.probs!.data as Float32Array, expected.probs),
          );
          if (off > TOLERANCE) throw new Error(`${off} off`);
          compared += 1;
        }
        t.equal(both.stream.beginnings, 1);
        await both.release();
      },
    );
    await fc.assert(property, { seed, numRuns: 60, endOnFailure: true });
    t.ok(compared >= 60, `${compared} windows were compared`);
  },
);
