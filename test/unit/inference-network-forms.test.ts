import type { InferenceSession } from 'onnxruntime-node';
import * as runtime from 'onnxruntime-node';
import t, { type Test } from 'tap';
import type { StreamPlan } from '../../src/convert/streaming/plan.js';
import { createNetworkForms, type FormAnswer, type NetworkForms } from '../../src/inference/network-forms.js';
import type { SessionSlot } from '../../src/inference/session-slot.js';

/* A network whose score is the newest sample, in both forms; the stream fails when it is told to. */

const WINDOW = 100;
const GRID = 10;

const PLAN: StreamPlan = {
  ...{ gridSamples: GRID, hopSamples: GRID, maxHopSamples: 5 * GRID, windowSamples: WINDOW },
  inputs: [
    {
      ...{ name: 'x', timeAxis: 1, columns: WINDOW, columnsPerGrid: GRID },
      ...{ input: 'x_tail', head: 0, gap: 0, tail: 0 },
    },
  ],
  ...{ cuts: [], tails: [], edges: [], kept: [] },
};

type Results = InferenceSession.OnnxValueMapType;

const scoresOf = (values: readonly number[], dims = [1, values.length]): Results => ({
  scores: new runtime.Tensor('float32', Float32Array.from(values), dims),
});

function slotOf(run: (feeds: Record<string, runtime.Tensor>) => Results, isOpen: boolean): SessionSlot {
  const session = {
    run: (feeds: Record<string, runtime.Tensor>) => Promise.resolve().then(() => run(feeds)),
  };
  let open = isOpen;
  return {
    get isOpen() {
      return open;
    },
    get: () => {
      open = true;
      return Promise.resolve(session as unknown as InferenceSession);
    },
    release: () => {
      open = false;
      return Promise.resolve();
    },
  };
}

const newest = (tensor: runtime.Tensor | undefined): number => (tensor!.data as Float32Array).at(-1)!;

/** @param failing what a run of the stream gives, or throws, once it is to fail */
function setUp(failing: () => Results) {
  const told: string[] = [];
  const state = { fails: false, wholeRuns: 0 };
  const forms = createNetworkForms({
    runtime,
    whole: slotOf((feeds) => {
      state.wholeRuns += 1;
      return scoresOf([newest(feeds.x), 0.5]);
    }, true),
    stream: {
      plan: PLAN,
      slot: slotOf((feeds) => (state.fails ? failing() : scoresOf([newest(feeds.x_tail), 0.5])), false),
      outputs: { scores: [1, 2] },
      failed: (reason) => {
        told.push(reason);
        return Promise.resolve();
      },
    },
    hasRoomForBoth: () => true,
  });
  return { forms, state, told };
}

/** Hears hops of one step, and checks that each answer is of its own window. */
function createHearing(t: Test, forms: NetworkForms): (hops: number) => Promise<FormAnswer[]> {
  const data = new Float32Array(WINDOW);
  let count = 0;
  return async (hops) => {
    const answers: FormAnswer[] = [];
    for (let hop = 0; hop < hops; hop += 1) {
      count += 1;
      data[WINDOW - 1] = count;
      const answer = await forms.infer({
        source: 0,
        tensors: [{ name: 'x', data, dims: [1, WINDOW], timeAxis: 1 }],
        windowSamples: WINDOW,
        newSamples: GRID,
        ...{ reset: count === 1, onGrid: true, outputs: ['scores'] },
        feeds: () => ({ x: new runtime.Tensor('float32', data, [1, WINDOW]) }),
      });
      t.equal((answer.results.scores!.data as Float32Array)[0], count, `window ${count}`);
      answers.push(answer);
    }
    return answers;
  };
}

const FAILURES: Record<string, { run: () => Results; says: RegExp }> = {
  'a run that fails': {
    run: () => {
      throw new Error('Non-zero status code returned\nwhile running');
    },
    says: /^Non-zero status code returned$/,
  },
  'scores that are no numbers': { run: () => scoresOf([0.1, NaN]), says: /^its output "scores" held NaN$/ },
  'scores without end': { run: () => scoresOf([Infinity, 0]), says: /^its output "scores" held Infinity$/ },
  'too few scores': {
    run: () => scoresOf([0.1]),
    says: /^its output "scores" was float32 \[1, 1\] where the whole window gives float32 \[1, 2\]$/,
  },
  'another shape': { run: () => scoresOf([0.1, 0.2], [2, 1]), says: /was float32 \[2, 1\] where/ },
  'no scores': { run: () => ({}), says: /^its output "scores" was missing where/ },
};

for (const [what, { run, says }] of Object.entries(FAILURES)) {
  t.test(`${what}: the same window is computed as a whole, and so are those after it`, async (t) => {
    const { forms, state, told } = setUp(run);
    const hear = createHearing(t, forms);
    const before = await hear(8);
    t.same(before.at(-1)!.computedAs, 'stream', 'it is one before');
    t.ok(before.every(({ streamEnded }) => streamEnded === undefined));
    state.fails = true;
    const [first, ...after] = await hear(15);
    t.equal(first!.computedAs, 'whole');
    t.match(first!.streamEnded, says);
    t.match(told, [says], 'it is written down once');
    t.ok(after.every(({ computedAs, streamEnded }) => computedAs === 'whole' && streamEnded === undefined));
  });
}

t.test('a stream that fails after the whole network was given back does so without a gap', async (t) => {
  const { forms, state, told } = setUp(() => scoresOf([NaN, 0]));
  const hear = createHearing(t, forms);
  // The whole network's memory goes back after ten windows.
  const before = await hear(20);
  t.equal(before.at(-1)!.computedAs, 'stream');
  const { wholeRuns } = state;
  state.fails = true;
  const [first] = await hear(3);
  t.match(first, { computedAs: 'whole', streamEnded: /held NaN/ });
  t.equal(state.wholeRuns, wholeRuns + 3);
  t.equal(told.length, 1);
});
