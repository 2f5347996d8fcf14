import t from 'tap';
import { Graph } from '../../src/convert/graph.js';
import type { OnnxGraph } from '../../src/convert/onnx.js';
import { COSTS, type Costs } from '../../src/convert/streaming/costs.js';
import { streamNetwork, type StreamedNetwork } from '../../src/convert/streaming/stream-network.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import { unitAt } from '../support/synthetic.js';

/* What a stream keeps and what it computes once more follows from what both are taken to cost. */

const CHANNELS = 16;
const MELS = 8;
const COLUMNS = 400;
const LAYERS = 6;

/** Convolutions with shortcuts, and a pooling in the middle. */
function buildNetwork(): OnnxGraph {
  const tensors = new Map<string, Tensor>();
  const add = (name: string, shape: number[]): void => {
    const length = shape.reduce((product, dim) => product * dim, 1);
    tensors.set(name, { shape, data: Float32Array.from({ length }, (_, i) => unitAt(tensors.size, i)) });
  };
  add('first.weight', [CHANNELS, 1, 1, 1]);
  for (let layer = 0; layer < LAYERS; layer += 1) add(`${layer}.weight`, [CHANNELS, CHANNELS, 3, 3]);
  const g = new Graph(createWeights(tensors));
  let x = g.conv(g.input('logmel', ['batch', 1, 'frames', MELS]), 'first');
  for (let layer = 0; layer < LAYERS; layer += 1) {
    if (layer === LAYERS / 2) x = g.averagePool(x, 2, { kernel: [2, 1], stride: [2, 1], padding: [0, 0] });
    x = g.relu(g.add(g.conv(x, String(layer), { padding: 1 }), x));
  }
  g.output('probs', g.mean(x, [2, 3]), ['batch', CHANNELS]);
  return g.finish('shortcuts');
}

function streamedWith(costs: Costs, leftEdge: 'exact' | 'stream' = 'exact'): StreamedNetwork {
  const input = { name: 'logmel', timeAxis: 2, columns: COLUMNS, strideSamples: 10, left: 1, right: 1 };
  const request = { inputs: [input], windowSamples: 10 * COLUMNS, hopSamples: 400, leftEdge, costs };
  const streamed = streamNetwork(buildNetwork(), request);
  if ('reason' in streamed) throw new Error(streamed.reason);
  return streamed;
}

/** What is free, and what is dear. */
const withCuts = (factor: number): Costs => ({
  ...COSTS,
  ...{ cut: COSTS.cut * factor, cutOfEnd: COSTS.cutOfEnd * factor, cutNumber: COSTS.cutNumber * factor },
  ...{ copied: COSTS.copied * factor, copiedNumber: COSTS.copiedNumber * factor },
  ...{ gathered: COSTS.gathered * factor, gatheredNumber: COSTS.gatheredNumber * factor },
  gatheredRun: COSTS.gatheredRun * factor,
});

/** Values that something is kept of. */
const keptOf = ({ plan }: StreamedNetwork): number =>
  new Set([...plan.cuts, ...plan.tails, ...plan.edges].map(({ input }) => input.replace(/ \w+$/, ''))).size;

t.test('where cutting up costs nothing all is kept, where it is dear all is computed', (t) => {
  const [free, dear] = [streamedWith(withCuts(0)), streamedWith(withCuts(1e6))];
  t.ok(keptOf(free) >= LAYERS - 1, `${keptOf(free)} values are kept`);
  t.equal(keptOf(dear), 0);
  t.ok(free.macs!.hop < dear.macs!.hop, 'what is kept is not computed');
  t.equal(free.plan.gridSamples, dear.plan.gridSamples, 'windows move by the same steps');
  t.end();
});

t.test('a shortcut takes what was put together for the convolution beside it', (t) => {
  const { graph } = streamedWith(withCuts(0));
  const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node])));
  for (const add of graph.nodes.filter(({ op }) => op === 'Add')) {
    const [branch, shortcut] = add.inputs.map((name) => makers.get(name));
    t.equal(branch?.op, 'Conv');
    t.equal(branch?.inputs[0], add.inputs[1], 'both take the same tensor');
    t.ok(shortcut !== undefined && !['Concat', 'Slice'].includes(shortcut.op), 'in blocks of channels');
  }
  t.end();
});

t.test('every node of a stream has somebody who takes what it makes', (t) => {
  for (const leftEdge of ['exact', 'stream'] as const) {
    for (const factor of [0, 1e-2, 1]) {
      const { graph } = streamedWith(withCuts(factor), leftEdge);
      const taken = new Set([
        ...graph.nodes.flatMap(({ inputs }) => inputs),
        ...graph.outputs.map(({ name }) => name),
      ]);
      const idle = graph.nodes.filter(({ outputs }) => !outputs.some((name) => taken.has(name)));
      t.same(idle, [], `${leftEdge} ${factor}`);
    }
  }
  t.end();
});
