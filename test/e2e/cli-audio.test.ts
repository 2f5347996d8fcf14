import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { cleanEnvironment, CLI, startCli, type CliResult } from '../support/cli.js';
import { startRtspCamera } from '../support/rtsp-camera.js';
import { descendants } from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';
import { makeWav, sine } from '../support/wav.js';

/** Recordings, pipes and cameras, as somebody at a terminal tries them. */

const folder = mkdtempSync(join(tmpdir(), 'soundpost-cli-audio-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const crow = projectPath('test', 'fixtures', 'audio', 'crow.wav');
const env = { SOUNDPOST_DATA_DIR: join(folder, 'data'), SOUNDPOST_BROKER_PORT: '0' };

const cli = (args: string[], more: Record<string, string> = {}) =>
  startCli(args, { env: { ...env, ...more } }).ended;

/** A command with something on its standard input. */
async function fed(args: string[], path: string, more: Record<string, string> = {}): Promise<CliResult> {
  const child = spawn(process.execPath, [CLI, ...args], { env: cleanEnvironment({ ...env, ...more }) });
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (part: string) => (text[name] += part));
  }
  createReadStream(path).pipe(child.stdin.on('error', () => undefined));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...text };
}

interface Tagged {
  file: string;
  duration_s: number;
  windows: { tags: { label: string; score: number }[] }[];
}

const json = (text: string) => JSON.parse(text) as Tagged;

t.test('tag reads its standard input and named pipes', async (t) => {
  const expected = json((await cli(['tag', '--json', crow])).stdout);
  // WAV needs no ffmpeg, in a pipe either.
  const piped = await fed(['tag', '--json', '-'], crow, { PATH: '/nowhere' });
  t.equal(piped.code, 0, piped.stderr);
  t.same(json(piped.stdout), { ...expected, file: '-' });

  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const reading = cli(['tag', '--json', fifo]);
  const writer = spawn('sh', ['-c', 'cat "$0" > "$1"', crow, fifo]);
  const named = await reading;
  t.equal(named.code, 0, named.stderr);
  t.same(json(named.stdout), { ...expected, file: fifo });
  if (writer.exitCode === null) await once(writer, 'exit');

  const nothing = await cli(['tag', '-']);
  t.equal(nothing.code, 1);
  t.match(nothing.stderr, /standard input is empty/);
});

t.test('tag reads what is no WAV from its standard input', { skip: skipWithout('ffmpeg') }, async (t) => {
  const flac = join(folder, 'crow.flac');
  execFileSync('ffmpeg', ['-loglevel', 'error', '-i', crow, flac]);
  const piped = await fed(['tag', '--json', '-'], flac);
  t.equal(piped.code, 0, piped.stderr);
  const expected = json((await cli(['tag', '--json', flac])).stdout);
  t.same(json(piped.stdout), { ...expected, file: '-' });
  const text = join(folder, 'text');
  writeFileSync(text, 'no sound, only words '.repeat(100));
  const words = await fed(['tag', '-'], text);
  t.equal(words.code, 1);
  t.match(words.stderr, /^soundpost: standard input cannot be read as audio/);
});

t.test('tag takes one channel, and says where channels cancel each other out', async (t) => {
  const tone = sine(32_000, 1000, 16_000);
  const inverted = join(folder, 'inverted.wav');
  const channels = [tone, tone.map((value) => -value)];
  writeFileSync(inverted, makeWav({ encoding: 's16', sampleRate: 16_000, channels }));
  const mono = join(folder, 'mono.wav');
  writeFileSync(mono, makeWav({ encoding: 's16', sampleRate: 16_000, channels: [tone] }));
  const mixed = await cli(['tag', inverted]);
  t.match(mixed.stderr, /cancel each other out: their mean is silence.*--channel 1/);
  const one = await cli(['tag', '--json', '--channel', '1', inverted]);
  t.equal(one.stderr, '');
  t.same(json(one.stdout).windows, json((await cli(['tag', '--json', mono])).stdout).windows);
  t.match((await cli(['tag', '--channel', '3', inverted])).stderr, /has 2 channels, so channel 3/);
  const wrong = await cli(['tag', '--channel', 'left', inverted]);
  t.equal(wrong.code, 2);
  t.match(wrong.stderr, /--channel left: must be a whole number/);
});

t.test('tag chooses an audio track', { skip: skipWithout('ffmpeg') }, async (t) => {
  const film = join(folder, 'two-tracks.mka');
  execFileSync('ffmpeg', [
    '-loglevel', 'error', '-f', 'lavfi', '-i', 'anullsrc=r=32000:cl=mono', '-i', crow,
    '-map', '0:a', '-map', '1:a', '-t', '2', '-c:a', 'flac', film,
  ]); // prettier-ignore
  const [first, second] = await Promise.all(
    ['1', '2'].map(async (track) => json((await cli(['tag', '--json', '--track', track, film])).stdout)),
  );
  t.not(first!.windows[0]!.tags[0]!.score, second!.windows[0]!.tags[0]!.score);
  const third = await cli(['tag', '--track', '3', film]);
  t.equal(third.code, 1);
  t.match(third.stderr, /has 2 audio tracks \(1: flac.*; 2: flac.*\), so track 3 cannot be taken/);
  const list = join(folder, 'list.m3u');
  writeFileSync(list, `#EXTM3U\n${crow}\n`);
  t.match((await cli(['tag', list])).stderr, /list\.m3u is a playlist, not a recording/);
});

t.test(
  'doctor listens to the camera and the recording it is to use',
  { skip: skipWithout('ffmpeg') },
  async (t) => {
    const camera = await startRtspCamera('heidi:s3cret');
    t.teardown(() => camera.close());
    const address = `rtsp://heidi:s3cret@127.0.0.1:${camera.port}/stream1`;
    const heard = await cli(['doctor', '--audio.url', address]);
    t.match(
      heard.stdout,
      /\nok +audio +rtsp:\/\/127\.0\.0\.1:\d+\/stream1, 8000 Hz, track 1 of 1 \(pcm_mulaw.*\): heard 4\.\d s of -0 dBFS \(peak -0\)\n/,
    );
    t.notMatch(heard.stdout + heard.stderr, /s3cret|heidi/);
    const locked = await cli(['doctor', '--audio.url', address.replace('s3cret', 'wrong')]);
    t.equal(locked.code, 1);
    t.match(locked.stdout, /\nfail +audio .*401 Unauthorized.*password in the address right/);
    const recording = await cli(['doctor', '--audio.file', crow]);
    t.match(recording.stdout, /\nok +audio +crow\.wav, \d+ Hz: heard \d+\.\d s of -\d+ dBFS/);
  },
);

t.test('the service shows the password of a camera to nobody', { skip: skipWithout('ffmpeg') }, async (t) => {
  const camera = await startRtspCamera('heidi:s3cret');
  t.teardown(() => camera.close());
  const secret = join(folder, 'camera-address');
  writeFileSync(secret, `rtsp://heidi:s3cret@127.0.0.1:${camera.port}/stream1\n`);
  const running = startCli(['run'], { env: { ...env, SOUNDPOST_AUDIO_URL_FILE: secret } });
  t.teardown(() => running.child.kill('SIGKILL'));
  await running.printed('stderr', /Listening to rtsp:\/\/127\.0\.0\.1/);
  // Its own processes: what other tests have in their command lines is their affair.
  const pid = running.child.pid!;
  const own = await readFile(`/proc/${pid}/cmdline`, 'utf8');
  const commands = [own, ...(await descendants(pid)).map(({ command }) => command)];
  t.ok(commands.some((command) => command.startsWith('ffmpeg ')));
  t.notOk(commands.some((command) => command.includes('s3cret')));
  running.child.kill('SIGTERM');
  const { stdout, stderr } = await running.ended;
  t.notMatch(stdout + stderr, /s3cret/);
});
