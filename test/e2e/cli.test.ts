/** The command line as a person meets it: the compiled program, its output, its exit codes. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { t } from 'tap';
import type { Encoding } from '../../src/audio/pcm.js';
import { CLI, cleanEnvironment, cli, startCli } from '../support/cli.js';
import { noise, skipWithoutMicrophone, startFileMicrophone } from '../support/microphone.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';
import { makeWav, sine } from '../support/wav.js';

// Most of the time of a command is the start of its processes: two at a time on the smallest machine.
t.jobs = 2;

const folder = temporaryFolder(t);
const dataDir = join(folder, 'data');
const env = { SOUNDPOST_DATA_DIR: dataDir };
mkdirSync(join(dataDir, 'models'), { recursive: true });
const noShared = skipWithoutShared();
if (noShared === false)
  cpSync(sharedPath('models', 'mn04_as'), join(dataDir, 'models', 'mn04_as'), { recursive: true });

/** A data folder of its own for what changes the folder. */
function ownData(name: string): string {
  const own = join(folder, name);
  mkdirSync(join(own, 'models'), { recursive: true });
  return own;
}

function write(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

interface Tagged {
  file: string;
  model: string;
  duration_s: number;
  windows: { start_s: number; end_s: number; tags: { label: string; mid: string | null; score: number }[] }[];
}

const jsonLines = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);

const LENGTHS = ['full', '1s', '2s', '3s', '5s'] as const;

void t.test('tag agrees with the original network on real recordings', { skip: noShared }, async (t) => {
  const labels = (
    JSON.parse(readFileSync(projectPath('models/labels/audioset-527.json'), 'utf8')) as {
      name: string;
    }[]
  ).map(({ name }) => name);
  const clips = ['speech', 'music', 'typing'].flatMap((name) => {
    const whole = readFileSync(sharedPath('golden', 'audio', `${name}.wav`));
    return LENGTHS.map((length) => {
      const samples = new Int16Array(
        whole.buffer.slice(whole.byteOffset + 44, whole.byteOffset + whole.length),
      );
      const seconds = length === 'full' ? samples.length / 32000 : parseInt(length);
      const channels = [Array.from(samples.subarray(0, seconds * 32000), (sample) => sample / 32768)];
      const path =
        length === 'full'
          ? sharedPath('golden', 'audio', `${name}.wav`)
          : write(`${name}_${length}.wav`, makeWav({ encoding: 's16', sampleRate: 32000, channels }));
      return { path, seconds, golden: sharedPath('golden', 'real', `${name}_${length}.f32`) };
    });
  });
  const { code, stdout, stderr } = await cli(
    ['tag', '--model', 'mn04_as', '--json', '--top', '527', ...clips.map(({ path }) => path)],
    { env },
  );
  t.equal(code, 0);
  t.equal(stderr, '');
  const results = jsonLines<Tagged>(stdout);
  t.equal(results.length, clips.length);
  clips.forEach(({ path, seconds, golden }, index) => {
    const result = results[index]!;
    const bytes = readFileSync(golden);
    const expected = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    t.strictSame(Object.keys(result), ['file', 'model', 'duration_s', 'windows']);
    t.match(result, { file: path, model: 'mn04_as', duration_s: seconds });
    t.equal(result.windows.length, 1);
    const [window] = result.windows;
    t.strictSame(Object.keys(window!), ['start_s', 'end_s', 'tags']);
    t.match(window, { start_s: 0, end_s: seconds });
    t.equal(new Set(window!.tags.map(({ label }) => label)).size, 527);
    for (const tag of window!.tags) {
      const target = expected[labels.indexOf(tag.label)]!;
      if (!(Math.abs(tag.score - target) < 0.001))
        t.fail(`${path}: ${tag.label} ${tag.score}, not ${target}`);
    }
    t.strictSame(Object.keys(window!.tags[0]!), ['label', 'mid', 'score']);
    const order = [...expected.keys()].sort((a, b) => expected[b]! - expected[a]!).slice(0, 5);
    t.strictSame(
      window!.tags.slice(0, 5).map(({ label }) => label),
      order.map((at) => labels[at]),
      path,
    );
    // As the network gave it: a score that is cut to some digits is not a float32 any more.
    t.equal(Math.fround(window!.tags[0]!.score), window!.tags[0]!.score);
    t.ok(window!.tags.every(({ score }, at, all) => at === 0 || score <= all[at - 1]!.score));
  });
});

void t.test('tag converts recordings of 16 and 8 kHz', { skip: noShared }, async (t) => {
  const expectations = [
    ['music_3s_16k.wav', 'Music'],
    ['music_3s_8k.wav', 'Music'],
    ['speech_3s_16k.wav', 'Speech'],
    ['speech_3s_8k.wav', 'Speech'],
    ['typing_3s_16k.wav', 'Typing'],
    ['typing_3s_8k.wav', 'Typing'],
  ] as const;
  const { code, stdout } = await cli(
    [
      'tag',
      '--model',
      'mn04_as',
      '--json',
      '--top',
      '2',
      ...expectations.map(([f]) => sharedPath('golden', 'audio', f)),
    ],
    { env },
  );
  t.equal(code, 0);
  const results = jsonLines<Tagged>(stdout);
  expectations.forEach(([file, label], index) => {
    const { duration_s, windows } = results[index]!;
    t.equal(duration_s, 3, file);
    t.ok(
      windows[0]!.tags.some((tag) => tag.label === label),
      `${label} in ${file}`,
    );
  });
});

void t.test(
  'tag as a table: the others are printed where one file is broken',
  { skip: noShared },
  async (t) => {
    const speech = sharedPath('golden', 'audio', 'speech.wav');
    const broken = write('broken.wav', 'RIFF\0\0\0\0WAVEnothing of it is sound');
    const missing = join(folder, 'missing.wav');
    const music = sharedPath('golden', 'audio', 'music.wav');
    const { code, stdout, stderr } = await cli(['tag', '--hop', '2.5', speech, broken, missing, music], {
      env,
    });
    t.equal(code, 1);
    t.match(stdout, /^.*speech\.wav\nFROM +TO +TAGS\n0:00\.0 +0:05\.0 +Speech \d\.\d\d/);
    t.match(
      stdout,
      /\n0:02\.5 {2}0:07\.5 .*\n0:05\.0 {2}0:10\.0 /s,
      'a row of windows, the last one ends with the recording',
    );
    t.match(stdout, /music\.wav\nFROM +TO +TAGS\n0:00\.0 +0:05\.0 +Music/);
    t.notMatch(stdout, /broken|missing/);
    t.ok(stdout.split('\n').every((line) => line.length <= Math.max(100, speech.length)));
    t.match(stderr, `soundpost: ${broken} is a damaged WAV file`);
    t.match(stderr, `soundpost: ${missing} does not exist`);
  },
);

void t.test('tag reads wav files of every kind, or says why not', async (t) => {
  const tone = (sampleRate: number, seconds = 2) => sine(sampleRate * seconds, 440, sampleRate, 0.25);
  // What 8 bits can hold exactly: the encoding must then make no difference at all.
  const coarse = tone(32000).map((sample) => Math.round(sample * 128) / 128);
  const wav = (encoding: Encoding, sampleRate: number, ...channels: number[][]) =>
    makeWav({ encoding, sampleRate, channels });
  const good: [name: string, bytes: Buffer, reference: string, tolerance: number][] = [
    ['fine', wav('s16', 32000, tone(32000)), 'fine', 0],
    ['coarse', wav('s16', 32000, coarse), 'coarse', 0],
    ['8 bit', wav('u8', 32000, coarse), 'coarse', 0],
    ['24 bit', wav('s24', 32000, coarse), 'coarse', 0],
    ['float', wav('f32', 32000, coarse), 'coarse', 0],
    ['truncated', wav('s16', 32000, [...coarse, ...coarse]).subarray(0, 44 + 128000), 'coarse', 0],
    ['96 kHz', wav('s16', 96000, tone(96000)), 'fine', 0.02],
    ['6 channels', wav('s16', 48000, ...Array.from({ length: 6 }, () => tone(48000))), 'fine', 0.02],
  ];
  const bad = [
    ['empty', Buffer.alloc(0), /is empty \(0 bytes\)/],
    [
      'no samples',
      makeWav({ encoding: 's16', sampleRate: 32000, channels: [[]] }),
      /has a WAV header but no samples/,
    ],
    [
      'not a wav',
      Buffer.from('This is a letter to my grandmother.'),
      /(not a WAV file|no sound|cannot|not audio)/i,
    ],
    ['header only', Buffer.from('RIFF'), /(not a WAV file|no sound|cannot|not audio)/i],
    [
      'too short',
      makeWav({ encoding: 's16', sampleRate: 32000, channels: [sine(6400, 440, 32000)] }),
      /lasts 0\.20 s; soundpost-mini needs at least/,
    ],
  ] as const;
  const path = (name: string) => join(folder, `kinds ${name}.wav`);
  for (const [name, bytes] of [...good, ...bad]) writeFileSync(path(name), bytes);
  const { code, stdout, stderr } = await cli(
    ['tag', '--json', '--top', '46', ...[...bad, ...good].map(([name]) => path(name)), folder],
    { env },
  );
  t.equal(code, 1);
  const results = jsonLines<Tagged>(stdout);
  t.strictSame(
    results.map(({ file }) => file),
    good.map(([name]) => path(name)),
  );
  const scoresOf = (name: string) => {
    const { windows } = results[good.findIndex(([other]) => other === name)]!;
    return new Map(windows[0]!.tags.map(({ label, score }) => [label, score]));
  };
  good.forEach(([name, , reference, tolerance], index) => {
    t.equal(results[index]!.duration_s, 2, name);
    t.equal(results[index]!.windows.length, 1, name);
    const expected = scoresOf(reference);
    const worst = Math.max(
      ...[...scoresOf(name)].map(([label, score]) => Math.abs(score - expected.get(label)!)),
    );
    t.ok(worst <= tolerance, `${name}: differs by ${worst}`);
  });
  for (const [name, , pattern] of bad) {
    const line = stderr.split('\n').find((text) => text.includes(path(name)));
    t.match(line, pattern, name);
  }
  t.match(stderr, `${folder} is a folder`);
  t.match(stderr, /truncated\.wav is cut off: its header announces 4\.00 s, 2\.00 s are there/);
  t.notMatch(stderr, / {4}at /, 'no stack');
});

void t.test('run with a recording that is odd or broken', async (t) => {
  const own = { env: { SOUNDPOST_DATA_DIR: ownData('run-data') } };
  const run = async (file: string) =>
    startCli(['run', '--audio.source', 'file', '--audio.file', file, '--broker.port', await freePort()], own);
  const channels = Array.from({ length: 6 }, () => sine(96000 * 4, 440, 96000));
  const whole = makeWav({ encoding: 's24', sampleRate: 96000, channels });
  const odd = await run(write('odd.wav', whole.subarray(0, 44 + 96000 * 2 * 18)));
  t.teardown(() => odd.child.kill('SIGKILL'));
  await odd.printed('stderr', /odd\.wav is cut off: its header announces 4\.00 s, 2\.00 s are there/);
  await odd.printed('stderr', /Heard Sine wave/);
  odd.child.kill('SIGINT');
  t.equal((await odd.ended).code, 0);

  const text = await (await run(write('letter.wav', 'This is a letter to my grandmother.'))).ended;
  t.equal(text.code, 1);
  t.match(text.stderr, /letter\.wav (is not a WAV file|cannot be read as audio)/);
  const empty = await (await run(write('nothing.wav', ''))).ended;
  t.equal(empty.code, 1);
  t.match(empty.stderr, /nothing\.wav is empty \(0 bytes\)/);
  t.notMatch(text.stderr + empty.stderr, / {4}at /);
});

void t.test('tag reads flac and mp3 through ffmpeg', { skip: skipWithout('ffmpeg') }, async (t) => {
  const source = write(
    'tone.wav',
    makeWav({ encoding: 's16', sampleRate: 32000, channels: [sine(96000, 440, 32000)] }),
  );
  const files = ['tone.flac', 'tone.mp3'].map((name) => join(folder, name));
  for (const file of files) spawnSync('ffmpeg', ['-loglevel', 'error', '-y', '-i', source, file]);
  const { code, stdout, stderr } = await cli(['tag', '--json', '--top', '3', source, ...files], { env });
  t.equal(code, 0, stderr);
  const [wav, flac, mp3] = jsonLines<Tagged>(stdout);
  t.strictSame(flac!.windows, wav!.windows, 'flac loses nothing');
  t.equal(Math.round(mp3!.duration_s), 3);

  const without = folder + '/bin';
  mkdirSync(without);
  symlinkSync(process.execPath, join(without, 'node'));
  const alone = await cli(['tag', '--json', files[0]!, source], { env: { ...env, PATH: without } });
  t.equal(alone.code, 1);
  t.match(alone.stderr, /tone\.flac.*ffmpeg.*install/);
  t.equal(jsonLines(alone.stdout).length, 1, 'WAV needs no ffmpeg');
});

void t.test('devices', async (t) => {
  await t.test('with a microphone and with none', { skip: skipWithoutMicrophone() }, async (t) => {
    const sound = { samples: noise(48000), sampleRate: 48000, channels: 1 };
    const microphone = await startFileMicrophone(sound, ['default', 'kitchen']);
    t.teardown(() => microphone.stop());
    const table = await cli(['devices'], { env: { ...env, ...microphone.env } });
    t.equal(table.code, 0, table.stderr);
    t.match(table.stdout, /^INDEX +NAME +CHANNELS +RATE +HOST API/);
    t.match(table.stdout, /\n\d+ +kitchen +\d+ +\d+ Hz +ALSA/);
    t.match(table.stdout, /default\n/);
    t.notMatch(table.stderr, /ALSA/, "the sound system's chatter is held back");
    const { devices } = JSON.parse(
      (await cli(['devices', '--json'], { env: { ...env, ...microphone.env } })).stdout,
    ) as {
      devices: { name: string }[];
    };
    t.ok(devices.some(({ name }) => name === 'kitchen'));

    const doctor = await cli(['doctor', '--audio.device', 'kitchen', '--broker.port', await freePort()], {
      env: { ...env, ...microphone.env },
    });
    t.match(doctor.stdout, /\nok +audio +kitchen/);

    await microphone.setNames([]);
    const none = await cli(['devices'], { env: { ...env, ...microphone.env } });
    t.equal(none.code, 0);
    t.match(none.stdout, /no audio input.*Plug in a microphone/);
    t.strictSame(
      JSON.parse((await cli(['devices', '--json'], { env: { ...env, ...microphone.env } })).stdout),
      {
        devices: [],
      },
    );
  });
});

void t.test('models', { skip: noShared }, async (t) => {
  const own = ownData('models-data');
  for (const id of ['mn04_as', 'spoilt']) {
    cpSync(sharedPath('models', 'mn04_as'), join(own, 'models', id), { recursive: true });
  }
  const manifest = readFileSync(join(own, 'models/spoilt/model.json'), 'utf8');
  writeFileSync(join(own, 'models/spoilt/model.json'), manifest.replace('"mn04_as"', '"spoilt"'));
  const network = readFileSync(join(own, 'models/spoilt/model.onnx'));
  network[network.length >> 1]! ^= 1;
  writeFileSync(join(own, 'models/spoilt/model.onnx'), network);
  mkdirSync(join(own, 'models/hollow'));
  writeFileSync(join(own, 'models/hollow/model.json'), '{"id": 7');
  const options = { env: { SOUNDPOST_DATA_DIR: own } };

  const list = await cli(['models', 'list'], options);
  t.equal(list.code, 0);
  t.match(list.stdout, /^ID +TITLE +LABELS +WINDOW/);
  t.match(list.stdout, /\nsoundpost-mini .* bundled\n/);
  t.match(list.stdout, /\nmn04_as +EfficientAT mn04 \(AudioSet\) +527 +10 s +0\.98 M +110\.0 M +0\.432\n/);
  t.match(list.stdout, /\nBROKEN hollow: .*model\.json/);
  const table = list.stdout.slice(0, list.stdout.indexOf('\n\n'));
  t.ok(table.split('\n').every((line) => line.length <= 100));
  const json = JSON.parse((await cli(['models', 'list', '--json'], options)).stdout) as {
    models: { id: string }[];
    broken: { id: string; error: string }[];
  };
  t.strictSame(
    json.models.map(({ id }) => id),
    ['soundpost-mini', 'mn04_as', 'spoilt'],
  );
  t.strictSame(
    json.broken.map(({ id }) => id),
    ['hollow'],
  );

  const info = await cli(['models', 'info', 'mn04_as'], options);
  t.equal(info.code, 0);
  t.match(info.stdout, /^id +mn04_as\n/);
  t.match(info.stdout, /\nlicence +MIT\n/);
  const full = JSON.parse((await cli(['models', 'info', 'mn04_as', '--json'], options)).stdout) as {
    manifest: { id: string };
    labels: unknown[];
  };
  t.equal(full.manifest.id, 'mn04_as');
  t.equal(full.labels.length, 527);

  for (const id of ['soundpost-mini', 'mn04_as']) {
    const verified = await cli(['models', 'verify', id], options);
    t.equal(verified.code, 0, verified.stdout);
    t.match(verified.stdout, /^ok +manifest .*\nok +digest .*\nok +load .*\nok +scores .*\n$/);
  }
  const spoilt = await cli(['models', 'verify', 'spoilt', '--json'], options);
  t.equal(spoilt.code, 1);
  t.match(JSON.parse(spoilt.stdout), {
    id: 'spoilt',
    ok: false,
    steps: [{ ok: true }, { name: 'digest', ok: false, code: 'model_digest' }],
  });
  const unknown = await cli(['models', 'verify', 'mn40'], options);
  t.strictSame([unknown.code, unknown.stdout], [1, '']);
  t.match(unknown.stderr, /no model "mn40".*Installed: soundpost-mini, mn04_as/);
  const tag = await cli(['tag', '--model', 'spoilt', sharedPath('golden', 'audio', 'speech.wav')], options);
  t.strictSame([tag.code, tag.stdout], [1, '']);
  t.match(tag.stderr, /spoilt/);
});

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return String(port);
}

void t.test('doctor says what to do', async (t) => {
  const healthy = await cli(
    ['doctor', '--json', '--audio.source', 'demo', '--broker.port', await freePort()],
    { env },
  );
  t.equal(healthy.code, 0, healthy.stdout);
  const { ok, findings } = JSON.parse(healthy.stdout) as {
    ok: boolean;
    findings: { name: string; verdict: string; detail: string }[];
  };
  t.equal(ok, true);
  t.strictSame(
    findings.map(({ name }) => name),
    ['node', 'board', 'sensors', 'disk', 'model', 'audio', 'ffmpeg', 'broker'],
  );

  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  const blocked = write('not-a-folder', '');
  const { code, stdout } = await cli(
    ['doctor', '--broker.port', String(port), '--model.id', 'nope', '--audio.source', 'file'].concat([
      '--audio.file',
      join(folder, 'nowhere.wav'),
      '--data_dir',
      join(blocked, 'data'),
    ]),
    { env: { PATH: '/nowhere' } },
  );
  t.equal(code, 1);
  t.match(stdout, /\nfail +disk .*cannot be written .*data_dir/);
  t.match(stdout, /\nfail +model .*no model "nope".*Installed/);
  t.match(stdout, /\nfail +audio .*nowhere\.wav does not exist/);
  t.match(stdout, /\nwarn +ffmpeg .*apt install ffmpeg/);
  t.match(stdout, /\nfail +broker .*broker\.port/);

  const away = await cli(['doctor', '--mqtt.url', `mqtt://user:hush-hush@127.0.0.1:${await freePort()}`], {
    env,
  });
  t.equal(away.code, 1);
  t.match(away.stdout, /\nfail +broker +mqtt:\/\/127\.0\.0\.1:\d+: .*is the broker running\?/);
  t.notMatch(away.stdout, /hush-hush/);
});

void t.test('health', async (t) => {
  const own = ownData('health-data');
  const options = { env: { SOUNDPOST_DATA_DIR: own } };
  const none = await cli(['health'], options);
  t.equal(none.code, 1);
  t.match(none.stdout, /^FAIL +service +No service is running.*soundpost run.*\nunhealthy\n$/s);

  const service = startCli(['run', '--audio.source', 'demo', '--broker.port', await freePort()], options);
  t.teardown(() => service.child.kill('SIGKILL'));
  let running = await cli(['health', '--json'], options);
  while (running.code !== 0 && service.child.exitCode === null)
    running = await cli(['health', '--json'], options);
  t.match(JSON.parse(running.stdout), { healthy: true, checks: [{ name: 'service', ok: true }] });
  service.child.kill('SIGTERM');
  t.equal((await service.ended).code, 0);
  t.equal((await cli(['health'], options)).code, 1, 'after an orderly stop');

  mkdirSync(join(own, 'run'), { recursive: true });
  const heartbeat = (ts: string, pid: number) =>
    writeFileSync(join(own, 'run/health.json'), JSON.stringify({ ts, pid, healthy: true, checks: [] }));
  heartbeat(new Date(Date.now() - 3_600_000).toISOString(), process.pid);
  const stale = await cli(['health'], options);
  t.equal(stale.code, 1);
  t.match(stale.stdout, /heartbeat is 36\d\d s old.*hangs/);
  writeFileSync(join(own, 'run/health.json'), 'half a {');
  const torn = await cli(['health', '--json'], options);
  t.equal(torn.code, 1);
  t.match(JSON.parse(torn.stdout), { healthy: false, age: null });
});

void t.test('config shows each value, its origin, and no secret', async (t) => {
  const file = write('my.yaml', 'mqtt:\n  url: mqtt://broker.example\ninference:\n  rate_hz: 0.5\n');
  const secret = write('secret', 'correct-horse\n');
  const options = {
    env: {
      ...env,
      SOUNDPOST_INFERENCE_RATE_HZ: '2',
      SOUNDPOST_MQTT_PASSWORD_FILE: secret,
      SOUNDPOST_MQTT_USERNAME: 'me',
    },
  };
  const { code, stdout, stderr } = await cli(['config', '-c', file, '--model.threads', '2'], options);
  t.equal(code, 0, stderr);
  t.match(stdout, new RegExp(`\\nmqtt\\.url +mqtt://broker\\.example +.*my\\.yaml`));
  t.match(
    stdout,
    /\ninference\.rate_hz +2 +SOUNDPOST_INFERENCE_RATE_HZ\n/,
    'the environment wins over the file',
  );
  t.match(stdout, /\nmodel\.threads +2 +--model\.threads\n/);
  t.match(stdout, /\nmqtt\.base_topic +soundpost +default\n/);
  t.match(stdout, /\nmqtt\.password +\*+ +SOUNDPOST_MQTT_PASSWORD_FILE/);
  t.notMatch(stdout + stderr, /correct-horse/);
  const json = await cli(['config', '--json', '-c', file], options);
  t.notMatch(json.stdout, /correct-horse/);
  t.match(JSON.parse(json.stdout), {
    config: { mqtt: { url: 'mqtt://broker.example' }, inference: { rate_hz: 2 } },
  });
});

void t.test('listen', async (t) => {
  const demo = ['listen', '--seconds', '3', '--audio.source', 'demo'];
  const plain = await cli(demo, { env });
  t.equal(plain.code, 0, plain.stderr);
  t.match(plain.stdout, /^\d{4}-\d\d-\d\dT[\d:.]+Z +-\d+ dBFS +\S.* \d\.\d\d( · .* \d\.\d\d){4}\n/);
  t.match(plain.stderr, /hearing .*day-at-home/);

  const json = await cli(
    ['listen', '--json', '--top', '2', '--audio.source', 'file', '--audio.speed', 'max'].concat([
      '--audio.file',
      write(
        'listen.wav',
        makeWav({ encoding: 's16', sampleRate: 16000, channels: [sine(16000 * 8, 440, 16000, 0.5)] }),
      ),
    ]),
    { env },
  );
  t.equal(json.code, 0, json.stderr);
  const lines = jsonLines<{ ts: string; level_dbfs: number; tags: unknown[] }>(json.stdout);
  t.ok(lines.length >= 6, 'a line for every window, to the end of the recording');
  for (const { level_dbfs, tags } of lines) {
    t.ok(Math.abs(level_dbfs + 9.03) < 0.1, `a sine at half scale, not ${level_dbfs}`);
    t.equal(tags.length, 2);
  }

  const missing = await cli(['listen', '--audio.source', 'file', '--audio.file', join(folder, 'gone.wav')], {
    env,
  });
  t.equal(missing.code, 1);
  t.match(missing.stderr, /gone\.wav does not exist/);

  await t.test('draws on a terminal', { skip: skipWithout('script') }, (t) => {
    const command = `stty cols 60 rows 20; exec '${process.execPath}' '${CLI}' ${demo.join(' ')}`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: cleanEnvironment({ ...env, SHELL: '/bin/sh', TERM: 'xterm' }),
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let picture = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (picture += part));
    return once(child, 'close').then(([code]) => {
      t.equal(code, 0);
      t.match(picture, /[█░]{30} +-\d+ dBFS\r\n[█░]{30} \d\.\d\d \S/);
      // Every line that is drawn over has to be one line: none may be wrapped.
      const drawn = picture
        .replaceAll(/\p{Cc}\[\d*[AJ]/gu, '')
        .split('\r\n')
        .filter((line) => /[█░]/.test(line));
      t.ok(drawn.length > 10);
      t.ok(drawn.every((line) => line.length < 60));
      t.match(picture, '\x1b[6A\x1b[J', 'the level and five tags are drawn over');
    });
  });
});

void t.test('wrong usage ends with 2 and says what is right', async (t) => {
  const wrongFile = write('wrong.yaml', 'inference:\n  rate_hz: fast\nmqqt:\n  url: mqtt://x\n');
  const recording = sharedPath('golden', 'audio', 'speech.wav');
  const cases: [args: string[], env: Record<string, string>, message: RegExp][] = [
    [[], {}, /Commands:/],
    [['nope'], {}, /unknown command 'nope'/],
    [['tagg'], {}, /unknown command 'tagg'\n\(Did you mean tag\?\)/],
    [['models'], {}, /verify/],
    [['models', 'nope'], {}, /unknown command 'nope'/],
    [['models', 'info'], {}, /missing required argument 'id'/],
    [['tag'], {}, /missing required argument 'files'/],
    [['devices', 'extra'], {}, /too many arguments/],
    [['tag', '--frobnicate', 'x', recording], {}, /unknown option '--frobnicate'.*soundpost config/s],
    [['config', '--mqtt.urll', 'x'], {}, /unknown option '--mqtt\.urll'\n\(Did you mean --mqtt\.url\?\)/],
    [['tag', '--top', '0', recording], {}, /--top 0: must be a whole number above 0/],
    [['tag', '--top', '2.5', recording], {}, /--top 2\.5: must be a whole number/],
    [['tag', '--hop', '-1', recording], {}, /--hop -1: must be a number above 0/],
    [['tag', '--hop', 'x', '--model', 'nope', recording], {}, /--hop x: must be/],
    [['listen', '--seconds', 'soon'], {}, /--seconds soon: must be a number above 0/],
    [['config'], { SOUNDPOST_MQTT_URLL: 'x' }, /SOUNDPOST_MQTT_URLL.*did you mean SOUNDPOST_MQTT_URL\?/],
    [
      ['run'],
      { SOUNDPOST_INFERENCE_RATE_HZ: '99' },
      /inference\.rate_hz = "99" \(SOUNDPOST_INFERENCE_RATE_HZ\): .*0\.01 to 20/,
    ],
    [['health', '--audio.source', 'radio'], {}, /audio\.source = "radio" \(--audio\.source\): .*microphone/],
    [
      ['config', '-c', wrongFile],
      {},
      /2 problems:.*mqqt.*wrong\.yaml:3:1.*no such key.*inference\.rate_hz = "fast".*wrong\.yaml:2:3.*0\.01 to 20/s,
    ],
    [['doctor', '--config', join(folder, 'none.yaml')], {}, /none\.yaml does not exist/],
    [['run', '--config', folder], {}, /is a folder/],
    [['listen', '--audio.source', 'file'], {}, /audio\.source.*needs audio\.file/],
  ];
  // Three at a time: each is little more than the start of Node.
  const waiting = [...cases];
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [args, added, message] = next;
      const { code, stdout, stderr } = await cli(args, { env: { ...env, ...added } });
      const name = ['soundpost', ...args].join(' ');
      t.equal(code, 2, name);
      t.equal(stdout, '', name);
      t.match(stderr, message, name);
      t.notMatch(stderr, / {4}at /, `no stack: ${name}`);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
});

void t.test('help and version', async (t) => {
  const { version } = JSON.parse(readFileSync(projectPath('package.json'), 'utf8')) as { version: string };
  const shown = await cli(['--version'], { env });
  t.strictSame([shown.code, shown.stdout], [0, `${version}\n`]);
  const help = await cli(['--help'], { env });
  t.equal(help.code, 0);
  for (const command of ['run', 'tag', 'listen', 'devices', 'models', 'config', 'doctor', 'health']) {
    t.match(help.stdout, new RegExp(`\\n  ${command} `));
    const own = command === 'models' ? ['models', '--help'] : [command, '--help'];
    const text = await cli(own, { env });
    t.equal(text.code, 0, command);
    t.match(text.stdout, new RegExp(`^Usage: soundpost ${command}`));
    t.ok(
      text.stdout.split('\n').every((line) => line.length <= 104),
      command,
    );
  }
});

void t.test('a reader that has seen enough is no fault', async (t) => {
  const { stdout } = spawnSync(
    'sh',
    [
      '-c',
      'for c in "config" "models info soundpost-mini --json"; do { "$0" "$1" $c; echo "code $?" >&2; } | true; done 2>&1',
      process.execPath,
      CLI,
    ],
    {
      env: cleanEnvironment(env),
      encoding: 'utf8',
    },
  );
  t.equal(stdout, 'code 0\ncode 0\n');

  const listening = startCli(['listen', '--audio.source', 'demo'], { env });
  const child = await inferenceProcessOf(listening.child.pid!);
  listening.child.stdout.destroy();
  const { code, stderr } = await listening.ended;
  t.equal(code, 0, stderr);
  await gone(child);
});

void t.test(
  'an interrupt leaves no process behind',
  { skip: !existsSync('/proc/self/task') && 'no /proc' },
  async (t) => {
    const long = write(
      'long.wav',
      makeWav({ encoding: 'u8', sampleRate: 32000, channels: [new Array<number>(32000 * 120).fill(0)] }),
    );
    for (const [args, expected] of [
      [['tag', '--hop', '0.01', long], 130],
      [['listen', '--audio.source', 'demo'], 0],
    ] as const) {
      const command = startCli([...args], { env });
      const child = await inferenceProcessOf(command.child.pid!);
      if (args[0] === 'listen') await command.printed('stderr', /hearing/);
      command.child.kill('SIGINT');
      const { code, stderr } = await command.ended;
      t.equal(code, expected, args[0]);
      t.notMatch(stderr, / {4}at /);
      await gone(child);
    }
  },
);

/** The id of the inference process of a command, once it has one. */
async function inferenceProcessOf(parent: number): Promise<number> {
  for (;;) {
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').split(' ');
    const found = children.find(
      (pid) => pid !== '' && commandLine(Number(pid)).includes('soundpost inference'),
    );
    if (found !== undefined) return Number(found);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Resolves when the process is gone; the test's own time limit is the limit. */
async function gone(pid: number): Promise<void> {
  while (commandLine(pid) !== '') await new Promise((resolve) => setTimeout(resolve, 10));
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

void t.test('leaves nothing in the folder it is called from', async (t) => {
  const cwd = join(folder, 'elsewhere');
  mkdirSync(cwd);
  write(
    'elsewhere/short.wav',
    makeWav({ encoding: 's16', sampleRate: 8000, channels: [sine(16000, 440, 8000)] }),
  );
  const { code, stderr } = await cli(['tag', 'short.wav'], { cwd });
  t.equal(code, 0, stderr);
  t.equal((await cli(['devices'], { cwd, env: { PATH: `/nowhere${delimiter}` } })).stdout === '', false);
  t.strictSame(readdirSync(cwd), ['short.wav']);
});
