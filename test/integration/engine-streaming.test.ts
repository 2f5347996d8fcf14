import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { silentLogger as log } from '../../src/common/log.js';
import type { Logger } from '../../src/common/log.js';
import type { InferenceEngine, InferenceRequest, StartEngine } from '../../src/inference/engine.js';
import type { LearntHead } from '../../src/inference/learnt-heads.js';
import { loadModel } from '../../src/inference/loaded-model.js';
import { optimizedFolderIn } from '../../src/inference/optimized-copy.js';
import { Pipeline } from '../../src/inference/pipeline.js';
import type { StreamWish } from '../../src/inference/protocol.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import type { WindowResult } from '../../src/inference/window-report.js';
import { createRegistry, type InstalledModel } from '../../src/models/registry.js';
import { quietEvents } from '../support/quiet-events.js';
import { projectPath } from '../support/shared.js';
import {
  installStreamableModel,
  STREAMABLE_FEATURES,
  STREAMABLE_GRID as GRID,
  STREAMABLE_LABELS as LABELS,
  STREAMABLE_RATE as RATE,
} from '../support/streamable-model.js';
import { temporaryFolder } from '../support/temporary.js';

/*
 * Networks as streams in the real inference process: whatever comes, the answers are those of an engine that computes each
 * window as a whole. SOUNDPOST_TEST_SEED repeats a run.
 */

const TOLERANCE = 1e-5;
const WINDOW = 4 * RATE;
/** From one column of the log-mel to the next, and what the sound comes in: a multiple of that. */
const FRAME = 160;
const CHUNK = 10 * FRAME;
const seed = Number(process.env.SOUNDPOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Noise that swells, with tones in it, the same each time. */
const sound = (() => {
  let state = 7;
  return Float32Array.from({ length: 120 * RATE }, (_, n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const swell = 0.5 + 0.5 * Math.sin(n / 15_000);
    const tone = Math.floor(n / 9000) % 3 === 0 ? 0.4 * Math.sin(n * (0.1 + 1e-7 * n)) : 0;
    return 0.3 * swell * (state / 2 ** 31 - 1) + tone;
  });
})();

async function modelIn(dataDir: string, id: string): Promise<InstalledModel> {
  return createRegistry({ bundledFolder: projectPath('models'), dataDir, log }).get(id);
}

/** Starts engines that stream wherever that is possible, however much it saves. */
function streaming(dataDir: string, logger: Logger = log, wish: Partial<StreamWish> = {}): StartEngine {
  return createStartEngine({
    log: logger,
    optimizedFolder: optimizedFolderIn(dataDir),
    stream: () => ({
      ...{ windowSeconds: null, hopSeconds: 0.5, leftEdge: 'exact', worthBelow: Infinity, worthAbove: 0 },
      ...wish,
    }),
  });
}

const startWhole = createStartEngine({ log });

async function start(t: Test, startEngine: StartEngine, model: InstalledModel): Promise<InferenceEngine> {
  const engine = await startEngine(model, { threads: 1 });
  t.teardown(() => engine.stop());
  return engine;
}

function worst(a: Float32Array | null, b: Float32Array | null): number {
  if (a === null || b === null) return a === b ? 0 : Infinity;
  if (a.length !== b.length) return Infinity;
  return a.reduce((largest, value, at) => {
    const off = Math.abs(value - b[at]!);
    return off <= largest ? largest : Number.isNaN(off) ? Infinity : off;
  }, 0);
}

/** The window that ends at `end`, on its own. */
const wholeWindow = (end: number, length = WINDOW): InferenceRequest => ({
  samples: sound.slice(end - length, end),
  reset: true,
  windowSamples: length,
});

const heads = (model: InstalledModel, features: number): LearntHead[] =>
  [3, 4].map((at) => ({
    slug: `own ${at}`,
    modelSha256: model.manifest.onnx_sha256,
    weights: Float32Array.from({ length: features }, (_, i) => Math.sin(at * (i + 1))),
    bias: -0.2,
    unitLength: false,
  }));

t.test('any hops of any source give what the whole windows give', async (t) => {
  t.comment(`seed ${seed}`);
  const dataDir = temporaryFolder(t);
  const model = await modelIn(dataDir, await installStreamableModel(dataDir));
  const engine = await start(t, streaming(dataDir), model);
  const whole = await start(t, startWhole, model);
  t.match(engine.stream, { gridSamples: GRID, gridSeconds: 0.16, windowSamples: WINDOW });
  t.ok(engine.stream!.keptBytes > 0);
  t.equal(whole.stream, null);
  const wanted = heads(model, STREAMABLE_FEATURES);
  for (const each of [engine, whole]) await each.learn(wanted);

  const ends = [WINDOW, WINDOW, WINDOW];
  const began = [false, false, false];
  const counts = { whole: 0, stream: 0, begun: 0 };
  const step = fc.record({
    source: fc.nat({ max: 2 }),
    // Mostly hops of a few steps; 0 stands for a break.
    steps: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) },
      fc.integer({ min: 0, max: 30 }),
    ),
    offGrid: fc.constantFrom(false, false, false, false, false, true),
    times: fc.integer({ min: 1, max: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (list) => {
      for (const { source, steps, offGrid, times } of list) {
        for (let time = 0; time < times; time += 1) {
          const reset = steps === 0 || !began[source];
          const moved = offGrid ? 1600 : Math.max(1, steps) * GRID;
          if (ends[source]! + moved > sound.length) ends[source] = WINDOW;
          const isAgain = ends[source] === WINDOW;
          const end = (ends[source] = ends[source]! + moved);
          began[source] = true;
          const begins = reset || isAgain;
          const result = await engine.infer({
            source,
            samples: begins ? sound.slice(end - WINDOW, end) : sound.slice(end - moved, end),
            reset: begins,
            windowSamples: WINDOW,
            onGrid: !offGrid,
            frames: { from: 5, to: 25 },
            embeddings: true,
          });
          const expected = await whole.infer({
            ...wholeWindow(end),
            frames: { from: 5, to: 25 },
            embeddings: true,
          });
          counts[result.computedAs ?? 'whole'] += 1;
          const off = Math.max(
            worst(result.scores, expected.scores),
            worst(result.frames, expected.frames),
            worst(result.embeddings, expected.embeddings),
          );
          if (off > TOLERANCE) throw new Error(`${off} off, computed as ${result.computedAs}`);
        }
      }
    }),
    { seed, numRuns: 12, endOnFailure: true },
  );
  t.ok(counts.stream > counts.whole, `most are streamed: ${JSON.stringify(counts)}`);
  t.ok(counts.begun > 0);
  const short = { ...wholeWindow(2 * WINDOW, WINDOW / 2), onGrid: true };
  t.equal((await engine.infer(short)).computedAs, 'whole', 'a window of another length is no stream');
});

t.test('where there is room for one form only, they take turns', async (t) => {
  const dataDir = temporaryFolder(t);
  const model = await modelIn(dataDir, await installStreamableModel(dataDir));
  const whole = await start(t, startWhole, model);
  const { manifest, onnxPath, labels } = model;
  const loaded = await loadModel(
    {
      ...{ manifest, onnxPath, labelCount: labels.length, threads: 1 },
      // Less than two would need.
      memoryBytes: 100e6,
      optimizedFolder: optimizedFolderIn(dataDir),
      stream: {
        windowSeconds: null,
        hopSeconds: 0.5,
        leftEdge: 'exact',
        worthBelow: Infinity,
        worthAbove: 0,
      },
    },
    () => undefined,
  );
  t.match(loaded.stream, { gridSamples: GRID });
  const forms: string[] = [];
  let end = WINDOW;
  const hear = async (request: Partial<InferenceRequest>, moved = 3 * GRID): Promise<void> => {
    end += moved;
    const result = await loaded.infer({
      samples: sound.slice(end - moved, end),
      reset: false,
      windowSamples: WINDOW,
      onGrid: true,
      ...request,
    });
    t.ok(
      worst(result.scores, (await whole.infer(wholeWindow(end, request.windowSamples))).scores) <= TOLERANCE,
    );
    forms.push(result.computedAs!);
  };
  await hear({ samples: sound.slice(end + 3 * GRID - WINDOW, end + 3 * GRID), reset: true });
  for (let hop = 0; hop < 4; hop += 1) await hear({});
  await hear({ windowSamples: WINDOW / 2 });
  for (let hop = 0; hop < 4; hop += 1) await hear({});
  // Hops as long as the window have nothing in common.
  for (let hop = 0; hop < 4; hop += 1) await hear({}, 25 * GRID);
  t.same(forms, [
    ...['whole', 'whole', 'begun', 'stream', 'stream'],
    ...['whole', 'whole', 'whole', 'begun', 'stream'],
    ...['begun', 'whole', 'whole', 'whole'],
  ]);
});

/** One thing that happens to a source. */
type Happening =
  | { kind: 'hear'; seconds: number }
  | { kind: 'rate'; hz: number }
  | { kind: 'pause' | 'interrupt' | 'begin' | 'swap' | 'head' };

t.test('whatever happens to the sound, each window is that of the whole engine', async (t) => {
  t.comment(`seed ${seed}`);
  const dataDir = temporaryFolder(t);
  const models = [
    await modelIn(dataDir, await installStreamableModel(dataDir)),
    await modelIn(dataDir, await installStreamableModel(dataDir, { id: 'other', seed: 2 })),
  ] as const;
  const wholes = new Map<InstalledModel, InferenceEngine>();
  for (const model of models) wholes.set(model, await start(t, startWhole, model));
  const counts = { streamed: 0, begun: 0, processed: 0, longer: 0 };

  async function play(windowSeconds: number | null, happenings: readonly Happening[]): Promise<void> {
    const results: WindowResult[] = [];
    const pipeline = new Pipeline({
      startEngine: streaming(dataDir, log, { windowSeconds }),
      fallback: models[0],
      rateHz: 2,
      windowSeconds,
      threads: 1,
      keepSeconds: 6,
      sources: 2,
      log,
      events: {
        ...quietEvents,
        result: (result) => void results.push(result),
        engineLost: (lost) => t.fail('an engine was lost', { lost }),
      },
    });
    try {
      await pipeline.start(models[0]);
      const [source, other] = pipeline.sources as [
        (typeof pipeline.sources)[0],
        (typeof pipeline.sources)[0],
      ];
      let at = 0;
      let swapped = 0;
      source.begin(RATE, false);
      other.begin(RATE, false);
      // Sample n of the sound ends at n / RATE of the clock, whatever comes between.
      const hear = async (seconds: number): Promise<void> => {
        const until = Math.min(sound.length, at + Math.ceil((seconds * RATE) / CHUNK) * CHUNK);
        while (at < until) {
          const to = Math.min(until, at + CHUNK);
          await source.chunk(sound.slice(at, to), (1000 * to) / RATE);
          await other.chunk(sound.slice(at, to), (1000 * to) / RATE);
          at = to;
        }
      };
      await hear(8);
      for (const happening of happenings) {
        if (happening.kind === 'hear') await hear(happening.seconds);
        else if (happening.kind === 'rate') pipeline.setRate(happening.hz);
        else if (happening.kind === 'interrupt') source.interrupt();
        else if (happening.kind === 'begin') {
          await pipeline.idle();
          source.begin(RATE, false);
        } else if (happening.kind === 'pause') {
          source.setPaused(true);
          await hear(1);
          source.setPaused(false);
        } else if (happening.kind === 'head') {
          await pipeline.learning.setHeads(heads(pipeline.model, STREAMABLE_FEATURES));
          await pipeline.learning.setHeads([]);
        } else {
          swapped = 1 - swapped;
          await pipeline.swap(models[swapped]!);
        }
        await hear(1.5);
      }
      await pipeline.idle();
      const { processed, streamed, begun } = pipeline.counters();
      counts.processed += processed;
      counts.streamed += streamed;
      counts.begun += begun;
      for (const { startMs, endMs, model, scores } of results) {
        const length = Math.round(((endMs - startMs) * RATE) / 1000);
        // Windows off the grid end with the last frame before they are due.
        const to = Math.floor(Math.round((endMs * RATE) / 1000) / FRAME) * FRAME;
        const expected = await wholes.get(model)!.infer(wholeWindow(to, length));
        const off = worst(scores.subarray(0, LABELS), expected.scores);
        if (length > WINDOW) counts.longer += 1;
        if (off > TOLERANCE) throw new Error(`the window from ${startMs} to ${endMs} ms is ${off} off`);
      }
    } finally {
      await pipeline.stop();
    }
  }

  const happening = fc.oneof(
    fc.record({ kind: fc.constant('hear' as const), seconds: fc.double({ min: 0.1, max: 6, noNaN: true }) }),
    fc.record({ kind: fc.constant('rate' as const), hz: fc.constantFrom(0.2, 0.7, 1, 2, 3.3, 6.25, 9) }),
    fc.record({ kind: fc.constantFrom('pause', 'interrupt', 'begin', 'swap', 'head') }),
  ) as fc.Arbitrary<Happening>;
  // The model's own window, a shorter one, and one longer than the model's.
  for (const windowSeconds of [null, 3, 5.5]) {
    const hear = (list: readonly Happening[]) => play(windowSeconds, list);
    await fc.assert(fc.asyncProperty(fc.array(happening, { minLength: 2, maxLength: 8 }), hear), {
      seed,
      numRuns: 3,
      endOnFailure: true,
    });
  }
  t.ok(counts.streamed >= 50, `many are streamed: ${JSON.stringify(counts)}`);
  t.ok(counts.begun > 0);
  t.ok(counts.longer > 0, 'some are longer than the model’s own');
});

t.test('windows move on the grid at the wished rate', async (t) => {
  const dataDir = temporaryFolder(t);
  const model = await modelIn(dataDir, await installStreamableModel(dataDir));
  const results: WindowResult[] = [];
  const pipeline = new Pipeline({
    startEngine: streaming(dataDir),
    fallback: model,
    rateHz: 1,
    windowSeconds: null,
    threads: 1,
    keepSeconds: 4,
    log,
    events: { ...quietEvents, result: (result) => void results.push(result) },
  });
  t.teardown(() => pipeline.stop());
  await pipeline.start(model);
  const [source] = pipeline.sources;
  // At another rate than the network's, so that the resampler holds some of it back.
  const captureRate = 2 * RATE;
  source!.begin(captureRate, false);
  for (let at = 0; at < 40 * captureRate; at += 800) {
    await source!.chunk(new Float32Array(800).fill(0.1), (1000 * (at + 800)) / captureRate);
  }
  await source!.idle();
  t.equal(results.length, 40);
  const full = results.filter(({ startMs }) => startMs > 0);
  for (const { startMs } of full) {
    const steps = startMs / 160;
    t.ok(Math.abs(steps - Math.round(steps)) < 0.07, `${startMs} ms is on the grid`);
  }
  const hops = full.slice(1).map(({ endMs }, index) => Math.round((endMs - full[index]!.endMs) / 160));
  t.ok(
    hops.every((steps) => steps === 6 || steps === 7),
    hops.join(' '),
  );
  t.ok(full.at(-1)!.endMs > 39_800, 'it is not behind');
  t.ok(pipeline.counters().streamed > 25);
});

t.test('what was found out about a network is found out once, and a broken file does no harm', async (t) => {
  const dataDir = temporaryFolder(t);
  const model = await modelIn(dataDir, await installStreamableModel(dataDir));
  const folder = optimizedFolderIn(dataDir);
  const said: string[] = [];
  const logger: Logger = { ...log, info: (_fields, message) => void said.push(message) };
  const startEngine = streaming(dataDir, logger);
  const first = await startEngine(model, { threads: 1 });
  const { stream } = first;
  await first.stop();
  const second = await startEngine(model, { threads: 1 });
  t.same(second.stream, stream, 'the same figures, so that it was not measured again');
  await second.stop();
  t.equal(said.length, 1, said.join('\n'));
  t.match(
    said[0],
    /^streamable is computed as a stream: [\d.]+ ms a hop where the whole window takes [\d.]+ ms, with [\d.]+ MB kept of each source\.$/,
  );

  // The network of the stream is damaged, then what is known of it.
  const whole = await start(t, startWhole, model);
  for (const ending of [/\.onnx$/, /\.stream\.json$/]) {
    for (const name of readdirSync(folder).filter((file) => ending.test(file))) {
      writeFileSync(join(folder, name), readFileSync(join(folder, name)).subarray(100));
    }
    const engine = await startEngine(model, { threads: 1 });
    for (let hop = 0; hop < 5; hop += 1) {
      const result = await engine.infer({ ...wholeWindow(2 * WINDOW), onGrid: true });
      t.ok(worst(result.scores, (await whole.infer(wholeWindow(2 * WINDOW))).scores) <= TOLERANCE);
    }
    await engine.stop();
  }
});

t.test('where a stream would not pay there is none, and that is said once', async (t) => {
  const dataDir = temporaryFolder(t);
  const model = await modelIn(dataDir, await installStreamableModel(dataDir));
  const said: string[] = [];
  const logger: Logger = { ...log, info: (_fields, message) => void said.push(message) };
  const startEngine = streaming(dataDir, logger, { worthBelow: 0 });
  for (let life = 0; life < 2; life += 1) {
    const engine = await startEngine(model, { threads: 1 });
    t.equal(engine.stream, null);
    t.equal((await engine.infer({ ...wholeWindow(WINDOW), onGrid: true })).computedAs, 'whole');
    await engine.stop();
  }
  t.match(said, [
    /^streamable is computed for whole windows: a hop would take [\d.]+ ms, where the whole window takes/,
  ]);
  const kept = readdirSync(optimizedFolderIn(dataDir)).filter((name) => name.endsWith('.onnx'));
  t.ok(kept.length <= 1, 'no second network is left');
});

t.test('a process that ends in a window of a stream is followed by one for whole windows', async (t) => {
  const dataDir = temporaryFolder(t);
  const model = await modelIn(dataDir, await installStreamableModel(dataDir));
  const warned: string[] = [];
  const logger: Logger = { ...log, warn: (_fields, message) => void warned.push(message) };
  const startEngine = streaming(dataDir, logger);
  const engine = await startEngine(model, { threads: 1 });
  const window = { ...wholeWindow(2 * WINDOW), onGrid: true };
  let computedAs: string | undefined = 'whole';
  let end = 2 * WINDOW;
  await engine.infer(window);
  for (let hop = 0; hop < 50 && computedAs === 'whole'; hop += 1) {
    end += GRID;
    ({ computedAs } = await engine.infer({
      ...{ samples: sound.slice(end - GRID, end), reset: false, windowSamples: WINDOW, onGrid: true },
    }));
  }
  t.not(computedAs, 'whole', 'it is a stream');
  process.kill(engine.pid, 'SIGSTOP');
  const asked = engine.infer({ ...window, reset: true });
  process.kill(engine.pid, 'SIGKILL');
  await t.rejects(asked, { code: 'inference_died' });
  const next = await start(t, startEngine, model);
  t.equal(next.stream, null);
  t.equal((await next.infer(window)).computedAs, 'whole');
  t.same(warned, ['streamable is computed for whole windows for an hour: its process ended in a window.']);
});

t.test('in the approximate form scores differ a little, and the log says by how much', async (t) => {
  const dataDir = temporaryFolder(t);
  const model = await modelIn(dataDir, await installStreamableModel(dataDir));
  const lines: string[] = [];
  const logger: Logger = { ...log, info: (_: unknown, line?: string) => void lines.push(line ?? '') };
  const engine = await start(t, streaming(dataDir, logger, { leftEdge: 'stream' }), model);
  t.match(engine.stream, { leftEdge: 'stream', gridSamples: GRID });
  t.match(lines, [/^streamable is computed as an approximate stream, with scores up to 0\.\d{3} off when/]);
  const whole = await start(t, startWhole, model);
  let end = WINDOW;
  let [furthest, streamed] = [0, 0];
  for (let hop = 0; hop < 20; hop += 1) {
    const moved = hop === 0 ? WINDOW : 3 * GRID;
    if (hop > 0) end += moved;
    const result = await engine.infer({
      ...{ samples: sound.slice(end - moved, end), reset: hop === 0 },
      ...{ windowSamples: WINDOW, onGrid: true },
    });
    if (result.computedAs === 'stream') streamed += 1;
    furthest = Math.max(furthest, worst(result.scores, (await whole.infer(wholeWindow(end))).scores));
  }
  t.ok(streamed >= 15, `${streamed} windows were streamed`);
  t.ok(furthest > TOLERANCE && furthest < 0.2, `up to ${furthest} off`);
});
