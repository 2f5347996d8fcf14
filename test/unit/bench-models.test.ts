import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { t } from 'tap';
import { readArchitectureTensors } from '../../src/bench/models/architecture-tensors.js';
import { countMacs } from '../../src/convert/count-macs.js';
import { createDistribution } from '../../src/bench/models/distribution.js';
import type { ModelMeasurement } from '../../src/bench/models/measure.js';
import { formatPage } from '../../src/bench/models/page.js';
import { paretoFront } from '../../src/bench/models/pareto.js';
import { projectTemperature, scaleTemperature } from '../../src/bench/models/projection.js';
import { hopAt, judge, streamRate, type Board, type ModelFigures } from '../../src/bench/models/recommend.js';
import type { BenchRow, ModelBenchReport } from '../../src/bench/models/model-bench-report.js';
import { runModelBench } from '../../src/bench/models/run-model-bench.js';
import { spanOf } from '../../src/bench/models/sensors.js';
import type { Subject } from '../../src/bench/models/subject.js';
import {
  linearScale,
  logScale,
  niceLogRange,
  overlaps,
  placeNames,
  textBox,
  type Frame,
} from '../../src/bench/page/svg.js';
import { syntheticWeights } from '../../src/bench/models/synthetic-weights.js';
import { formatMarkdown, formatTerminal, short } from '../../src/bench/models/table.js';
import { createBar, minutesAndSeconds } from '../../src/cli/bar.js';
import { architectures } from '../../src/convert/architectures/index.js';
import { checkShapes } from '../../src/convert/check-shapes.js';
import { buildNetwork } from '../../src/convert/network.js';
import type { OnnxGraph } from '../../src/convert/onnx.js';
import { createWeights } from '../../src/convert/weights.js';
import { createFrontend } from '../../src/features/frontend.js';
import { readCatalogue } from '../../src/models/catalogue.js';
import type { InstalledModel } from '../../src/models/registry.js';
import type { SocReading } from '../../src/telemetry/soc.js';
import { architectureTensorsText } from '../support/architecture-tensors.js';
import { projectPath } from '../support/shared.js';

const bundled = projectPath('models');

t.test('a distribution is what its values are', (test) => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
      (values) => {
        const recorder = createDistribution();
        for (const value of values) recorder.record(value);
        const found = recorder.summary()!;
        const sorted = [...values].sort((a, b) => a - b);
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        const variance =
          values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
        const close = (a: number, b: number) => Math.abs(a - b) <= 1e-6 + 1e-6 * Math.abs(b);
        // Three digits and a microsecond.
        const near = (a: number, b: number) => Math.abs(a - b) <= 0.002 + 0.002 * b;
        const rank = (percent: number) => sorted[Math.ceil((percent / 100) * sorted.length) - 1]!;
        const binned = recorder.bins();
        return (
          found.count === values.length &&
          close(found.mean, mean) &&
          close(found.standard_deviation ** 2, variance) &&
          found.min === sorted[0] &&
          found.max === sorted.at(-1) &&
          near(found.p50, rank(50)) &&
          near(found.p95, rank(95)) &&
          near(found.p99, rank(99)) &&
          binned.reduce((sum, { count }) => sum + count, 0) === values.length &&
          binned.every(({ from, to }, i) => from < to && (i === 0 || close(from, binned[i - 1]!.to))) &&
          binned[0]!.from <= sorted[0] * (1 + 1e-9) &&
          binned.at(-1)!.to >= sorted.at(-1)! * (1 - 1e-9)
        );
      },
    ),
  );
  const empty = createDistribution();
  empty.record(NaN);
  test.equal(empty.summary(), null);
  test.same(empty.bins(), []);
  test.end();
});

t.test('the Pareto front holds what nothing beats, and nothing else', (test) => {
  const candidate = fc.record({
    cost: fc.integer({ min: 1, max: 9 }),
    worth: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 20 }), (all) => {
      const front = new Set(paretoFront(all));
      const beaten = (one: (typeof all)[number]) =>
        all.some(
          ({ cost, worth }) =>
            cost <= one.cost && worth >= one.worth && (cost < one.cost || worth > one.worth),
        );
      return all.every((one) => front.has(one) !== beaten(one));
    }),
  );
  test.end();
});

t.test('the tensors of every architecture are those of the originals, and build it', async (test) => {
  test.equal(
    readFileSync(projectPath('models', 'architectures.json'), 'utf8'),
    architectureTensorsText(),
    'models/architectures.json is not up to date: see test/support/architecture-tensors.ts',
  );
  const tensors = await readArchitectureTensors(bundled);
  const catalogue = await readCatalogue(bundled);
  test.same([...tensors.keys()].sort(), architectures.map(({ name }) => name).sort());
  let compared = 0;
  for (const architecture of architectures) {
    const { name, input, sampleRate } = architecture;
    const shapes = tensors.get(name)!;
    const empty = new Map(shapes.map((tensor) => [tensor.name, { ...tensor, data: new Float32Array(0) }]));
    const { model, frames: geometry } = buildNetwork(architecture, createWeights(empty));
    const { graph } = model;
    const samples = 10 * sampleRate;
    const frames =
      input.kind === 'waveform' ? 0 : (await createFrontend(input.frontend, sampleRate)).frames(samples);
    const lengths = { batch: 1, frames, samples };
    const macs = countMacs(graph, lengths);
    const published = catalogue.models.find((entry) => entry.architecture === name)?.macs;
    if (macs === null || published === undefined) continue;
    compared += 1;
    // They were counted on the originals, which apply the head to the clip only; and attention and gates are counted in
    // different ways.
    const tolerance = architecture.family === 'fmn' ? 0 : 0.05;
    const ofFrames = geometry?.role === 'location' ? macsOfFrames(graph, lengths) : 0;
    const ofClip = macs - ofFrames;
    test.ok(
      Math.abs(ofClip / published - 1) <= tolerance,
      `${name}: ${ofClip} multiply-accumulates, ${published}`,
    );
    // 40 and 64 mels leave little to compute before the head.
    const bound = /_mels_(40|64)$/.test(name) ? 0.15 : 0.09;
    test.ok(ofFrames / ofClip < bound, `${name}: ${ofFrames / ofClip} of that for the frames`);
  }
  test.ok(compared > 66, `${compared} networks compared`);
  test.end();
});

/** Of the products of [1, 1 + frames, in] with a matrix: those of all rows but the first, which is the clip's. */
function macsOfFrames(graph: OnnxGraph, lengths: Readonly<Record<string, number>>): number {
  const dims = (all: readonly (number | string)[]) =>
    all.map((dim) => (typeof dim === 'number' ? dim : (lengths[dim] ?? dim)));
  const inputs = graph.inputs.map((input) => ({ ...input, dims: dims(input.dims) }));
  const shapes = checkShapes({ ...graph, inputs });
  return graph.nodes.reduce((sum, { op, inputs: [x = '', w = ''] }) => {
    const [from, weight] = [shapes.get(x), shapes.get(w)];
    if (op !== 'MatMul' || from?.length !== 3) return sum;
    return sum + (from[1]! - 1) * weight![0]! * weight![1]!;
  }, 0);
}

t.test('synthetic weights are repeatable, and neither huge nor tiny', (test) => {
  const shapes = [
    { name: 'a.weight', shape: [8, 4, 3, 3] },
    { name: 'n.weight', shape: [8] },
    { name: 'n.running_var', shape: [8] },
    { name: 'n.running_mean', shape: [8] },
    { name: 'r.lambdas', shape: [4] },
    { name: 'd_conv.weight', shape: [1, 1, 4, 400] },
  ];
  const made = syntheticWeights(shapes);
  test.same(made, syntheticWeights(shapes));
  const spread = (name: string) => Math.max(...made.get(name)!.data.map(Math.abs));
  test.ok(spread('a.weight') > 0.1 && spread('a.weight') <= Math.sqrt(6 / 36));
  test.same([...made.get('n.running_var')!.data], new Array(8).fill(1));
  test.same([...made.get('r.lambdas')!.data], [1, 1, 0.5, 0.5]);
  test.ok(spread('d_conv.weight') <= Math.sqrt(6 / 20));
  test.end();
});

/** Readings of a board that warms by these parts, each with its own time constant, once a second. */
const warmingUp = (idle: number, parts: [celsius: number, tau: number][], seconds: number, noise = 0) =>
  Array.from({ length: seconds }, (_, s) => {
    const exact = idle + parts.reduce((sum, [c, tau]) => sum + c * (1 - Math.exp(-s / tau)), 0);
    // A repeatable unrest between -1 and 1, and the steps of a Raspberry Pi's sensor.
    const unrest = noise * Math.sin(s * s * 12.9898);
    return { t_s: s, temperature_c: noise === 0 ? exact : Math.round((exact + unrest) / 0.487) * 0.487 };
  });

t.test('the temperature of a board is projected, with a range that holds the truth', (test) => {
  const boards: [name: string, idle: number, parts: [number, number][], end: number][] = [
    // The first rise alone is what a bare board of one body would show on its way to 110 °C.
    [
      'a fast first rise',
      45,
      [
        [8, 5],
        [32, 180],
      ],
      85,
    ],
    [
      'a Raspberry Pi 5 with a cooler',
      40,
      [
        [14, 8],
        [6, 90],
      ],
      60,
    ],
    ['one body with a fan', 40, [[20, 60]], 60],
    [
      'a bare Raspberry Pi 4',
      48,
      [
        [4, 4],
        [11, 180],
      ],
      63,
    ],
    ['nothing to be seen', 50, [], 50],
  ];
  for (const [name, idle, parts, end] of boards) {
    for (const noise of [0, 0.3]) {
      for (const seconds of [54, 90, 180]) {
        const found = projectTemperature(warmingUp(idle, parts, seconds, noise))!;
        const text = `${name}, ${seconds} s, noise ${noise}: ${JSON.stringify(found)}`;
        test.ok(found.low_c <= end + 0.5 && found.high_c >= end - 0.5, text);
        test.ok(found.low_c <= found.about_c && found.about_c <= found.high_c, text);
        test.ok(Math.abs(found.about_c - end) < 10, text);
        test.ok(found.high_c < end + (seconds < 90 ? 35 : 15), text);
        if (seconds === 180) test.ok(found.high_c - found.low_c < 10, `time makes it narrower: ${text}`);
      }
    }
  }
  const cooling = projectTemperature(warmingUp(60, [[-20, 180]], 60))!;
  test.ok(cooling.about_c > 53 && cooling.about_c < 58, 'a board that cools down stays as it is');
  test.ok(cooling.low_c <= cooling.about_c && cooling.about_c <= cooling.high_c);
  test.equal(projectTemperature(warmingUp(45, [[40, 180]], 30)), null, 'too short');
  test.equal(projectTemperature(warmingUp(45, [[40, 180]], 60).slice(0, 25)), null, 'too few');
  test.equal(projectTemperature([]), null);
  test.equal(scaleTemperature(45, 85, 1, 0.25), 55);
  test.equal(scaleTemperature(45, 40, 1, 0.25), 45, 'a load does not cool');
  test.end();
});

t.test('a hop at a rate too low to be measured', (test) => {
  const parts = (total: number, features: number) => {
    const made = (ms: number) => {
      const recorder = createDistribution();
      recorder.record(ms);
      return recorder.summary();
    };
    return { total: made(total), features: made(features), network: made(total - features) };
  };
  const stream = (rateHz: number) => ({
    stream: { rate_hz: rateHz, hop_ms: parts(20, 4), late: 0, cpu_ms_per_hop: 21 },
  });
  test.equal(streamRate(0.01), 0.5);
  test.equal(streamRate(4), 4);
  test.match(hopAt(stream(1), 1, 10), { mean_ms: 20, cpu_ms_per_hop: 21 });
  // 2 s of new sound at 0.5 Hz, 5 s at 0.2 Hz: two and a half times the features.
  test.match(hopAt(stream(0.5), 0.2, 10), { mean_ms: 26, cpu_ms_per_hop: 27 });
  test.match(hopAt(stream(0.5), 0.01, 10), { mean_ms: 36 }, 'a whole window at the most');
  const none = { total: null, features: null, network: null };
  test.equal(hopAt({ stream: { ...stream(1).stream, hop_ms: none } }, 1, 10), null);
  test.end();
});

const measured = (
  id: string,
  map: number | null,
  ms: number,
  more: Partial<ModelFigures> = {},
): ModelFigures => ({
  id,
  published_map: map,
  mean_ms: ms,
  p95_ms: ms * 1.1,
  cpu_ms_per_hop: ms,
  peak_mb: 200,
  ...more,
});
const board: Board = { memory_available_mb: 1000, heat: null };
const wish = { rate_hz: 1, max_temperature_c: 70 };

t.test('the recommendation: what holds the rate, best mAP first', (test) => {
  const models = [
    measured('small', 0.3, 10),
    measured('unknown', null, 5),
    measured('best', 0.48, 500),
    measured('slow', 0.49, 700),
    measured('unsteady', 0.5, 400, { p95_ms: 900 }),
    measured('large', 0.6, 100, { peak_mb: 900 }),
  ];
  const judged = judge(models, board, wish);
  test.same(
    judged.map(({ id, fits }) => [id, fits]),
    [
      ['best', true],
      ['small', true],
      ['unknown', true],
      ['large', false],
      ['unsteady', false],
      ['slow', false],
    ],
  );
  const why = (id: string) => judged.find((one) => one.id === id)!.reasons.join();
  test.match(why('slow'), /busy 70 %/);
  test.match(why('unsteady'), /p95 latency is 90 %/);
  test.match(why('large'), /needs 900 MB, and 1000 MB/);
  const [best] = judged;
  test.ok(Math.abs(best!.highest_rate_hz - 1.2) < 1e-9);
  test.equal(best!.projected_temperature_c, null);
  test.equal(judge(models, board, { ...wish, rate_hz: 0.5 }).filter(({ fits }) => fits)[0]!.id, 'unsteady');
  test.ok(
    judge(models, board, { ...wish, rate_hz: 20 }).every(
      ({ fits, id }) => fits === ['small', 'unknown'].includes(id),
    ),
  );

  // 40 °C for one busy core: half a core is 20 °C above idle.
  const heat = (low: number, about: number, high: number): Board => ({
    ...board,
    heat: { idle_c: 55, loaded_c: { about_c: about, low_c: low, high_c: high }, loaded_cores: 1 },
  });
  const hot = judge(models, heat(91, 95, 99), wish);
  test.same(
    hot.filter(({ fits }) => fits).map(({ id }) => id),
    ['small', 'unknown'],
  );
  test.match(
    hot.find(({ id }) => id === 'best')!.reasons.join(),
    /about 75 °C .*at least 73 °C.* more than 70 °C/,
  );
  const unsure = judge(models, heat(80, 95, 110), wish);
  test.match(unsure[0], { id: 'best', fits: true, reasons: [] }, 'an estimate alone refuses nothing');
  test.match(unsure[0]!.warnings.join(), /may become warmer than 70 °C: about 75 °C, at most 83 °C/);
  test.match(unsure.find(({ id }) => id === 'small')!.warnings, []);
  test.end();
});

t.test('the course of the sensors', (test) => {
  const reading = (temperature_c: number | null, frequency_mhz: number | null): SocReading => ({
    temperature_c,
    frequency_mhz,
    throttled: null,
    under_voltage: null,
    throttled_since_boot: null,
  });
  test.same(spanOf([reading(50, 1800), reading(null, 600), { ...reading(61, 1500), throttled: true }]), {
    temperature_c: { start: 50, end: 61, peak: 61 },
    frequency_mhz: { start: 1800, end: 1500, peak: 1800, lowest: 600 },
    throttled: true,
    under_voltage: null,
  });
  test.same(spanOf([]).temperature_c, { start: null, end: null, peak: null });
  test.end();
});

t.test('what it takes to make a network is not in its readings', async (test) => {
  let celsius = 90;
  const subject: Subject = {
    facts: { ...rowOf('made', null, null), synthetic: true },
    prepare() {
      celsius = 50;
      const input = { window_seconds: 10, sample_rate: 32_000 };
      const model = { manifest: { parameters: 1, macs: 1, input } } as unknown as InstalledModel;
      return Promise.resolve({ model, bytes: 1 });
    },
    release: () => Promise.resolve(),
  };
  const report = await runModelBench({
    subjects: [subject],
    threads: [1],
    seconds: 1,
    rateHz: 1,
    machine: reportOf([]).machine,
    startEngine: () => Promise.reject(new Error('no engine')),
    readSoc: () =>
      Promise.resolve({
        temperature_c: celsius,
        frequency_mhz: null,
        throttled: null,
        under_voltage: null,
        throttled_since_boot: null,
      }),
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onRow: () => undefined,
  });
  test.match(report.rows, [{ error: { message: 'no engine' }, sensors: { temperature_c: { peak: 50 } } }]);
});

t.test('the bar', (test) => {
  const CLEAR = '\r\u001b[K';
  const stream = (isTTY: boolean) => {
    let text = '';
    const made = { isTTY, columns: 60, write: (part: string) => (text += part) };
    return { bar: createBar(made as unknown as NodeJS.WriteStream), text: () => text };
  };
  const progress = { fraction: 0.5, secondsLeft: 75, doing: 'x'.repeat(80) };
  const live = stream(true);
  live.bar.update(progress);
  test.ok(live.text().startsWith(CLEAR));
  test.match(live.text(), /█{10}░{10} {2}50 %, 1:15 left, x+…$/);
  test.equal(live.text().replace(CLEAR, '').length, 59, 'it must not wrap: it could not be drawn over');
  live.bar.update(progress);
  test.equal(live.text().match(/\r/g)!.length, 1, 'not oftener than people can read');
  live.bar.say('a line');
  test.ok(live.text().endsWith(`…${CLEAR}a line\n`), 'it takes the place of the bar');
  live.bar.done();
  test.ok(live.text().endsWith('a line\n'), 'nothing is left of it');
  const odd = stream(true);
  odd.bar.update({ fraction: 1.7, secondsLeft: 0, doing: '' });
  test.match(odd.text(), /█{20} 170 %/);

  const plain = stream(false);
  plain.bar.update(progress);
  plain.bar.say('a line');
  plain.bar.done();
  test.equal(plain.text(), 'a line\n', 'no bar and no control characters in a file');
  test.end();
});

t.test('scales', (test) => {
  test.same(linearScale([0.2, 0.5], [0, 300]).ticks, [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]);
  test.equal(linearScale([0, 10], [100, 0])(5), 50);
  test.same(logScale([1, 1000], [0, 300]).ticks, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  test.ok(Math.abs(logScale([1, 1000], [0, 300])(10) - 100) < 1e-9);
  test.same([0.00123, 1.234, 12.34, 123.4].map(short), ['0.001', '1.23', '12.3', '123']);
  test.same([3, 75, 3601].map(minutesAndSeconds), ['3 s', '1:15', '1:00:01']);
  test.end();
});

t.test('names of points cover neither each other nor a point', (test) => {
  const frame: Frame = { width: 860, height: 460, left: 52, right: 24, top: 34, bottom: 44 };
  const point = fc.record({
    x: fc.integer({ min: frame.left, max: frame.width - frame.right }),
    y: fc.integer({ min: frame.top, max: frame.height - frame.bottom }),
    radius: fc.constantFrom(4.5, 6),
    name: fc.stringMatching(/^[a-z0-9_]{1,24}$/),
  });
  fc.assert(
    fc.property(fc.array(point, { maxLength: 70 }), (points) => {
      const placed = [
        ...placeNames(points, frame, []).matchAll(
          /<text x="([\d.]+)" y="([\d.]+)" text-anchor="(start|middle|end)" class="name">([^<]*)</g,
        ),
      ].map(([, x, y, anchor, name]) => textBox(Number(x), Number(y), name!, anchor as 'start'));
      const dots = points.map(({ x, y, radius }) => ({
        // A tenth of a pixel is lost in the text.
        left: x - radius + 0.1,
        right: x + radius - 0.1,
        top: y - radius + 0.1,
        bottom: y + radius - 0.1,
      }));
      const smaller = placed.map(({ left, right, top, bottom }) => ({
        left: left + 0.1,
        right: right - 0.1,
        top: top + 0.1,
        bottom: bottom - 0.1,
      }));
      return smaller.every(
        (box, index) =>
          smaller.every((other, at) => at === index || !overlaps(box, other)) &&
          dots.every((dot) => !overlaps(box, dot)),
      );
    }),
  );
  const alone = { x: 400, y: 200, radius: 6, name: 'mn10_as' };
  test.match(placeNames([alone], frame, []), />mn10_as</);
  test.end();
});

t.test('a logarithmic axis begins and ends with a mark', (test) => {
  test.same(niceLogRange(3.3, 3.4), [2, 5]);
  test.same(niceLogRange(1, 10), [1, 10]);
  fc.assert(
    fc.property(
      fc.double({ min: 1e-4, max: 1e5, noNaN: true }),
      fc.double({ min: 1, max: 900, noNaN: true }),
      (low, ratio) => {
        const [from, to] = niceLogRange(low, low * ratio);
        const { ticks } = logScale([from, to], [0, 100]);
        return from <= low * 1.001 && to >= low * ratio * 0.999 && ticks[0] === from && ticks.at(-1) === to;
      },
    ),
  );
  test.end();
});

const HOSTILE = `<script>alert("x")</script>'"&|*`;

function rowOf(id: string, ms: number | null, map: number | null, more: Partial<BenchRow> = {}): BenchRow {
  const recorder = createDistribution();
  if (ms !== null) for (const factor of [0.9, 1, 1.1]) recorder.record(ms * factor);
  const total = recorder.summary();
  const parts = { total, features: total, network: total };
  const result: ModelMeasurement = {
    load_ms: 321,
    clip_ms: parts,
    clip_bins: recorder.bins(),
    real_time_factor: ms === null ? null : ms / 10_000,
    clip_cpu_ms: 1,
    stream: { rate_hz: 1, hop_ms: parts, late: 0, cpu_ms_per_hop: 5 },
    cpu_s_per_hour: 18,
    memory_mb: { peak: 145.4, resident: 120 },
  };
  return {
    id,
    title: id,
    family: 'f',
    architecture: 'a',
    synthetic: false,
    published_map: map,
    parameters: 4_880_000,
    macs: 541e6,
    window_s: 10,
    sample_rate: 32_000,
    threads: 1,
    file_bytes: 19_500_000,
    from_s: 0,
    to_s: 10,
    interrupted: false,
    sensors: null,
    result: ms === null ? null : result,
    streamed: null,
    error: ms === null ? { code: 'x', message: `broken ${HOSTILE}` } : null,
    ...more,
  };
}

const reportOf = (rows: BenchRow[], more: Partial<ModelBenchReport> = {}): ModelBenchReport => ({
  schema: 1,
  started_at: '2026-01-02T03:04:05.000Z',
  finished_at: '2026-01-02T03:14:05.000Z',
  interrupted: false,
  settings: { seconds: 60, rate_hz: 1, threads: [1] },
  machine: {
    board: `Board ${HOSTILE}`,
    cpu: 'CPU',
    cores: 4,
    memory_mb: 4096,
    os: 'Debian',
    kernel: '6.1',
    arch: 'arm64',
    node: '20.0.0',
    onnxruntime: '1.30.0',
    soundpost: '0.1.0',
    load_before: 0,
  },
  rows,
  sensors: [
    { t_s: 0, temperature_c: 50, frequency_mhz: 1800 },
    { t_s: 5, temperature_c: null, frequency_mhz: null },
    { t_s: 10, temperature_c: 60, frequency_mhz: 1500 },
  ],
  ...more,
});

/** The page as a reader has it. */
const withoutScript = (html: string): string => html.replace(/<(style|script)>[\s\S]*?<\/\1>/g, '');

/** Every element is closed by the tag that it must be closed by. */
function wellNested(html: string): boolean {
  const open: string[] = [];
  const markup = withoutScript(html);
  for (const [, slash, name] of markup.matchAll(/<(\/?)([a-z0-9]+)(?:\s[^<>]*)?>/g)) {
    if (['meta', 'br'].includes(name!)) continue;
    if (slash === '') open.push(name!);
    else if (open.pop() !== name) return false;
  }
  return open.length === 0 && !/<(?!\/?[a-z0-9]+[\s>]|!doctype)/.test(markup);
}

t.test('the page: complete, self-contained, and nothing in it is taken for markup', (test) => {
  const sensors = {
    temperature_c: { start: 50, end: 60, peak: 61.5 },
    frequency_mhz: { start: 1800, end: 1500, peak: 1800, lowest: 600 },
    throttled: true,
    under_voltage: false,
  };
  const rows = [
    rowOf('mn10_as', 89, 0.471, { sensors }),
    rowOf(HOSTILE, 200, 0.4),
    rowOf('no-map', 5, null),
    rowOf('broken', null, 0.3),
  ];
  const page = formatPage(reportOf(rows));
  const text = withoutScript(page);
  test.ok(wellNested(page), 'well nested');
  test.equal(wellNested('<p><b></p></b>'), false);
  test.notMatch(page, /<script>alert/);
  test.notMatch(text, /undefined|NaN|Infinity|\[object/);
  test.notMatch(page, /https?:|\ssrc=|\shref=|url\(|@import|<link|<iframe|<img/, 'no reference to elsewhere');
  test.match(page, /Content-Security-Policy" content="default-src 'none'/);
  test.equal(page.match(/<svg class="picture"/g)?.length, 3);
  for (const value of [
    'mn10_as',
    '0.471',
    '4.88 M',
    '541 M',
    '61.5',
    '&lt;script&gt;alert',
    'Debian',
    'arm64',
  ]) {
    test.ok(text.includes(value), value);
  }
  test.match(page, /<tr class="front"><td data-value="mn10_as">/);
  test.notMatch(page, /class="front"><td data-value="&lt;script/, 'slower and worse');
  test.match(page, /<b>broken<\/b> \(threads: 1\): <span class="bad">broken &lt;script/);
  test.match(page, /slowed the cores down/);

  const bare = formatPage(reportOf([rowOf('x', null, null)], { sensors: [], interrupted: true }));
  test.ok(wellNested(bare));
  test.equal(bare.match(/<svg class="picture"/g), null);
  test.match(bare, /Interrupted/);
  test.notMatch(withoutScript(bare), /undefined|NaN|Infinity/);
  test.end();
});

t.test('the table on a terminal and as Markdown', (test) => {
  const report = reportOf([
    rowOf('mn10_as', 89, 0.471),
    rowOf('a|b', 100, 0.2, { synthetic: true }),
    rowOf('broken', null, 0.3),
  ]);
  const text = formatTerminal(report);
  test.match(text, /^mn10_as \* +0\.471 +4\.88 M +541 M +3 +89\.0 /m);
  test.match(text, /^model +mAP +params +MACs +clips +clip ms/m);
  test.match(text, /^mn10_as .* M +3 +89\.0/m, 'how many clips are behind the figures');
  test.match(text, /^FAILED broken \(threads: 1\) could not be measured/m);
  test.match(text, /Synthetic weights/);
  test.notMatch(text, /undefined|NaN/);
  const markdown = formatMarkdown(report);
  const lines = markdown.split('\n').filter((line) => line.startsWith('|'));
  test.equal(lines.length, 4);
  const bars = lines.map((line) => line.replaceAll('\\|', '').split('|').length);
  test.equal(new Set(bars).size, 1, 'as many cells in every line');
  test.match(markdown, /\| a\\\|b \|/);
  const threads = formatTerminal({ ...report, settings: { ...report.settings, threads: [1, 2] } });
  test.match(threads, /^model +threads +mAP/m);
  test.match(formatTerminal(reportOf([])), /Nothing was measured/);
  test.end();
});
