/** `models import tagger.onnx`: the manifest is proposed from the graph, and what it does not tell is asked for. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { writeOnnx, type OnnxGraph } from '../../src/convert/onnx.js';
import type { Signature } from '../../src/inference/read-signature.js';
import { proposeManifest, type OnnxFacts } from '../../src/install/propose-manifest.js';
import { readLabelNames } from '../../src/models/labels.js';
import type { Manifest } from '../../src/models/manifest.js';
import { cli, cliHome, jsonLines } from '../support/cli.js';
import { temporaryFolder } from '../support/temporary.js';
import {
  bothToneGraph,
  framedToneGraph,
  logMelToneGraph,
  logMelTonesHz,
  tone,
  waveformToneGraph,
  waveformTonesHz,
} from '../support/tone-models.js';
import { makeWav } from '../support/wav.js';

const writeWav = (path: string, samples: Float32Array, sampleRate: number): void =>
  writeFileSync(path, makeWav({ encoding: 'f32', sampleRate, channels: [[...samples]] }));

/** The tone detector without its last layer: logits. */
function logitsGraph(labels: number): OnnxGraph {
  const graph = waveformToneGraph(labels, 'samples');
  const nodes = graph.nodes.map((node) =>
    node.outputs[0] === 'scores' ? { op: 'Identity', inputs: node.inputs, outputs: node.outputs } : node,
  );
  return { ...graph, nodes };
}

t.test('networks that are ONNX already', async (t) => {
  const { folder, ownData, write } = cliHome(t);
  const dataDir = ownData('onnx');
  const env = { SOUNDPOST_DATA_DIR: dataDir };
  const labels = write('labels.txt', 'Low, or nearly\nMiddle\nHigh\n');
  const network = async (name: string, graph: OnnxGraph): Promise<string> => {
    const path = join(folder, `${name}.onnx`);
    await writeOnnx(path, { opset: 13, graph });
    return path;
  };
  const doImport = (file: string, id: string, ...flags: string[]) =>
    cli(['models', 'import', file, '--id', id, ...flags], { env });
  const manifestOf = (id: string) =>
    JSON.parse(readFileSync(join(dataDir, 'models', id, 'model.json'), 'utf8')) as Manifest;
  /** What the model hears in a tone, as the command line says it. */
  const heard = async (id: string, hz: number, rate: number) => {
    const wav = join(folder, `${id}.wav`);
    writeWav(wav, tone(hz, 1, rate), rate);
    const { stdout } = await cli(['tag', '--model', id, '--json', wav], { env });
    const [said] = jsonLines<{ windows: { tags: { label: string; score: number }[] }[] }>(stdout);
    return said!.windows[0]!.tags;
  };

  await t.test('samples', async (t) => {
    const file = await network('samples', waveformToneGraph(3, 'samples'));
    const asked = await doImport(file, 'samples', '--labels', labels);
    t.equal(asked.code, 1);
    t.match(
      asked.stderr,
      /does not tell the sample rate .*--sample-rate HZ.*; nor how much sound .*--window SECONDS/,
    );
    const done = await doImport(
      file,
      'samples',
      '--labels',
      labels,
      '--sample-rate',
      '16000',
      '--window',
      '1',
    );
    t.equal(done.code, 0, done.stderr);
    t.match(
      done.stdout,
      /Installed samples.*\n.*\nIts manifest was proposed .*waveform, 16000 Hz, windows of 1 s.*no frames/,
    );
    t.match(manifestOf('samples'), {
      input: { kind: 'waveform', name: 'waveform', sample_rate: 16000, window_seconds: 1, min_seconds: 1 },
      output: { scores: 'scores', activation: 'none', embedding: null, frames: null },
      source: { url: file },
    });
    t.same(readdirSync(join(dataDir, 'models', 'samples')).sort(), [
      'files.json',
      'labels.json',
      'model.json',
      'model.onnx',
      'self-test.json',
    ]);
    t.match(await heard('samples', waveformTonesHz(3)[1]!, 16_000), [{ label: 'Middle' }]);
    t.match((await cli(['models', 'verify', 'samples'], { env })).stdout, /self-test +the same answer/);
    t.match((await doImport(file, 'samples', '--labels', labels)).stderr, /There is a model samples already/);
  });

  await t.test('a fixed length, and frames', async (t) => {
    const file = await network('framed', framedToneGraph(3, 16_000));
    const flags = ['--labels', labels, '--sample-rate', '16000', '--frames-hop', '0.1'];
    const done = await doImport(file, 'framed', ...flags);
    t.equal(done.code, 0, done.stderr);
    t.match(done.stdout, /frames "frames" every 0\.1 s/);
    t.match(manifestOf('framed'), {
      input: { window_seconds: 1, min_seconds: 1 },
      output: { frames: { name: 'frames', hop_seconds: 0.1, role: 'scores' } },
    });
    const wrong = await doImport(file, 'wrong', ...flags.slice(0, -1), '0.3');
    t.match(wrong.stderr, /gives 10 frames for 1 s/, 'a wrong hop is found out');
  });

  await t.test('a log-mel, alone and with the samples', async (t) => {
    const file = await network('logmel', logMelToneGraph(3, 'frames'));
    const asked = await doImport(file, 'logmel', '--labels', labels);
    t.match(asked.stderr, /how its log-mel is computed \(--frontend panns\|.*efficientat/);
    const misspelt = await doImport(file, 'logmel', '--labels', labels, '--frontend', 'pans');
    t.match([misspelt.code, misspelt.stderr], [2, /no such front end\. Did you mean panns/]);
    const done = await doImport(file, 'logmel', '--labels', labels, '--frontend', 'panns', '--window', '1');
    t.equal(done.code, 0, done.stderr);
    t.match(manifestOf('logmel').input, {
      kind: 'log_mel',
      layout: 'NCTF',
      sample_rate: 32000,
      frontend: { kind: 'panns', n_mels: 64 },
    });
    t.match(await heard('logmel', logMelTonesHz(3)[2]!, 32_000), [{ label: 'High' }]);
    const both = await network('both', bothToneGraph(3));
    const joined = await doImport(
      both,
      'both',
      '--labels',
      labels,
      '--frontend',
      'Wavegram_Logmel_Cnn14',
      '--window',
      '1',
    );
    t.equal(joined.code, 0, joined.stderr);
    t.match(manifestOf('both').input, {
      kind: 'waveform_log_mel',
      name: 'logmel',
      waveform_name: 'waveform',
    });
  });

  await t.test('logits', async (t) => {
    const file = await network('logits', logitsGraph(3));
    const flags = ['--labels', labels, '--sample-rate', '16000', '--window', '1'];
    const asked = await doImport(file, 'logits', ...flags);
    t.match([asked.code, asked.stderr], [1, /--activation sigmoid where .*--activation softmax where/]);
    t.notOk(readdirSync(join(dataDir, 'models')).includes('logits'), 'nothing is installed');
    for (const activation of ['sigmoid', 'softmax']) {
      const done = await doImport(file, activation, ...flags, '--activation', activation);
      t.equal(done.code, 0, done.stderr);
      const tags = await heard(activation, waveformTonesHz(3)[0]!, 16_000);
      t.equal(tags[0]?.label, 'Low, or nearly');
      t.ok(tags[0]!.score > 0.9);
    }
    const silence = join(folder, 'silence.wav');
    writeWav(silence, new Float32Array(16_000), 16_000);
    const { stdout } = await cli(['tag', '--model', 'softmax', '--json', silence], { env });
    const [said] = jsonLines<{ windows: { tags: { score: number }[] }[] }>(stdout);
    for (const { score } of said!.windows[0]!.tags) t.ok(Math.abs(score - 1 / 3) < 1e-6, 'one of all');
  });

  await t.test('what is no tagger, or is not said right', async (t) => {
    const file = await network('again', waveformToneGraph(3, 'samples'));
    const flags = ['--sample-rate', '16000', '--window', '1'];
    const wrong: [args: string[], code: number, stderr: RegExp][] = [
      [[file, '--id', 'x', ...flags], 1, /does not tell what they are: --labels FILE/],
      [
        [file, '--id', 'x', '--labels', write('two.txt', 'a\nb\n'), ...flags],
        1,
        /gives 3 scores, but the model has 2 labels|no output of scores/,
      ],
      [[file, '--id', 'x', '--architecture', 'mn10'], 2, /no --architecture/],
      [[file, ...flags], 2, /needs --id ID/],
      [['x.pt', '--id', 'x', '--architecture', 'mn10', '--window', '1'], 2, /--window: only for ONNX/],
      [
        [file, '--id', 'x', '--labels', labels, ...flags, '--activation', 'sofmax'],
        2,
        /Did you mean softmax\?/,
      ],
      [[file, '--id', 'x', '--labels', labels, '--sample-rate', 'high'], 2, /--sample-rate high/],
      [[file, '--id', 'x', '--labels', labels, ...flags, '--scores', 'score'], 2, /Did you mean scores\?/],
      [
        [write('no.onnx', 'no network'), '--id', 'x', '--labels', labels, ...flags],
        1,
        /no\.onnx cannot be opened as an ONNX network/,
      ],
      [
        [join(folder, 'none.onnx'), '--id', 'x', '--labels', labels, ...flags],
        1,
        /none\.onnx cannot be read/,
      ],
    ];
    for (const [args, code, stderr] of wrong) {
      const result = await cli(['models', 'import', ...args], { env });
      t.match(result.stderr, stderr, args.join(' '));
      t.equal(result.code, code, args.join(' '));
    }
    t.notOk(readdirSync(join(dataDir, 'models')).includes('x'));
  });
});

t.test('what a graph tells', async (t) => {
  const value = (name: string, ...shape: (number | string)[]) => ({ name, type: 'float32', shape });
  const scores = [value('scores', 'batch', 10)];
  const propose = (signature: Signature, facts: OnnxFacts = {}) => proposeManifest(signature, 10, facts);
  const logMel = (...shape: (number | string)[]): Signature => ({
    inputs: [value('x', ...shape)],
    outputs: scores,
  });

  const efficientat = { frontend: 'efficientat' };
  t.match(await propose(logMel('b', 1, 128, 1000), efficientat), {
    input: { layout: 'NCFT', sample_rate: 32000, window_seconds: 10, min_seconds: 10 },
  });
  t.match(await propose(logMel('b', 1, 't', 40), { ...efficientat, windowSeconds: 5 }), {
    input: { layout: 'NCTF', frontend: { n_mels: 40 }, window_seconds: 5, min_seconds: 1 },
  });
  t.match(await propose(logMel(1, 1, 1001, 64), { frontend: 'panns' }), { input: { window_seconds: 10 } });
  t.match(await propose(logMel(1, 1, 101, 64), { frontend: 'panns', sampleRate: 16000 }), {
    input: { sample_rate: 16000, frontend: { hop_length: 160 }, window_seconds: 1 },
  });
  const open = { frontend: 'panns', windowSeconds: 1 };
  await t.rejects(propose(logMel('b', 1, 'h', 'w'), open), { code: 'onnx_facts', message: /--layout NCTF/ });
  t.match(await propose(logMel('b', 1, 'h', 'w'), { ...open, layout: 'NCFT' }), {
    input: { layout: 'NCFT' },
  });
  await t.rejects(propose(logMel('b', 1, 't', 80), open), { code: 'model_shape', message: /64 mels/ });
  await t.rejects(propose(logMel('b', 1, 64, 't'), { ...open, sampleRate: 44100 }), {
    message: /for 32000, 16000, 8000 Hz/,
  });
  await t.rejects(propose(logMel('b', 1, 't')), { code: 'model_shape', message: /"x" float32 \[b, 1, t\]/ });

  const inputs = [value('samples', 1, 16000)];
  const facts = { sampleRate: 16000 };
  t.match(
    await propose(
      { inputs, outputs: [...scores, value('embedding', 1, 99), value('when', 1, 20, 10)] },
      facts,
    ),
    {
      output: { scores: 'scores', embedding: 'embedding', frames: { name: 'when', hop_seconds: 0.05 } },
    },
  );
  const two = [value('a', 1, 10), value('b', 1, 10)];
  await t.rejects(propose({ inputs, outputs: two }, facts), { message: /--scores a or --scores b/ });
  t.match(await propose({ inputs, outputs: two }, { ...facts, scores: 'b' }), { output: { scores: 'b' } });
  t.match(await propose({ inputs, outputs: [value('logits', 1, 10), value('probs', 1, 10)] }, facts), {
    output: { scores: 'probs' },
  });
  await t.rejects(propose({ inputs, outputs: [value('scores', 1, 11)] }, facts), {
    code: 'model_shape',
    message: /for 10 labels/,
  });
});

t.test('labels from CSV', async (t) => {
  const folder = temporaryFolder(t);
  const read = (text: string) => {
    writeFileSync(join(folder, 'labels.csv'), text);
    return readLabelNames(join(folder, 'labels.csv'));
  };
  t.same(await read('index,mid,display_name\r\n1,/m/b,"Dog, or ""hound"""\r\n0,/m/a,Cat\r\n'), [
    { index: 0, name: 'Cat', mid: '/m/a' },
    { index: 1, name: 'Dog, or "hound"', mid: '/m/b' },
  ]);
  const plain = ['Cat', 'Dog'].map((name, index) => ({ index, name, mid: null }));
  t.same(await read('Cat\nDog\n'), plain);
  t.same(await read('\uFEFFname,count\nCat,3\nDog,4\n'), plain);
  for (const text of [
    '',
    'a,b\nc,d\n',
    'index,name\n0,Cat\n2,Dog\n',
    'name\n"Cat\n',
    'index,name\nx,Cat\n',
    'name,index\nCat\n',
  ]) {
    await t.rejects(read(text), { code: 'model_labels' }, JSON.stringify(text));
  }
});
