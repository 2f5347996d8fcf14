/** How recordings are cut up and heard, with an engine that only writes down what it is sent; and the reports. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { DecodedChunk } from '../../src/audio/decode.js';
import { loadConfig } from '../../src/config/load.js';
import type { InferenceEngine, InferenceRequest } from '../../src/inference/engine.js';
import { withoutThresholds } from '../../src/models/labels.js';
import type { InstalledModel } from '../../src/models/registry.js';
import { createKnownLabels } from '../../src/evaluate/list/known-labels.js';
import { createProblems } from '../../src/evaluate/list/problems.js';
import type { ListedRecording, Target } from '../../src/evaluate/list/read-list.js';
import { columnsOf, watching, withThreshold } from '../../src/evaluate/run/columns.js';
import { hearPieces, heldBy } from '../../src/evaluate/run/hear.js';
import { meansOf } from '../../src/evaluate/run/evaluate-model.js';
import { createPieceReader } from '../../src/evaluate/run/piece-reader.js';
import { createScoreTable } from '../../src/evaluate/run/score-table.js';
import { createSettling } from '../../src/evaluate/run/settle.js';
import { formatCsv } from '../../src/evaluate/report/csv.js';
import { formatPage } from '../../src/evaluate/report/page.js';
import type { EvaluationReport, LabelReport, ModelReport } from '../../src/evaluate/report/report.js';
import { formatTerminal } from '../../src/evaluate/report/terminal.js';
import { formatThresholds } from '../../src/evaluate/report/thresholds-file.js';
import { resolveWatched, type TaggingSettings } from '../../src/tagging/watch.js';
import { bareResult } from '../support/bare-result.js';
import { temporaryFolder } from '../support/temporary.js';
import { makeWav } from '../support/wav.js';

const RATE = 200;
const signal = new AbortController().signal;

async function* chunksOf(samples: Float32Array, lengths: readonly number[]) {
  let position = 0;
  for (let index = 0; position < samples.length; index += 1) {
    const part = samples.subarray(position, position + (lengths[index % lengths.length] ?? 1));
    yield { sampleRate: RATE, samples: part, position };
    position += part.length;
    await Promise.resolve();
  }
  return ['odd'];
}

const ramp = (count: number) => Float32Array.from({ length: count }, (_, at) => at + 1);

void t.test('pieces are the sound of their parts, however it comes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2000 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 5 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 1, max: 500 })), {
        maxLength: 5,
      }),
      fc.integer({ min: 0, max: 300 }),
      async (total, lengths, parts, least) => {
        const sound = ramp(total);
        const reader = createPieceReader(chunksOf(sound, lengths));
        let at = 0;
        for (const [gap, length] of parts) {
          const [from, to] = [at + gap, at + gap + length];
          const there = sound.subarray(from, to);
          if ((await reader.reaches(from / RATE)) !== there.length > 0) return false;
          if (there.length === 0) break;
          const heard: number[] = [];
          for await (const chunk of reader.take(
            from / RATE,
            to / RATE,
            least / RATE,
          ) as AsyncIterable<DecodedChunk>)
            heard.push(...chunk.samples);
          const silence = Math.max(0, least - there.length);
          const wanted = [...there, ...new Array<number>(silence).fill(0)];
          if (heard.length !== wanted.length || heard.some((value, index) => value !== wanted[index]))
            return false;
          at = to;
        }
        const warnings = await reader.finish();
        return warnings[0] === 'odd' && Math.abs(reader.seconds - total / RATE) < 1e-9;
      },
    ),
  );
});

/** An engine whose only score is the highest sample of a window. */
function loudest(windowSeconds: number, minSeconds: number): InferenceEngine {
  let stream = new Float32Array(0);
  const manifest = {
    id: 'loudest',
    input: { sample_rate: RATE, window_seconds: windowSeconds, min_seconds: minSeconds },
  };
  return {
    model: { manifest } as unknown as InstalledModel,
    pid: 0,
    loadMs: 0,
    fixedWindow: false,
    infer({ samples, reset, windowSamples }: InferenceRequest) {
      stream = Float32Array.of(...(reset ? [] : stream), ...samples);
      stream = stream.slice(stream.length - windowSamples);
      const scores = Float32Array.of(Math.max(...stream));
      return Promise.resolve(bareResult(scores));
    },
    learn: () => Promise.reject(new Error('nothing is learnt here')),
    exited: new Promise(() => undefined),
    stop: () => Promise.resolve(),
  };
}

const oneColumn = {
  all: [{ target: 0, name: 'Loud', mid: null, group: null, indexes: [0] }],
  ofTarget: [0],
};

void t.test('a recording is one piece, or cut into pieces of one length', async (t) => {
  const path = join(temporaryFolder(t), 'a.wav');
  // Loud at 3.5 s and, less so, at 7.2 s.
  const samples = new Array<number>(8.4 * RATE).fill(0);
  samples[3.5 * RATE] = 0.9;
  samples[7.2 * RATE] = 0.5;
  writeFileSync(path, makeWav({ encoding: 'f32', sampleRate: RATE, channels: [samples] }));
  const hear = async (part: { from: number; to: number | null }, pieceSeconds: number | null, min = 0.5) =>
    hearPieces(loudest(1, min), { path }, { part, pieceSeconds, columns: oneColumn, signal });
  const shown = ({ pieces }: Awaited<ReturnType<typeof hear>>) =>
    pieces.map(({ from, to, scores }) => [from, to, Math.round(scores[0]! * 10) / 10]);

  const whole = await hear({ from: 0, to: null }, null);
  t.same(shown(whole), [[0, 8.4, 0.9]], 'the highest of its windows');
  t.equal(whole.seconds, 8.4);
  t.same(
    shown(await hear({ from: 0, to: null }, 2)),
    [
      [0, 2, 0],
      [2, 4, 0.9],
      [4, 6, 0],
      [6, 8, 0.5],
    ],
    'the rest is too short to be a piece',
  );
  t.same(shown(await hear({ from: 4, to: 7 }, null)), [[4, 7, 0]]);
  t.same(shown(await hear({ from: 7, to: 9 }, null)), [[7, 8.4, 0.5]]);
  t.same(shown(await hear({ from: 9, to: 10 }, null)), []);
  const padded = await hear({ from: 7, to: 8 }, null, 1.5);
  t.match(padded.pieces, [{ padded: true, to: 8 }]);
  t.equal(padded.pieces.length, 1, 'silence fills up what is too short for the model');
});

void t.test('an event is in the pieces that have some of it', (t) => {
  const event = (onset: number, offset: number) => ({ target: 0, onset, offset, line: 1 });
  const piece = { from: 10, to: 20 };
  for (const [onset, offset, is] of [
    [12, 13, true],
    [0, 30, true],
    [5, 10.2, true],
    [5, 10.05, false],
    [19.95, 30, false],
    [19.98, 20.01, true],
    [1, 2, false],
  ] as const) {
    t.same(heldBy(piece, [event(onset, offset)], oneColumn), is ? [0] : [], `${onset} to ${offset}`);
  }
  t.same(heldBy(piece, [event(11, 12), event(13, 14)], oneColumn), [0]);
  t.same(heldBy(piece, [event(11, 12)], { all: [], ofTarget: [-1] }), [], 'of what the model knows');
  t.end();
});

void t.test('the table of scores gives back what went in, beyond its first size', (t) => {
  const table = createScoreTable(2);
  for (let row = 0; row < 1000; row += 1) {
    table.add(Float32Array.of(row / 1000, 1 - row / 1000), row % 2 === 0 ? [0] : [1]);
  }
  t.equal(table.rows, 1000);
  const { scores, truth } = table.column(1);
  t.equal(scores[700], Math.fround(0.3));
  t.same([...truth.subarray(0, 4)], [0, 1, 0, 1]);
  t.end();
});

const labels = withoutThresholds(
  ['Speech', 'Siren', 'Fire alarm', 'Dog'].map((name, index) => ({ index, name, mid: `/m/${index}` })),
);
const settings: TaggingSettings = {
  labels: ['Dog', { name: 'Alarm', labels: ['Siren', 'Fire alarm', 'Bell'], threshold: 0.3 }],
  threshold: null,
  thresholds: { Dog: 0.6, Cat: 0.7 },
  offFraction: 0.7,
  confirm: { k: 1, n: 1 },
  minDurationSeconds: 0,
  minGapSeconds: 0,
};

void t.test('what a list names is watched as the service would', (t) => {
  const known = createKnownLabels(labels, [settings.labels[1] as { name: string; labels: string[] }]);
  const targets: Target[] = [
    { name: 'Dog', mid: '/m/3', group: null, texts: ['dog'] },
    { name: 'Cat', mid: null, group: null, texts: ['Cat'] },
    { name: 'Alarm', mid: null, group: 'Alarm', texts: ['alarm'] },
    { name: 'Speech', mid: '/m/0', group: null, texts: ['/m/0'] },
  ];
  const columns = columnsOf(targets, known);
  t.same(columns.ofTarget, [0, -1, 1, 2]);
  t.same(
    columns.all.map(({ name, indexes }) => [name, indexes]),
    [
      ['Dog', [3]],
      ['Alarm', [1, 2]],
      ['Speech', [0]],
    ],
  );
  const watched = resolveWatched(labels, watching(settings, columns.all, { labels }));
  t.same(
    watched.items.map(({ name, group, members }) => [name, group, members.map((one) => one.onThreshold)]),
    [
      ['Dog', null, [0.6]],
      ['Alarm', 'Alarm', [0.3, 0.3]],
      ['Speech', null, [0.5]],
    ],
  );
  const same = resolveWatched(labels, withThreshold(watching(settings, columns.all, { labels }), 0.11));
  t.ok(same.items.every(({ members }) => members.every(({ onThreshold }) => onThreshold === 0.11)));
  t.end();
});

void t.test('what is found out of a recording is told once', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.wav');
  writeFileSync(
    path,
    makeWav({ encoding: 's16', sampleRate: RATE, channels: [new Array<number>(RATE).fill(0)] }),
  );
  const events = [
    { target: 0, onset: 0.2, offset: 1.05, line: 2 },
    { target: 0, onset: 0.9, offset: 3, line: 3 },
  ];
  const recording: ListedRecording = {
    line: 2,
    file: 'a.wav',
    path,
    seconds: null,
    part: null,
    targets: [0],
    events,
  };
  const problems = createProblems('list');
  const settling = createSettling(problems);
  t.equal(settling.known(recording), undefined);
  await settling.check(recording, signal);
  await settling.check(recording, signal);
  t.same(settling.settle(recording, 1).events, [{ ...events[0], offset: 1 }]);
  t.same(problems.told(), ['list:3: 0.9 s to 3 s lies outside of a.wav, which lasts 1.00 s']);

  const segment = { ...recording, events: null, part: { from: 30, to: 40 } };
  t.same(await settling.partOf(segment, signal), { from: 0, to: null }, 'it is the segment alone');
  const later = { ...recording, events: null, part: { from: 3, to: 3.2 } };
  t.equal(await settling.partOf(later, signal), null);
  t.equal(settling.known(later), null);
  const missing = { ...recording, path: join(folder, 'b.wav') };
  await settling.check(missing, signal);
  t.equal(problems.count, 3);
  t.throws(() => settling.fail(recording, new Error('no fault of the recording')), /no fault/);
});

const label = (name: string, more: Partial<LabelReport> = {}): LabelReport => ({
  name,
  mid: null,
  group: null,
  positives: 20,
  average_precision: 0.5,
  auc: 0.8,
  d_prime: 1.19,
  in_force: { threshold: 0.25, from: 'model', precision: 0.75, recall: 0.6, f1: 2 / 3 },
  wanted: { threshold: 0.41, precision: 0.9, recall: 0.3, f1: 0.45 },
  curve: [
    { threshold: 0.9, precision: 1, recall: 0.1 },
    { threshold: 0.1, precision: 0.2, recall: 1 },
  ],
  events: null,
  ...more,
});

function reportOf(models: ModelReport[]): EvaluationReport {
  return {
    schema: 1,
    started_at: '2026-01-01T00:00:00.000Z',
    finished_at: '2026-01-01T00:01:00.000Z',
    machine: {
      board: 'Board <b>',
      cpu: 'cpu',
      cores: 4,
      memory_mb: 1000,
      os: 'Linux',
      kernel: '6',
      arch: 'arm64',
      node: '20',
      onnxruntime: null,
      soundpost: '0',
      load_before: 0,
    },
    list: { path: '<list>', kind: 'clips', recordings: 40, sound_seconds: 400, labels: 2, left_out: [] },
    settings: {
      precision: 0.9,
      least_positives: 5,
      threads: 1,
      piece_seconds: null,
      rate_hz: 1,
      psds_thresholds: 50,
    },
    models,
  };
}

const model = (id: string, labelReports: LabelReport[], more: Partial<ModelReport> = {}): ModelReport => ({
  id,
  title: id,
  window_s: 5,
  frames: null,
  error: null,
  unknown: [],
  pieces: 40,
  padded: 0,
  means: meansOf(labelReports),
  common: null,
  labels: labelReports,
  events: null,
  cost: { load_ms: 10, window_ms: null, cpu_ms_per_window: 3 },
  ...more,
});

void t.test('means are over the labels that can be told from the rest', (t) => {
  const means = meansOf([
    label('a', { average_precision: 1, auc: 1 }),
    label('b', { average_precision: 0.5, auc: 0.5 }),
    label('c', { average_precision: null, auc: null }),
  ]);
  t.match(means, { labels: 2, map: 0.75, auc: 0.75 });
  t.ok(Math.abs(means!.d_prime! - 0.9538725524089398) < 1e-9, 'd′ of the mean AUC');
  t.equal(meansOf([label('a', { average_precision: 1, auc: 1 })])?.d_prime, null, 'infinite');
  t.equal(meansOf([]), null);
  t.end();
});

void t.test('written thresholds are what the configuration takes', (t) => {
  const folder = temporaryFolder(t);
  const report = reportOf([
    model('one', [
      label('Baby cry, infant cry'),
      label('Yes', { wanted: { threshold: 0.5, precision: 1, recall: 1, f1: 1 } }),
      label('- odd: "name" # here', { wanted: { threshold: 1e-5, precision: 1, recall: 1, f1: 1 } }),
      label('Rare', { positives: 4 }),
      label('Never', { wanted: null }),
    ]),
  ]);
  const wanted = { 'Baby cry, infant cry': 0.41, Yes: 0.5, '- odd: "name" # here': 1e-5 };
  const path = join(folder, 't.yaml');
  writeFileSync(path, formatThresholds(report, path));
  t.match(readFileSync(path, 'utf8'), /^# Thresholds of one for a precision of 90 %/);
  const fromFile = loadConfig({ env: {}, flags: {}, configPath: path });
  t.same(fromFile.config.tagging.thresholds, wanted);
  const json = formatThresholds(report, 'T.JSON');
  const fromFlag = loadConfig({ env: { SOUNDPOST_TAGGING_THRESHOLDS: json }, flags: {} });
  t.same(fromFlag.config.tagging.thresholds, wanted);
  t.end();
});

void t.test('strangers’ names stay text in every report', (t) => {
  const odd = '<script>"x", y</script>';
  const report = reportOf([
    model('one', [label(odd), label('Dog', { positives: 3 })], { unknown: [odd], padded: 2 }),
    model('two', [label('Dog', { average_precision: null, auc: null, curve: [], in_force: null })], {
      common: { labels: 1, map: 0.4, auc: 0.5, d_prime: null },
    }),
    model('bad', [], { error: { code: 'model_memory', message: `it is <${odd}>` }, cost: null }),
  ]);
  const page = formatPage(report);
  t.equal(page.split('<script>').length, 2, 'only our own');
  t.notMatch(page, /https?:/, 'nothing from elsewhere');
  t.match(page, /&lt;script&gt;/);
  t.match(page, /Precision and recall of/);
  const csv = formatCsv(report).split('\n');
  t.equal(csv.length, 5);
  t.match(csv[1], /^one,"<script>""x"", y<\/script>",,40,20,0\.5,0\.8,/);
  t.match(csv[3], /^two,Dog,,40,20,,,1\.19,,,,,,0\.41/);
  const text = formatTerminal(report);
  t.match(text, /^<list>: 40 recordings with labels \(6\.7 min\), 2 labels$/m);
  t.match(text, /^model +mAP +AUC +d' +labels +mAP common/m);
  t.match(text, /^FAILED bad: it is/m);
  t.match(text, /^Dog +0\.500 +–$/m);
  t.match(text, /1 of 2 labels are in fewer than 10 pieces/);
  t.match(text, /one: 2 pieces were shorter than it takes/);
  t.end();
});
