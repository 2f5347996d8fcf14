/** `soundpost evaluate` as a person meets it. */
import { existsSync, symlinkSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { t } from 'tap';
import type { EvaluationReport } from '../../src/evaluate/report/report.js';
import { cli, cliHome, inferenceProcessOf, jsonLines, startCli } from '../support/cli.js';
import { untilGone } from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { installToneModel, tone } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { encodeWav } from '../support/wav.js';

t.jobs = 2;

const { folder, write, ownData } = cliHome(t);
const env = { SOUNDPOST_DATA_DIR: ownData('evaluate-data') };
const DEMO = projectPath('models', 'demo', 'day-at-home.wav');

interface DemoEvent {
  onset: number;
  offset: number;
  label: string;
  supported: boolean;
}
const demo = (
  JSON.parse(readFileSync(projectPath('models', 'demo', 'day-at-home.json'), 'utf8')) as {
    events: DemoEvent[];
  }
).events.filter(({ supported }) => supported);

const report = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as EvaluationReport;
const file = (name: string) => join(folder, name);

void t.test('the demo recording with its sounds at their times', async (t) => {
  symlinkSync(DEMO, file('day-at-home.wav'));
  const lines = demo.map(({ onset, offset, label }) => `day-at-home.wav\t${onset}\t${offset}\t${label}`);
  const list = write('strong.tsv', `filename\tonset\toffset\tevent_label\n${lines.join('\n')}\n`);
  const { code, stdout, stderr } = await cli(
    ['evaluate', list, '--json', file('r.json'), '--csv', file('r.csv'), '--html', file('r.html')].concat([
      '--write-thresholds',
      file('thresholds.yaml'),
      '--precision',
      '0.8',
      '--least',
      '1',
    ]),
    { env },
  );
  t.equal(code, 0, stderr);
  t.match(stderr, /^1 recording, 20 labels, 1 model$/m);
  t.match(stderr, /thresholds of \d+ of 20 labels for a precision of 80 %/);
  t.match(stdout, /^model +mAP +AUC +d' +labels +F1 +mean F1 +PSDS1 +PSDS2 +ms\/window/m);
  t.match(stdout, /^Dog +2 +\d\.\d+/m);

  const { list: read, settings, models } = report(file('r.json'));
  t.match(read, { kind: 'strong', recordings: 1, sound_seconds: 93.5, labels: 20, left_out: [] });
  t.match(settings, { precision: 0.8, piece_seconds: 10, psds_thresholds: 50 });
  const [model] = models;
  t.equal(models.length, 1);
  t.match(model, { id: 'soundpost-home', error: null, pieces: 10, unknown: [], frames: 'scores' });
  t.equal(model!.means!.labels, 20);
  // It was made to be heard: what the model hears there is known to be good.
  t.ok(model!.means!.map > 0.8 && model!.means!.map <= 1, `mAP ${model!.means!.map}`);
  t.ok(model!.events!.f1 > 0.4 && model!.events!.f1 < 1, `F1 ${model!.events!.f1}`);
  for (const { value, curve } of [model!.events!.psds1, model!.events!.psds2]) {
    t.ok(value > 0.4 && value <= 1, `PSDS ${value}`);
    t.ok(curve.length >= 1);
  }
  t.equal(
    model!.cost!.window_ms!.count,
    19,
    'two whole windows of 5 s in each piece of 10 s, one in the last of 3.5 s',
  );

  const csv = readFileSync(file('r.csv'), 'utf8').trim().split('\n');
  t.equal(csv.length, 21);
  t.match(csv[2], /^soundpost-home,"Crowing, cock-a-doodle-doo",/);
  const page = readFileSync(file('r.html'), 'utf8');
  t.equal(page.match(/Precision and recall of /g)?.length, 20);
  t.notMatch(page, /src=|href=|https?:/, 'it needs nothing else');

  const config = await cli(['config', '--config', file('thresholds.yaml'), '--json'], { env });
  t.equal(config.code, 0, config.stderr);
  t.match(config.stdout, /"Crowing, cock-a-doodle-doo"/);

  // The same events as `soundpost tag` finds with the same settings.
  const names = [...new Set(demo.map(({ label }) => label))];
  const tagged = await cli(['tag', DEMO, '--events', '--json', '--tagging.labels', JSON.stringify(names)], {
    env,
  });
  const [found] = jsonLines<{ events: { label: string }[] }>(tagged.stdout);
  for (const { name, events } of model!.labels) {
    t.equal(events!.detected, found!.events.filter(({ label }) => label === name).length, name);
  }
});

const SECONDS = 2;

void t.test('all models in turn, one of which fails', async (t) => {
  const data = ownData('evaluate-all');
  const { tonesHz } = await installToneModel(data, 'waveform', { id: 'tone', labels: 3, windowSeconds: 1 });
  const broken = await installToneModel(data, 'waveform', { id: 'broken', labels: 3 });
  writeFileSync(broken.onnxPath, 'this is not a network');
  const lines = tonesHz.map((hz, index) => {
    write(`tone-${index}.wav`, encodeWav(tone(hz, SECONDS, 16_000), 16_000));
    return `tone-${index}.wav,Tone ${index}`;
  });
  symlinkSync(DEMO, file('speech.wav'));
  write('silence.wav', encodeWav(new Float32Array(SECONDS * 16_000), 16_000));
  const list = write('clips.csv', ['file,labels', ...lines, 'speech.wav,Speech', 'silence.wav,'].join('\n'));
  const { code, stdout, stderr } = await cli(['evaluate', list, '--model', 'all', '--json', '-'], {
    env: { SOUNDPOST_DATA_DIR: data },
  });
  t.equal(code, 1, 'one of them failed');
  t.match(stderr, /^broken: FAILED: /m);
  const { models } = JSON.parse(stdout) as EvaluationReport;
  t.same(
    models.map(({ id, error, unknown }) => [id, error === null, unknown]),
    [
      ['soundpost-home', true, ['Tone 0', 'Tone 1', 'Tone 2']],
      ['broken', false, []],
      ['tone', true, ['Speech']],
    ],
  );
  const own = models.find(({ id }) => id === 'tone')!;
  t.match(own.means, { labels: 3, map: 1, auc: 1, d_prime: null });
  t.equal(own.pieces, 5);
  t.equal(own.common, null, 'there is no label that both know');
  t.match(own.cost?.window_ms, { count: 4 * SECONDS + 94 });

  const one = await cli(['evaluate', list, '--model', 'tone,soundpost-home'], {
    env: { SOUNDPOST_DATA_DIR: data },
  });
  t.equal(one.code, 0, one.stderr);
  t.match(one.stdout, /^Tone 1 +1\.000 +–$/m, 'labels against models');
});

void t.test('a list that is wrong: told with its lines, and nothing is done', async (t) => {
  const list = write(
    'wrong.tsv',
    'filename\tonset\toffset\tevent_label\nnone.wav\t1\t2\tDog\nx.wav\t2\t1\tDoog\n',
  );
  const { code, stdout, stderr } = await cli(['evaluate', list, '--json', file('wrong/r.json')], { env });
  t.equal(code, 1);
  t.equal(stdout, '');
  t.match(stderr, /wrong\.tsv:2: there is no file none\.wav/);
  t.match(stderr, /wrong\.tsv:3: it ends \(1 s\) before it begins \(2 s\)/);
  t.notOk(existsSync(file('wrong')));
});

void t.test('recordings that turn out to be damaged', { skip: skipWithout('ffmpeg') }, async (t) => {
  write('bad-1.mp3', 'this is no sound');
  write('bad-2.mp3', 'nor is this');
  write('good.wav', encodeWav(tone(440, 5, 16_000), 16_000));
  const list = write('damaged.csv', 'bad-1.mp3,Dog\ngood.wav,Music\nbad-2.mp3,Dog\n');
  const refused = await cli(['evaluate', list, '--csv', file('damaged-out.csv')], { env });
  t.equal(refused.code, 1);
  t.match(refused.stderr, /damaged\.csv:1: .*bad-1\.mp3/);
  t.match(refused.stderr, /damaged\.csv:3: .*bad-2\.mp3/, 'all that is bad, not only the first');
  t.notOk(existsSync(file('damaged-out.csv')));

  const { code, stdout } = await cli(['evaluate', list, '--keep-going', '--json', '-'], { env });
  t.equal(code, 0);
  const { list: read, models } = JSON.parse(stdout) as EvaluationReport;
  t.equal(read.recordings, 1);
  t.equal(read.left_out.length, 2);
  t.equal(models[0]!.pieces, 1);
});

void t.test('interrupted, it writes nothing and leaves nothing behind', async (t) => {
  const lines = Array.from({ length: 200 }, (_, index) => {
    symlinkSync(DEMO, file(`long-${index}.wav`));
    return `long-${index}.wav,Dog`;
  });
  const list = write('long.csv', lines.join('\n'));
  const running = startCli(['evaluate', list, '--json', file('long.json'), '--html', file('long.html')], {
    env,
  });
  const engine = await inferenceProcessOf(running.child.pid!);
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.ended;
  t.equal(code, 130);
  t.match(stderr, /interrupted: nothing is written/);
  t.equal(stdout, '');
  await untilGone(engine);
  t.notOk(existsSync(file('long.json')) || existsSync(file('long.html')));
});

void t.test('wrong usage', async (t) => {
  const list = write('usage.csv', `${basename(DEMO)},Dog\n`);
  for (const [args, wanted] of [
    [['--precision', '2'], /--precision 2/],
    [['--piece', '0'], /--piece 0/],
    [['--model', 'all,'], /all/],
    [['--model', 'soundpost-hom'], /soundpost-home/],
    [['--html', folder], /--html .*: cannot be written/],
  ] as const) {
    const { code, stdout, stderr } = await cli(
      ['evaluate', list, '--audio', projectPath('models', 'demo'), ...args],
      {
        env,
      },
    );
    t.not(code, 0, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, wanted);
  }
  const data = ownData('evaluate-two');
  await installToneModel(data, 'waveform', { id: 'tone' });
  const two = await cli(['evaluate', list, '--model', 'all', '--write-thresholds', file('t.yaml')], {
    env: { SOUNDPOST_DATA_DIR: data },
  });
  t.equal(two.code, 2);
  t.match(two.stderr, /--write-thresholds: thresholds are those of one model/);
});
