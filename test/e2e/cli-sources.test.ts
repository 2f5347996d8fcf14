/** The command line with several sources: two recordings and one that is broken. */
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { t } from 'tap';
import { freePort } from '../support/broker.js';
import { cli, cliHome, jsonLines, startCli } from '../support/cli.js';
import { noise, skipWithoutMicrophone, startFileMicrophone } from '../support/microphone.js';
import { projectPath } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';
import { makeWav, sine } from '../support/wav.js';

// Most of the time of a command is the start of its processes: two at a time on the smallest machine.
t.jobs = 2;

const { folder, write, ownData } = cliHome(t);

const crow = projectPath('test', 'fixtures', 'audio', 'crow.wav');
const tone = write(
  'tone.wav',
  makeWav({ encoding: 's16', sampleRate: 16_000, channels: [sine(48_000, 1000, 16_000)] }),
);
const missing = join(folder, 'missing.wav');

const rooms = write(
  'rooms.yaml',
  `audio:
  speed: max
  sources:
    - {name: yard, file: ${crow}, labels: [Crow]}
    - {name: attic, file: ${missing}, loud: {above_background_db: 25}}
    - {name: hall, file: ${tone}, labels: [Spech, Dog], threshold: 0.3}
`,
);
const env = { SOUNDPOST_DATA_DIR: ownData('data') };

interface Heard {
  ts: string;
  source?: string;
  level_dbfs: number;
  tags: { label: string; score: number }[];
}

interface Finding {
  name: string;
  verdict: string;
  detail: string;
  thresholds?: object[];
}

const doctor = async (args: string[], more: Record<string, string> = {}) => {
  const { code, stdout } = await cli(
    ['doctor', '--json', '--broker.port', String(await freePort()), ...args],
    { env: { ...env, ...more } },
  );
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  return { code, ok, of: (name: string) => findings.find((finding) => finding.name === name), findings };
};

void t.test('listen shows all sources, and says which one cannot be heard', async (t) => {
  const json = await cli(['listen', '-c', rooms, '--json', '--top', '2'], { env });
  t.equal(json.code, 0, json.stderr);
  const windows = jsonLines<Heard>(json.stdout);
  t.same(new Set(windows.map(({ source }) => source)), new Set(['yard', 'hall']));
  for (const window of windows) t.equal(window.tags.length, 2);
  t.match(json.stderr, /^yard: hearing crow\.wav at \d+ Hz with soundpost-home$/m);
  t.match(json.stderr, /^attic: .*missing\.wav does not exist/m);
  t.match(json.stderr, /^hall: hearing tone\.wav at 16000 Hz/m);

  const text = await cli(['listen', '-c', rooms], { env });
  t.match(text.stdout, /^\d{4}-\S+Z {2}yard {2} *-\d+ dBFS {2}\S.* \d\.\d\d · /m);
  t.match(text.stdout, /^\d{4}-\S+Z {2}hall {2} *-\d+ dBFS {2}/m);

  const none = await cli(['listen', '-c', rooms, '--audio.sources', JSON.stringify([
    { name: 'attic', file: missing },
    { name: 'cellar', file: `${missing}2` },
  ])], { env }); // prettier-ignore
  t.equal(none.code, 1);
  t.match(none.stderr, /missing\.wav does not exist/);

  const one = await cli(['listen', '--json', '--audio.file', tone, '--audio.speed', 'max'], { env });
  t.equal(jsonLines<Heard>(one.stdout)[0]!.source, undefined, 'the only source needs no name');
  t.match(one.stderr, /^hearing tone\.wav at 16000 Hz/m);
});

void t.test('listen says which stream is silent', { skip: skipWithout('ffmpeg') }, async (t) => {
  const closed = { name: 'cellar', url: `http://127.0.0.1:${await freePort()}/` };
  const hall = { name: 'hall', file: tone };
  const gone = startCli(['listen', '--audio.sources', JSON.stringify([closed, hall])], { env });
  t.teardown(() => gone.child.kill('SIGKILL'));
  await gone.printed('stderr', /cellar: No sound from the stream/);
  gone.child.kill('SIGINT');
  t.equal((await gone.ended).code, 0);
});

void t.test('doctor looks at each source', async (t) => {
  const found = await doctor(['-c', rooms]);
  t.equal(found.code, 1);
  t.equal(found.ok, false);
  t.strictSame(
    found.findings.map(({ name }) => name).filter((name) => /^(labels|audio)/.test(name)),
    ['labels yard', 'labels attic', 'labels hall', 'audio yard', 'audio attic', 'audio hall'],
  );
  t.match(found.of('labels yard'), { verdict: 'ok', thresholds: [{ label: 'Crow' }] });
  t.match(found.of('labels attic'), {
    verdict: 'ok',
    detail: /every label of soundpost-home.*; and Loud noise, from 25 dB above the background on$/,
  });
  t.match(found.of('labels hall'), {
    verdict: 'warn',
    detail: /does not know "Spech" \(did you mean "Speech"/,
    thresholds: [{ label: 'Dog', threshold: 0.3, from: 'threshold' }],
  });
  t.match(found.of('audio yard'), {
    verdict: 'ok',
    detail: /^crow\.wav, \d+ Hz: heard \d+\.\d s of -\d+ dBFS/,
  });
  t.match(found.of('audio attic'), { verdict: 'fail', detail: /missing\.wav does not exist/ });
  t.match(found.of('audio hall'), { verdict: 'ok', detail: /^tone\.wav, 16000 Hz: heard 3\.0 s/ });

  const text = await cli(['doctor', '-c', rooms, '--broker.port', String(await freePort())], { env });
  t.equal(text.code, 1);
  t.match(text.stdout, /\nok +labels yard +watched of .*\n +Crow +0\.\d+ /);
  t.match(text.stdout, /\n +Dog +0\.3 +threshold\n/, 'the key as an entry of the list has it');
  t.match(text.stdout, /\nok +audio yard +crow\.wav/);
  t.match(text.stdout, /\nfail +audio attic +.*missing\.wav does not exist/);
});

void t.test(
  'doctor listens to several streams at the same time',
  { skip: skipWithout('ffmpeg') },
  async (t) => {
    const sound = readFileSync(tone);
    /** Streams are answered once both are there: one after the other would wait for ever. */
    let arrived = 0;
    let letThrough: () => void = () => undefined;
    const bothThere = new Promise<void>((resolve) => (letThrough = resolve));
    const radio = createServer((request, response) => {
      if (request.url === '/gone') {
        response.writeHead(404).end();
        return;
      }
      if ((arrived += 1) === 2) letThrough();
      void bothThere.then(() => response.writeHead(200, { 'content-type': 'audio/wav' }).end(sound));
    }).listen(0, '127.0.0.1');
    t.teardown(() => radio.close());
    await once(radio, 'listening');
    const at = `http://127.0.0.1:${(radio.address() as AddressInfo).port}`;
    const { code, of } = await doctor([
      '--audio.sources',
      JSON.stringify([
        { name: 'yard', url: `${at}/yard` },
        { name: 'gone', url: `${at.replace('//', '//heidi:s3cret@')}/gone` },
        { name: 'hall', url: `${at}/hall` },
      ]),
    ]);
    t.equal(code, 1);
    t.match(
      [of('audio yard'), of('audio hall')],
      [
        { verdict: 'ok', detail: /heard \d\.\d s of -\d+ dBFS/ },
        { verdict: 'ok', detail: /heard \d\.\d s of -\d+ dBFS/ },
      ],
    );
    t.match(of('audio gone'), { verdict: 'fail', detail: /404.*path of the address/ });
    t.notMatch(of('audio gone')!.detail, /s3cret|heidi/);
  },
);

void t.test('microphones of several sources', { skip: skipWithoutMicrophone() }, async (t) => {
  const sound = { samples: noise(48_000), sampleRate: 48_000, channels: 1 };
  const microphone = await startFileMicrophone(sound, ['default', 'kitchen', 'garage']);
  t.teardown(() => microphone.stop());
  const sources = JSON.stringify([
    { name: 'cook', device: 'kitchen' },
    { name: 'twin', device: 'kitch' },
    { name: 'moon', device: 'crater' },
    { name: 'film', file: tone },
  ]);
  const found = await doctor(['--audio.sources', sources], microphone.env);
  t.match(found.of('audio cook'), { verdict: 'ok', detail: /^kitchen; there is also .*garage/ });
  t.match(found.of('audio twin'), { verdict: 'fail', detail: /kitchen is the microphone of cook/ });
  t.match(found.of('audio moon'), { verdict: 'fail', detail: /no audio input is called "crater"/ });
  t.match(found.of('audio film'), { verdict: 'ok' });

  const options = { env: { ...env, ...microphone.env, SOUNDPOST_AUDIO_SOURCES: sources } };
  const listed = JSON.parse((await cli(['devices', '--json'], options)).stdout) as {
    devices: { name: string; usedBy: string[] }[];
    sourcesWithout: { source: string }[];
  };
  const users = Object.fromEntries(listed.devices.map(({ name, usedBy }) => [name, usedBy]));
  t.same(users['kitchen'], ['cook', 'twin']);
  t.same(users['garage'], []);
  t.match(listed.sourcesWithout, [{ source: 'moon', detail: /crater/ }]);
  const { stdout } = await cli(['devices'], options);
  t.match(stdout, /\n\d+ +kitchen .* cook, twin\n/);
  t.match(stdout, /\nThe source moon has no input: no audio input is called "crater"/);
});

void t.test('the service goes on without the source that is broken, and health says so', async (t) => {
  const own = { SOUNDPOST_DATA_DIR: ownData('health-data') };
  const service = startCli(
    ['run', '-c', rooms, '--audio.speed', '1', '--audio.loop', 'true', '--broker.port', String(await freePort())],
    { env: own },
  ); // prettier-ignore
  t.teardown(() => service.child.kill('SIGKILL'));
  await service.printed('stderr', /The source attic is not heard.*missing\.wav does not exist/);
  let health = await cli(['health', '--json'], { env: own });
  await until(
    async () => (health = await cli(['health', '--json'], { env: own })).code === 0,
    () => `a healthy service; the last answer was ${health.stdout}`,
    60,
  );
  t.match(JSON.parse(health.stdout), {
    healthy: true,
    sources: [
      { name: 'yard', ok: true, detail: 'sound arrives' },
      { name: 'attic', ok: false, detail: /missing\.wav does not exist/ },
      { name: 'hall', ok: true, detail: 'sound arrives' },
    ],
  });
  const text = await cli(['health'], { env: own });
  t.match(
    text.stdout,
    /^ok +audio +sound arrives from 2 of 3 sources; none from attic \(.*missing\.wav does not exist/m,
  );
  t.match(
    text.stdout,
    /^ok +audio\/yard +sound arrives\nFAIL +audio\/attic .*\nok +audio\/hall .*\nhealthy\n$/m,
  );
  service.child.kill('SIGTERM');
  t.equal((await service.ended).code, 0);
});

void t.test('doctor measures what the model is to hear', async (t) => {
  const { of } = await doctor([
    '--audio.sources',
    JSON.stringify([
      { name: 'soft', file: tone, gain_db: -40 },
      { name: 'shrill', file: tone, gain_db: 40 },
    ]),
  ]);
  t.match(of('audio soft'), { verdict: 'ok', detail: /heard 3\.0 s of -4\d dBFS/ });
  t.match(of('audio shrill'), {
    verdict: 'warn',
    detail: /samples were too loud after gain_db: 40 is too much/,
  });
});

void t.test('config shows each source in a row', async (t) => {
  const { code, stdout } = await cli(['config', '-c', rooms], { env });
  t.equal(code, 0);
  const rows = stdout.split('\n').filter((line) => line.startsWith('audio.sources'));
  t.equal(rows.length, 3);
  t.match(rows[2], /^audio\.sources\[2\] +\{"name":"hall",.*\} +\S+rooms\.yaml:\d+:\d+$/);
});

void t.test('one source in a list is as one without', { skip: skipWithout('ffmpeg') }, async (t) => {
  const flac = join(folder, 'tone.flac');
  execFileSync('ffmpeg', ['-loglevel', 'error', '-i', tone, flac]);
  const found = await doctor(['--audio.sources', JSON.stringify([{ name: 'yard', file: flac }])]);
  t.equal(found.code, 0);
  t.match(found.of('audio'), { verdict: 'ok', detail: /^tone\.flac/ });
});
