/** The commands that hear: recordings tagged, listening in the terminal, the service with a file. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { t } from 'tap';
import type { Encoding } from '../../src/audio/pcm.js';
import { readLabels } from '../../src/models/labels.js';
import { freePort } from '../support/broker.js';
import {
  CLI,
  cleanEnvironment,
  cli,
  cliHome,
  inferenceProcessOf,
  jsonLines,
  startCli,
} from '../support/cli.js';
import { untilGone } from '../support/service.js';
import { projectPath, sharedPath } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';
import { makeWav, sine } from '../support/wav.js';

// Most of the time of a command is the start of its processes: two at a time on the smallest machine.
t.jobs = 2;

const { folder, env, noShared, write, ownData } = cliHome(t);

interface Tagged {
  file: string;
  model: string;
  duration_s: number;
  windows: { start_s: number; end_s: number; tags: { label: string; mid: string | null; score: number }[] }[];
}

const LENGTHS = ['full', '1s', '2s', '3s', '5s'] as const;

void t.test('tag agrees with the original network on real recordings', { skip: noShared }, async (t) => {
  const set = await readLabels(projectPath('models', 'labels', 'audioset-527.json'));
  const labels = set.map(({ name }) => name);
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
    const music = sharedPath('soundpost-home', 'audio', 'music.wav');
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

/** Labels beside those of the demo's own times that may be heard with them. */
const RELATIVES: Readonly<Record<string, readonly string[]>> = {
  Bird: ['Chirp, tweet', 'Animal'],
  'Crowing, cock-a-doodle-doo': ['Chicken, rooster', 'Cluck', 'Animal'],
  Doorbell: ['Ding-dong', 'Bell'],
  Dog: ['Domestic animals, pets', 'Animal'],
  Cat: ['Domestic animals, pets', 'Animal'],
  'Baby cry, infant cry': ['Crying, sobbing'],
  'Smoke detector, smoke alarm': ['Alarm'],
};

void t.test(
  'tag names the sounds of the demo where they are, and nothing else, without ffmpeg',
  async (t) => {
    const read = (...parts: string[]): unknown =>
      JSON.parse(readFileSync(projectPath('models', ...parts), 'utf8'));
    const demo = read('demo', 'day-at-home.json') as {
      file: string;
      seconds: number;
      events: { label: string; onset: number; offset: number; supported: boolean }[];
    };
    const thresholds = new Map(
      (read('soundpost-home', 'labels.json') as { name: string; threshold: number }[]).map((label) => [
        label.name,
        label.threshold,
      ]),
    );
    const { code, stdout, stderr } = await cli(
      ['tag', '--json', '--hop', '1', '--top', '94', projectPath('models', 'demo', demo.file)],
      { env: { ...env, PATH: folder } },
    );
    t.equal(code, 0, stderr);
    const [{ model, duration_s, windows }] = jsonLines<Tagged>(stdout) as [Tagged];
    t.equal(model, 'soundpost-home');
    t.equal(duration_s, demo.seconds);
    const heard = windows.map(({ start_s, end_s, tags }) => ({
      start_s,
      end_s,
      labels: tags.filter(({ label, score }) => score >= thresholds.get(label)!).map(({ label }) => label),
    }));
    for (const { label, onset, offset, supported } of demo.events) {
      t.equal(thresholds.has(label), supported, `${label}: known or not, as the file says`);
      if (!supported) continue;
      t.ok(
        heard.some(
          ({ start_s, end_s, labels }) => labels.includes(label) && start_s < offset && end_s > onset,
        ),
        `${label} from ${onset} s to ${offset} s`,
      );
    }
    const wrong = heard.flatMap(({ start_s, end_s, labels }) => {
      const there = demo.events.filter(({ onset, offset }) => start_s < offset && end_s > onset);
      const right = there.flatMap(({ label }) => [label, ...(RELATIVES[label] ?? [])]);
      return labels.filter((label) => !right.includes(label)).map((label) => `${start_s} s: ${label}`);
    });
    t.same(wrong, []);
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
      /lasts 0\.20 s; soundpost-home needs at least/,
    ],
  ] as const;
  const path = (name: string) => join(folder, `kinds ${name}.wav`);
  for (const [name, bytes] of [...good, ...bad]) writeFileSync(path(name), bytes);
  const { code, stdout, stderr } = await cli(
    ['tag', '--json', '--top', '94', ...[...bad, ...good].map(([name]) => path(name)), folder],
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
    startCli(
      ['run', '--audio.source', 'file', '--audio.file', file, '--broker.port', String(await freePort())],
      own,
    );
  const channels = Array.from({ length: 6 }, () => sine(96000 * 4, 440, 96000));
  const whole = makeWav({ encoding: 's24', sampleRate: 96000, channels });
  const odd = await run(write('odd.wav', whole.subarray(0, 44 + 96000 * 2 * 18)));
  t.teardown(() => odd.child.kill('SIGKILL'));
  await odd.printed('stderr', /odd\.wav is cut off: its header announces 4\.00 s, 2\.00 s are there/);
  await odd.printed('stderr', /Heard Dial tone/);
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
      await untilGone(child);
    }
  },
);
