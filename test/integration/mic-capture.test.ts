import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { listInputDevices } from '../../src/audio/devices.js';
import { createMicrophone, type Microphone, type MicrophoneOptions } from '../../src/audio/microphone.js';
import { silentLogger, type Logger } from '../../src/common/log.js';
import {
  noise,
  PACED_TOOLS,
  skipWithoutMicrophone,
  startFileMicrophone,
  startPacedMicrophone,
  type FakeMicrophone,
} from '../support/microphone.js';
import { createRecorder, type Recorder } from '../support/recorder.js';

const RATE = 48_000;
/** How much of what arrives in real time is looked for in what was played. */
const STRETCH = RATE;
const QUICK = { firstRetryMs: 50, maxRetryMs: 100 };

/** A started microphone with a recorder, both gone at the end of the test. */
async function listen(
  t: Test,
  fake: Pick<FakeMicrophone, 'env'>,
  options: Partial<MicrophoneOptions> = {},
  keep?: number,
): Promise<{ microphone: Microphone; recorder: Recorder; workFolder: string }> {
  const workFolder = await mkdtemp(join(tmpdir(), 'soundpost-capture-'));
  const microphone = createMicrophone({
    log: silentLogger,
    workFolder,
    env: fake.env,
    timing: QUICK,
    ...options,
  });
  const recorder = createRecorder(keep);
  t.teardown(async () => {
    await microphone.stop();
    await rm(workFolder, { recursive: true, force: true });
  });
  await microphone.start(recorder);
  return { microphone, recorder, workFolder };
}

/** The capture processes that are children of `parent`. */
async function capturePids(parent = process.pid): Promise<number[]> {
  const pids: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
    const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || Number(ppid) !== parent) continue;
    const line = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (line.includes('audio/capture/process.js')) pids.push(Number(entry));
  }
  return pids;
}

const floats = (samples: Int16Array) => Array.from(samples, (sample) => sample / 32768);

/** The first place where `got` is not `expected`, in words; a thousand lines of differences help nobody. */
function mismatch(got: readonly number[], expected: readonly (number | undefined)[]): string | undefined {
  const at = expected.findIndex((value, i) => got[i] !== value);
  return at < 0
    ? undefined
    : `at ${at}: ${got.slice(at, at + 4).join(' ')} instead of ${expected.slice(at, at + 4).join(' ')}`;
}

/** Where `part` lies in `whole` repeated, or -1. */
function findIn(whole: number[], part: number[]): number {
  for (let at = 0; at < whole.length; at += 1) {
    let i = 0;
    while (i < part.length && part[i] === whole[(at + i) % whole.length]) i += 1;
    if (i === part.length) return at;
  }
  return -1;
}

t.test('an input that is read as fast as it goes', { skip: skipWithoutMicrophone() }, async (t) => {
  // The file plugin plays its first half second as it is.
  const frames = RATE / 4;
  const mono = { samples: noise(frames), sampleRate: RATE, channels: 1 };

  await t.test('what arrives is what was played, sample for sample from the first', async (t) => {
    const fake = await startFileMicrophone(mono, ['default', 'desk']);
    t.teardown(() => fake.stop());
    const { devices } = await listInputDevices({ env: fake.env });
    t.same(devices.map(({ name, isDefault }) => [name, isDefault]).sort(), [
      ['default', true],
      ['desk', false],
    ]);
    const { recorder, microphone, workFolder } = await listen(t, fake, { sampleRate: RATE }, frames);
    await recorder.until(() => recorder.samples.length >= frames);
    t.same(recorder.formats, [{ sampleRate: RATE, name: 'default' }]);
    t.equal(mismatch(recorder.samples, floats(mono.samples)), undefined);
    t.same(recorder.statuses, [{ state: 'online' }]);
    t.ok(Math.abs(recorder.endTimesMs[0]! - Date.now()) < 3_600_000);
    t.equal(microphone.current()?.name, 'default');
    const [pid] = await capturePids();
    t.equal(await readlink(`/proc/${pid}/cwd`), workFolder, 'it works where it may leave a crash.log');
    await microphone.stop();
    t.same(await capturePids(), [], 'nothing is left');
    t.equal(microphone.current(), undefined);
  });

  await t.test('stereo is mixed, or one channel is taken', async (t) => {
    const samples = noise(frames, 2, 7);
    const fake = await startFileMicrophone({ samples, sampleRate: RATE, channels: 2 });
    t.teardown(() => fake.stop());
    const played = floats(samples);
    const mixed = Array.from({ length: frames }, (_, i) => (played[2 * i]! + played[2 * i + 1]!) / 2);
    const right = Array.from({ length: frames }, (_, i) => played[2 * i + 1]);
    const mix = await listen(t, fake, { sampleRate: RATE }, frames);
    await mix.recorder.until(() => mix.recorder.samples.length >= frames);
    t.equal(mismatch(mix.recorder.samples, mixed), undefined);
    await mix.microphone.stop();
    const one = await listen(t, fake, { sampleRate: RATE, channel: 2 }, frames);
    await one.recorder.until(() => one.recorder.samples.length >= frames);
    t.equal(mismatch(one.recorder.samples, right), undefined);
  });

  await t.test('channels that cancel each other out are warned about, and one can be taken', async (t) => {
    const one = noise(frames, 1, 3);
    const samples = Int16Array.from({ length: 2 * frames }, (_, i) =>
      i % 2 === 0 ? one[i / 2]! : -one[(i - 1) / 2]!,
    );
    const fake = await startFileMicrophone({ samples, sampleRate: RATE, channels: 2 });
    t.teardown(() => fake.stop());
    let warn: (text: string) => void = () => undefined;
    const warned = new Promise<string>((resolve) => (warn = resolve));
    const log: Logger = {
      ...silentLogger,
      warn: ({ code }, message) => {
        if (code === 'channels_cancel') warn(message);
      },
    };
    const mix = await listen(t, fake, { sampleRate: RATE, log }, 1);
    t.match(await warned, /the channels of "default" cancel each other out.*audio\.channel: 1/);
    await mix.microphone.stop();
    const left = await listen(t, fake, { sampleRate: RATE, channel: 1 }, frames);
    await left.recorder.until(() => left.recorder.samples.length >= frames);
    t.equal(mismatch(left.recorder.samples, floats(one)), undefined);
  });

  for (const sampleRate of [8_000, 16_000, 44_100, 96_000]) {
    await t.test(`a device of ${sampleRate} Hz is taken at its own rate`, async (t) => {
      const samples = noise(sampleRate / 4, 1, sampleRate);
      const fake = await startFileMicrophone({ samples, sampleRate, channels: 1 });
      t.teardown(() => fake.stop());
      const { recorder } = await listen(t, fake, { sampleRate }, samples.length);
      await recorder.until(() => recorder.samples.length >= samples.length);
      t.equal(recorder.formats[0]?.sampleRate, sampleRate);
      t.equal(mismatch(recorder.samples, floats(samples)), undefined);
    });
  }

  await t.test('the default rate is the one the device names', async (t) => {
    const fake = await startFileMicrophone(mono);
    t.teardown(() => fake.stop());
    const { devices } = await listInputDevices({ env: fake.env });
    const { recorder } = await listen(t, fake, {}, 1);
    await recorder.until(() => recorder.formats.length > 0);
    t.equal(recorder.formats[0]?.sampleRate, devices[0]?.defaultSampleRate);
  });

  await t.test('a device that is not there is waited for, and not replaced by another', async (t) => {
    const fake = await startFileMicrophone(mono, ['default']);
    t.teardown(() => fake.stop());
    const warnings: string[] = [];
    const log: Logger = { ...silentLogger, warn: (_, message) => warnings.push(message) };
    const { recorder, microphone } = await listen(t, fake, { device: 'garden', log });
    t.match(await recorder.nextStatus('offline'), {
      code: 'device_not_found',
      reason: /"garden"; there is 0: default \(ALSA, default\)/,
    });
    t.equal(microphone.current(), undefined);
    const online = recorder.nextStatus('online');
    await fake.setNames(['default', 'garden']);
    await online;
    t.equal(recorder.formats[0]?.name, 'garden');
    t.equal(warnings.length, 1, 'the repeats are not logged');
    t.equal(microphone.counters().restarts, 0, 'nothing was lost');

    await microphone.setDevice('default');
    await recorder.until(() => recorder.formats.length === 2);
    t.equal(recorder.formats[1]?.name, 'default');
    t.equal((await capturePids()).length, 1);
  });

  await t.test('what the device refuses is said in words', async (t) => {
    const fake = await startFileMicrophone(mono, ['default']);
    t.teardown(() => fake.stop());
    const cases: [Partial<MicrophoneOptions>, string, RegExp][] = [
      [{ sampleRate: 12 }, 'device_refused', /"default".*12 Hz.*sample rate/i],
      [{ channel: 999 }, 'no_such_channel', /128 channels.*999/],
      [{ device: 3 }, 'device_not_found', /index "3"/],
    ];
    for (const [options, code, reason] of cases) {
      const { recorder, microphone } = await listen(t, fake, options);
      t.match(await recorder.nextStatus('offline'), { code, reason });
      await microphone.stop();
    }
  });

  await t.test('a machine without any input says so', async (t) => {
    const fake = await startFileMicrophone(mono, []);
    t.teardown(() => fake.stop());
    t.same(await listInputDevices({ env: fake.env }), { devices: [] });
    const { recorder } = await listen(t, fake);
    t.match(await recorder.nextStatus('offline'), { code: 'no_microphone' });
  });

  await t.test('it stops at any moment, and leaves no process', async (t) => {
    const fake = await startFileMicrophone(mono);
    t.teardown(() => fake.stop());
    const opening = await listen(t, fake);
    await opening.microphone.stop();
    t.same(await capturePids(), []);
    const waiting = await listen(t, fake, { device: 'none', timing: { firstRetryMs: 60_000 } });
    await waiting.recorder.nextStatus('offline');
    await waiting.microphone.stop();
    await waiting.microphone.stop();
    t.same(await capturePids(), []);
  });

  await t.test('a folder that cannot be made is a reason, not a crash', async (t) => {
    const fake = await startFileMicrophone(mono);
    t.teardown(() => fake.stop());
    const { recorder } = await listen(t, fake, { workFolder: '/dev/null/work' });
    t.match(await recorder.until(() => recorder.statuses.length > 0).then(() => recorder.statuses[0]), {
      code: 'capture_died',
      reason: /could not be started: .*\/dev\/null/,
    });
  });

  await t.test('it dies with its parent', async (t) => {
    const fake = await startFileMicrophone(mono);
    t.teardown(() => fake.stop());
    const folder = await mkdtemp(join(tmpdir(), 'soundpost-parent-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const program = `
      import { createMicrophone } from ${JSON.stringify(new URL('../../src/audio/microphone.js', import.meta.url).href)};
      const none = () => undefined;
      const log = { debug: none, info: none, warn: none, error: none };
      await createMicrophone({ log, workFolder: ${JSON.stringify(folder)} })
        .start({ begin: () => console.log('begun'), chunk: none, status: none, end: none });`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
      env: { ...process.env, ...fake.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(parent.stdout, 'data');
    const [pid] = await capturePids(parent.pid);
    t.ok(pid);
    parent.kill('SIGKILL');
    // Waits for the end of a process that is nobody's child here.
    execFileSync('tail', ['--pid', String(pid), '-f', '/dev/null'], { timeout: 20_000 });
    t.pass('it is gone');
  });
});

t.test(
  'naudiodon that is absent or not built is said in words',
  { skip: skipWithoutMicrophone() },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'soundpost-naudiodon-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const installed = dirname(createRequire(import.meta.url).resolve('naudiodon'));
    // A copy without its native part, next to the packages it needs.
    await mkdir(join(folder, 'node_modules', 'naudiodon'), { recursive: true });
    for (const file of ['index.js', 'package.json']) {
      await cp(join(installed, file), join(folder, 'node_modules', 'naudiodon', file));
    }
    for (const needed of ['bindings', 'segfault-handler', 'file-uri-to-path']) {
      await symlink(join(installed, '..', needed), join(folder, 'node_modules', needed));
    }
    const redirect = async (name: string, request: string) => {
      const file = join(folder, name);
      await writeFile(
        file,
        `const Module = require('node:module');
       const resolve = Module._resolveFilename;
       Module._resolveFilename = function (request, ...rest) {
         return resolve.call(this, request === 'naudiodon' ? ${JSON.stringify(request)} : request, ...rest);
       };`,
      );
      return { NODE_OPTIONS: `--require ${file}` };
    };
    const unbuilt = await redirect('unbuilt.cjs', join(folder, 'node_modules', 'naudiodon'));
    await writeFile(
      join(folder, 'absent.cjs'),
      `const Module = require('node:module');
     const resolve = Module._resolveFilename;
     Module._resolveFilename = function (request, parent, ...rest) {
       if (request === 'naudiodon') parent = { ...parent, paths: [${JSON.stringify(join(folder, 'empty'))}] };
       return resolve.call(this, request, parent, ...rest);
     };`,
    );
    const absent = { NODE_OPTIONS: `--require ${join(folder, 'absent.cjs')}` };
    await t.rejects(listInputDevices({ env: absent }), {
      code: 'naudiodon_missing',
      message: /naudiodon, which is not installed.*libportaudio2.*npm install/,
    });
    await t.rejects(listInputDevices({ env: unbuilt }), {
      code: 'naudiodon_missing',
      message: /native part of naudiodon is not built.*bindings.*npm rebuild naudiodon/,
    });
    const { recorder } = await listen(t, { env: absent });
    t.match(await recorder.nextStatus('offline'), { code: 'naudiodon_missing' });
  },
);

t.test('an input in real time', { skip: skipWithoutMicrophone(...PACED_TOOLS) }, async (t) => {
  const samples = noise(4 * RATE, 1, 3);
  const fake = await startPacedMicrophone({ samples, sampleRate: RATE, channels: 1 }, ['default', 'desk']);
  t.teardown(() => fake.stop());
  const { microphone, recorder } = await listen(t, fake, {
    sampleRate: RATE,
    device: 'desk',
    timing: { ...QUICK, stallMs: 1_000, silenceSeconds: 0.5 },
  });
  const sounds = () => recorder.until(() => recorder.samples.length >= STRETCH);

  await t.test('what arrives is a stretch of what was played', async (t) => {
    await sounds();
    t.ok(findIn(floats(samples), recorder.samples.slice(0, STRETCH)) >= 0);
    t.same(recorder.statuses, [{ state: 'online' }]);
  });

  await t.test('a capture process that is killed is replaced', async (t) => {
    const [pid] = await capturePids();
    const offline = recorder.nextStatus('offline', 'capture_died');
    process.kill(pid!, 'SIGKILL');
    t.match(await offline, { reason: /SIGKILL/ });
    await recorder.until(() => recorder.formats.length === 2);
    await sounds();
    t.same(recorder.statuses.at(-1), { state: 'online' });
    t.ok(findIn(floats(samples), recorder.samples.slice(0, STRETCH)) >= 0);
    t.equal(microphone.counters().restarts, 1);
    t.not((await capturePids())[0], pid);
  });

  await t.test('a source that stalls is noticed, and taken up again when it goes on', async (t) => {
    const offline = recorder.nextStatus('offline');
    fake.stallSource();
    t.match(await offline, { code: 'microphone_stalled', reason: /"desk" is open but delivered nothing/ });
    const online = recorder.nextStatus('online');
    fake.resumeSource();
    await online;
    await sounds();
  });

  await t.test('a source that dies is noticed, and taken up again when it is back', async (t) => {
    const offline = recorder.nextStatus('offline');
    await fake.killSource();
    await offline;
    const online = recorder.nextStatus('online');
    await fake.startSource();
    await online;
    await sounds();
    t.ok(findIn(floats(samples), recorder.samples.slice(0, STRETCH)) >= 0);
  });

  await t.test('digital silence is told from sound', async (t) => {
    const offline = recorder.nextStatus('offline', 'digital_silence');
    await fake.play(new Int16Array(RATE));
    t.match(await offline, { reason: /only zeros/ });
    const online = recorder.nextStatus('online');
    await fake.play(samples);
    await online;
  });

  await t.test('a service that is held up itself does not take the microphone for stalled', async (t) => {
    // Held up while a chunk is handed over: when it goes on, the watchdog is due before the next is read.
    const heard = recorder.samples.length;
    await recorder.until(() => recorder.samples.length > heard);
    const { restarts } = microphone.counters();
    const heldUpUntil = Date.now() + 1_500;
    while (Date.now() < heldUpUntil);
    const before = recorder.samples.length;
    // More than what had piled up.
    await recorder.until(() => recorder.samples.length > before + 2 * STRETCH);
    t.equal(microphone.counters().restarts, restarts);
    t.same(recorder.statuses.at(-1), { state: 'online' });
  });

  await t.test('an overrun is counted and costs a chunk, not the microphone', async (t) => {
    // The real naudiodon, which at its fifth chunk reports what it reports of an overrun.
    const folder = await mkdtemp(join(tmpdir(), 'soundpost-overrun-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'overrun.cjs');
    await writeFile(
      file,
      `const Module = require('node:module');
       const load = Module._load;
       Module._load = function (request, ...rest) {
         const loaded = load.call(this, request, ...rest);
         if (request !== 'naudiodon') return loaded;
         return { ...loaded, AudioIO(options) {
           const stream = loaded.AudioIO(options);
           const push = stream.push;
           let pushed = 0;
           stream.push = (chunk) => ++pushed === 5 ? stream.destroy('portAudio status - input overflow ') : push.call(stream, chunk);
           return stream;
         } };
       };`,
    );
    const env = { ...fake.env, NODE_OPTIONS: `--require ${file}` };
    const overrun = await listen(t, fake, { sampleRate: RATE, env });
    await overrun.recorder.until(() => overrun.recorder.samples.length >= RATE);
    t.same(overrun.microphone.counters(), { overruns: 1, restarts: 0 });
    t.equal(overrun.recorder.formats.length, 1);
  });
});
