import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open, readdir, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { decodeChunks, decodeFile } from '../../src/audio/decode.js';
import { createFileSource } from '../../src/audio/file-source.js';
import type { Encoding } from '../../src/audio/pcm.js';
import { openWav } from '../../src/audio/wav.js';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { silentLogger, type Logger } from '../../src/common/log.js';
import { createRecorder } from '../support/recorder.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';
import { makeWav, sine, STEP, type WavRecipe } from '../support/wav.js';

const folder = mkdtempSync(join(tmpdir(), 'soundpost-audio-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const noFfmpeg = skipWithout('ffmpeg');
const demo = projectPath('models', 'demo', 'day-at-home.wav');
const crow = projectPath('test', 'fixtures', 'audio', 'crow.wav');

let files = 0;
/** Writes a file and gives its path. */
function file(content: Buffer | string, name = `${files}.wav`): string {
  files += 1;
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const wav = (recipe: Partial<WavRecipe>) =>
  makeWav({ encoding: 's16', sampleRate: 8000, channels: [sine(800, 440, 8000)], ...recipe });

async function reasonOf(failing: Promise<unknown>): Promise<string> {
  return failing.then(() => 'it did not fail', messageOf);
}

/** How many of this process's open files lie in the test's folder. */
async function openFiles(): Promise<number> {
  const names = await readdir('/proc/self/fd').catch(() => []);
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(folder)).length;
}

t.test('wav', (t) => {
  t.test('every encoding, rate, number of channels and layout of chunks gives what was written', async () => {
    const chunk = fc.tuple(
      fc.constantFrom('LIST', 'bext', 'JUNK', 'fact', 'id3 '),
      fc.uint8Array({ maxLength: 21 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          encoding: fc.constantFrom<Encoding>('u8', 's16', 's24', 's32', 'f32', 'f64'),
          sampleRate: fc.constantFrom(8000, 11_025, 44_100, 48_000, 96_000, 192_000),
          channels: fc
            .tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 300 }))
            .chain(([channels, frames]) =>
              fc.array(
                fc.array(fc.double({ min: -1, max: 0.99, noNaN: true }), {
                  minLength: frames,
                  maxLength: frames,
                }),
                { minLength: channels, maxLength: channels },
              ),
            ),
          extensible: fc.boolean(),
          rf64: fc.boolean(),
          chunksBefore: fc.array(chunk, { maxLength: 3 }),
          chunksAfter: fc.array(chunk, { maxLength: 2 }),
        }),
        fc.integer({ min: 1, max: 400 }),
        async (recipe, pieceLength) => {
          const path = file(makeWav(recipe), 'property.wav');
          const { sampleRate, samples, warnings } = await decodeFile(path);
          const frames = recipe.channels[0]!.length;
          const mean = (i: number) =>
            recipe.channels.reduce((sum, channel) => sum + channel[i]!, 0) / recipe.channels.length;
          const right = samples.every(
            (sample, i) => Math.abs(sample - mean(i)) <= STEP[recipe.encoding] + 2 ** -23,
          );
          const reader = await openWav(path);
          const pieces: number[] = [];
          const piece = new Float32Array(pieceLength);
          for (let count = -1; count !== 0;) {
            count = await reader.read(piece);
            pieces.push(...piece.subarray(0, count));
          }
          await reader.close();
          return (
            sampleRate === recipe.sampleRate &&
            samples.length === frames &&
            warnings.length === 0 &&
            right &&
            pieces.length === frames &&
            pieces.every((value, i) => value === samples[i])
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  t.test('no damage makes it crash, hang or give anything but numbers', async () => {
    const base = fc.constantFrom(
      wav({}),
      wav({
        encoding: 's24',
        channels: [
          [0.1, 0.2, 0.3],
          [0, 0, 0],
        ],
        extensible: true,
      }),
      wav({ encoding: 'f32', rf64: true, chunksBefore: [['LIST', Buffer.from('abc')]] }),
    );
    await fc.assert(
      fc.asyncProperty(
        base,
        fc.array(fc.tuple(fc.nat(99), fc.nat(255)), { maxLength: 6 }),
        fc.option(fc.nat(300)),
        async (bytes, flips, length) => {
          const broken = Buffer.from(bytes);
          for (const [at, value] of flips) broken[at % broken.length] = value;
          const path = file(broken.subarray(0, length ?? broken.length), 'broken.wav');
          try {
            // Through openWav: what is no WAV any more is ffmpeg's business.
            const reader = await openWav(path);
            const out = new Float32Array(5000);
            const count = await reader.read(out);
            await reader.close();
            return count > 0 && out.every(Number.isFinite);
          } catch (error) {
            return error instanceof SoundpostError && error.message.includes(path);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  t.test('8 bits, 24 bits, float, 96 kHz, 6 channels', async (t) => {
    const left = sine(960, 1000, 96_000, 0.6);
    const silent = left.map(() => 0);
    for (const encoding of ['u8', 's24', 'f32'] as const) {
      const path = file(
        makeWav({ encoding, sampleRate: 96_000, channels: [left, silent, silent, silent, silent, silent] }),
      );
      const { sampleRate, samples, durationSeconds } = await decodeFile(path);
      t.equal(sampleRate, 96_000);
      t.equal(durationSeconds, 0.01);
      t.ok(
        samples.every((sample, i) => Math.abs(sample - left[i]! / 6) <= STEP[encoding]),
        encoding,
      );
      const first = await decodeFile(path, { channel: 1 });
      t.ok(first.samples.every((sample, i) => Math.abs(sample - left[i]!) <= STEP[encoding]));
      t.ok((await decodeFile(path, { channel: 6 })).samples.every((sample) => sample === 0));
      await t.rejects(decodeFile(path, { channel: 7 }), { code: 'no_such_channel', message: /6 channels/ });
    }
  });

  t.test('a header that was never completed', async (t) => {
    for (const header of [
      { dataBytes: 0xffffffff, riffBytes: 0xffffffff },
      { dataBytes: 0, riffBytes: 0 },
      { dataBytes: 0, riffBytes: 36 },
      { dataBytes: 0x7ffff000, riffBytes: 0x7ffff024 },
      { dataBytes: 0x80000000, riffBytes: 0x80000024 },
      { dataBytes: 0xffffffff, riffBytes: 0xffffffff, encoding: 'f32' as const, extensible: true },
    ]) {
      const { samples, warnings } = await decodeFile(file(wav(header)));
      t.equal(samples.length, 800, JSON.stringify(header));
      t.same(warnings, []);
    }
  });

  t.test('cut off: what is there, and a warning', async (t) => {
    const path = file(wav({}));
    truncateSync(path, 44 + 401);
    const { samples, durationSeconds, warnings } = await decodeFile(path);
    t.equal(samples.length, 200);
    t.equal(durationSeconds, 0.025);
    t.match(warnings, [/is cut off: its header announces 0\.10 s, 0\.03 s are there/]);
    t.ok(warnings[0]?.includes(path));
  });

  t.test('a file that becomes shorter while it is read', async (t) => {
    const path = file(wav({ channels: [sine(400_000, 440, 8000)] }));
    const reader = await openWav(path);
    const out = new Float32Array(200_000);
    t.equal(await reader.read(out), 200_000);
    truncateSync(path, 1000);
    t.ok((await reader.read(out)) < 200_000);
    t.equal(await reader.read(out), 0);
    t.match(reader.warnings(), [/became shorter/]);
    await reader.close();
  });

  t.test('samples that are no numbers count as silence', async (t) => {
    const path = file(wav({ encoding: 'f32', channels: [[0.5, NaN, Infinity, -1e30, 1.5]] }));
    const { samples, warnings } = await decodeFile(path);
    t.same([...samples], [0.5, 0, 0, 0, 1.5]);
    t.match(warnings, [/3 samples that are not usable numbers/]);
  });

  t.test('what cannot be read says why, and names the file', async (t) => {
    const damaged = (patch: (bytes: Buffer) => void) => {
      const bytes = wav({});
      patch(bytes);
      return file(bytes);
    };
    const cases: [string, string, RegExp][] = [
      [join(folder, 'none.wav'), 'file_not_found', /does not exist/],
      [folder, 'file_unreadable', /is a folder/],
      [file(''), 'audio_empty', /is empty \(0 bytes\)/],
      [file(wav({ channels: [[]] })), 'audio_empty', /no samples/],
      [file(wav({}).subarray(0, 44)), 'audio_empty', /no samples/],
      [file(wav({}).subarray(0, 30)), 'wav_damaged', /"fmt " chunk is too short|ends before/],
      [file(wav({}).subarray(0, 40)), 'wav_damaged', /no "data" chunk/],
      [damaged((bytes) => bytes.writeUInt16LE(0, 22)), 'wav_damaged', /0 channels/],
      [damaged((bytes) => bytes.writeUInt16LE(60_000, 22)), 'wav_damaged', /60000 channels/],
      [damaged((bytes) => bytes.writeUInt32LE(0, 24)), 'wav_damaged', /0 Hz/],
      [damaged((bytes) => bytes.writeUInt32LE(4e9, 24)), 'wav_damaged', /4000000000 Hz/],
      [damaged((bytes) => bytes.writeUInt16LE(99, 34)), 'wav_damaged', /99 bits/],
      [damaged((bytes) => bytes.write('nope', 12)), 'wav_damaged', /samples come before/],
    ];
    for (const [path, code, message] of cases) {
      await t.rejects(decodeFile(path), { code, message }, `${code} ${message}`);
      t.ok((await reasonOf(decodeFile(path))).includes(path), 'names the file');
    }
    if (process.getuid?.() !== 0) {
      const secret = file(wav({}));
      chmodSync(secret, 0);
      await t.rejects(decodeFile(secret), { code: 'file_unreadable', message: /may not read/ });
    }
    t.equal(await openFiles(), 0, 'every file is closed again');
  });

  t.test('a day is read piece by piece', { skip: process.platform !== 'linux' }, async (t) => {
    // 24 h of 48 kHz, 16 bits, stereo in a sparse file: more than fits into 32 bits, so RF64.
    const frames = 24 * 3600 * 48_000;
    const head = wav({ rf64: true, sampleRate: 48_000, channels: [[0.5], [0.5]] });
    head.writeBigUInt64LE(BigInt(frames * 4), 12 + 8 + 8);
    const path = file(head, 'day.wav');
    const handle = await open(path, 'r+');
    await handle.write(head.subarray(-4), 0, 4, head.length - 4 + (frames - 1) * 4);
    await handle.close();
    const reader = await openWav(path);
    t.equal(reader.durationSeconds, 86_400);
    t.equal(reader.frames, frames);
    const out = new Float32Array(48_000);
    const before = process.memoryUsage().rss;
    t.equal(await reader.read(out), 48_000);
    t.equal(out[0], 0.5);
    t.ok(process.memoryUsage().rss - before < 50e6, 'not into memory');
    await reader.close();
    rmSync(path);
  });

  t.end();
});

t.test('ffmpeg', { skip: noFfmpeg }, (t) => {
  const convert = (from: string, name: string, ...options: string[]) => {
    const path = join(folder, name);
    execFileSync('ffmpeg', ['-loglevel', 'error', '-y', '-i', from, ...options, path]);
    return path;
  };
  const worst = (a: Float32Array, b: Float32Array) =>
    a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? 9))), 0);

  t.test('flac, mp3, ogg, m4a, and WAV with compressed samples', async (t) => {
    const original = await decodeFile(crow);
    const flac = await decodeFile(convert(crow, 'crow.flac'));
    t.equal(flac.sampleRate, 32_000, 'its own rate');
    t.equal(flac.samples.length, original.samples.length);
    t.equal(worst(original.samples, flac.samples), 0, 'lossless is lossless');
    t.same(flac.warnings, []);
    const resampled = await decodeFile(convert(crow, 'crow441.flac', '-ar', '44100'));
    t.equal(resampled.sampleRate, 44_100);
    for (const [name, ...options] of [
      ['crow.mp3'],
      ['crow.ogg', '-c:a', 'libvorbis'],
      ['crow.m4a'],
      ['adpcm.wav', '-c:a', 'adpcm_ms'],
      ['mulaw.wav', '-c:a', 'pcm_mulaw'],
    ] as const) {
      const decoded = await decodeFile(convert(crow, name, ...options));
      t.equal(decoded.sampleRate, 32_000, name);
      t.ok(Math.abs(decoded.durationSeconds - original.durationSeconds) < 0.15, name);
      const energy = (samples: Float32Array) => samples.reduce((sum, value) => sum + value * value, 0);
      const ratio = energy(decoded.samples) / energy(original.samples);
      t.ok(ratio > 0.8 && ratio < 1.2, `${name} ${ratio}`);
    }
  });

  t.test('channels are mixed as in WAV: by the mean, whatever they are called', async (t) => {
    const tone = sine(9600, 1000, 48_000, 0.6);
    const silent = tone.map(() => 0);
    const source = file(
      makeWav({
        encoding: 's24',
        sampleRate: 48_000,
        channels: [silent, silent, silent, tone, silent, silent],
      }),
    );
    const path = convert(source, 'six.flac', '-c:a', 'flac');
    const { samples } = await decodeFile(path);
    t.ok(samples.every((sample, i) => Math.abs(sample - tone[i]! / 6) < 1e-4));
    const { samples: fourth } = await decodeFile(path, { channel: 4 });
    t.ok(fourth.every((sample, i) => Math.abs(sample - tone[i]!) < 1e-4));
    await t.rejects(decodeFile(path, { channel: 9 }), { code: 'no_such_channel' });
  });

  t.test('in chunks as in one piece', async (t) => {
    const path = convert(crow, 'chunks.flac');
    const whole = await decodeFile(path);
    let position = 0;
    for await (const chunk of decodeChunks(path, { chunkSeconds: 0.7 })) {
      t.equal(chunk.position, position);
      t.equal(worst(chunk.samples, whole.samples.subarray(position)), 0);
      position += chunk.samples.length;
    }
    t.equal(position, whole.samples.length);
  });

  t.test('leaving early ends ffmpeg', async (t) => {
    const path = convert(demo, 'early.flac');
    for await (const chunk of decodeChunks(path)) {
      t.equal(chunk.position, 0);
      break;
    }
    await t.rejects(decodeFile(path, { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
    const controller = new AbortController();
    const decoding = decodeChunks(path, { chunkSeconds: 0.1, signal: controller.signal });
    await decoding.next();
    controller.abort(new Error('enough'));
    await t.rejects(decoding.next(), /enough/);
  });

  t.test('what is not audio', async (t) => {
    const text = file('Once upon a time there was no sound.\n'.repeat(50));
    await t.rejects(decodeFile(text), { code: 'not_audio', message: /cannot be read as audio/ });
    t.ok((await reasonOf(decodeFile(text))).includes(text), 'names the file');
    const picture = join(folder, 'black.png');
    execFileSync('ffmpeg', [
      '-loglevel',
      'error',
      '-f',
      'lavfi',
      '-i',
      'color=s=16x16',
      '-frames:v',
      '1',
      picture,
    ]);
    await t.rejects(decodeFile(picture), { code: 'not_audio', message: /black\.png holds no sound/ });
  });

  t.test('a damaged file: what is there, and a warning', async (t) => {
    const path = convert(crow, 'cut.flac');
    const bytes = readFileSync(path);
    bytes.fill(0x55, bytes.length / 2, bytes.length / 2 + 2000);
    const { samples, warnings } = await decodeFile(file(bytes, 'damaged.flac'));
    t.ok(samples.length > 32_000);
    t.equal(warnings.length, 1);
    t.match(warnings, [/damaged\.flac/]);
  });

  t.test('a playlist leads nowhere', async (t) => {
    const list = file(`#EXTM3U\n#EXTINF:4,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n`, 'list.m3u8');
    await t.rejects(decodeFile(list), { code: 'not_audio' });
  });

  t.test('odd names', async (t) => {
    const flac = readFileSync(convert(crow, 'plain.flac', '-t', '0.5'));
    for (const name of ["-i 'x'.flac", 'a:b.flac', 'http:x.flac', 'über %d ☂.flac']) {
      const path = file(flac, name);
      t.equal((await decodeFile(path)).samples.length, 16_000, name);
    }
  });

  t.end();
});

t.test('without ffmpeg', async (t) => {
  const other = file('fLaC and so on', 'x.flac');
  await t.rejects(decodeFile(other, { ffmpeg: join(folder, 'no-ffmpeg') }), {
    code: 'ffmpeg_missing',
    message: /x\.flac needs ffmpeg.*apt-get install ffmpeg/,
  });
  const text = file('not sound at all');
  await t.rejects(decodeFile(text, { ffmpeg: join(folder, 'no-ffmpeg') }), {
    code: 'not_audio',
    message: /is not a WAV file, in spite of its name/,
  });
});

t.test('file source', (t) => {
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_, message) => warnings.push(message) };
  const source = (path: string, more: Partial<Parameters<typeof createFileSource>[0]> = {}) =>
    createFileSource({ path, loop: false, speed: 'max', log, ...more });

  t.test('as fast as it goes: all of it, once, stamped by its own time', async (t) => {
    const recorder = createRecorder(4_000_000);
    const demoSource = source(demo, { kind: 'demo' });
    t.equal(demoSource.kind, 'demo');
    t.equal(demoSource.realTime, false);
    const before = Date.now();
    await demoSource.start(recorder);
    await recorder.until(() => recorder.ended);
    t.same(recorder.formats, [{ sampleRate: 32_000, name: 'day-at-home.wav' }]);
    t.same(recorder.statuses, [{ state: 'online' }]);
    const { samples } = await decodeFile(demo);
    t.equal(recorder.samples.length, samples.length);
    t.ok(recorder.samples.every((value, i) => value === samples[i]));
    const [first = 0] = recorder.endTimesMs;
    t.ok(first >= before + 100 && first < Date.now());
    t.ok(Math.abs(recorder.endTimesMs.at(-1)! - first - (samples.length / 32 - 100)) < 1);
    await demoSource.stop();
    t.same(demoSource.counters(), { overruns: 0, restarts: 0 });
  });

  t.test('waits for the sink', async (t) => {
    let busy = false;
    let chunks = 0;
    const slow = source(file(wav({ channels: [sine(8000, 440, 8000)] })));
    await new Promise<void>((resolve, reject) => {
      void slow.start({
        begin: () => undefined,
        async chunk(samples) {
          if (busy) reject(new Error('did not wait'));
          busy = true;
          const before = samples[1];
          await new Promise((done) => setImmediate(done));
          if (samples[1] !== before) reject(new Error('the samples changed meanwhile'));
          busy = false;
          chunks += 1;
        },
        status: () => undefined,
        end: resolve,
      });
    });
    t.equal(chunks, 10);
  });

  t.test('loops without a seam', async (t) => {
    const length = 1234;
    const cycle = Array.from({ length }, (_, i) => i / 2048);
    const recorder = createRecorder(20_000);
    const looping = source(file(wav({ channels: [cycle] })), { loop: true });
    await looping.start(recorder);
    await recorder.until(() => recorder.samples.length >= 20_000);
    await looping.stop();
    t.equal(recorder.formats.length, 1);
    t.ok(recorder.samples.every((value, i) => value === cycle[i % length]));
    t.notOk(recorder.ended);
  });

  t.test('loops what ffmpeg reads', { skip: noFfmpeg }, async (t) => {
    const path = join(folder, 'loop.flac');
    execFileSync('ffmpeg', ['-loglevel', 'error', '-y', '-i', crow, '-t', '0.25', path]);
    const { samples } = await decodeFile(path);
    const recorder = createRecorder(20_000);
    const looping = source(path, { loop: true });
    await looping.start(recorder);
    await recorder.until(() => recorder.samples.length >= 20_000);
    await looping.stop();
    t.equal(recorder.formats.length, 1);
    t.ok(recorder.samples.every((value, i) => value === samples[i % samples.length]));
  });

  t.test('in real time it takes its time', async (t) => {
    const recorder = createRecorder();
    const paced = source(file(wav({ channels: [sine(4000, 440, 8000)] })), { speed: 1 });
    const start = performance.now();
    await paced.start(recorder);
    await recorder.until(() => recorder.ended);
    t.ok(performance.now() - start >= 490, 'not faster than it sounds');
    t.equal(recorder.samples.length, 4000);
    const steps = recorder.endTimesMs.slice(1).map((time, i) => time - recorder.endTimesMs[i]!);
    // Two clocks are read for a stamp; a busy machine may hold the process up between them, but not each time.
    const middle = [...steps].sort((a, b) => a - b)[steps.length >> 1]!;
    t.ok(Math.abs(middle - 100) < 2, `stamped evenly: ${steps.join(' ')}`);
  });

  t.test('stops at once, whatever it is doing', async (t) => {
    const path = file(wav({}));
    const held = source(path);
    await new Promise<void>((resolve) => {
      void held.start({
        begin: () => undefined,
        // A sink that never answers.
        chunk: () => {
          resolve();
          return new Promise<void>(() => undefined);
        },
        status: () => undefined,
        end: () => t.fail('was stopped, did not end'),
      });
    });
    await held.stop();
    await held.stop();
    const paced = source(path, { speed: 1, loop: true });
    await paced.start(createRecorder());
    await paced.stop();
    const never = source(path);
    await never.stop();
    t.equal(await openFiles(), 0, 'leaves nothing open');
  });

  t.test('a file that is missing, empty or broken: start says why', async (t) => {
    const recorder = createRecorder();
    await t.rejects(source(join(folder, 'none.wav')).start(recorder), { code: 'file_not_found' });
    await t.rejects(source(file('')).start(recorder), { code: 'audio_empty' });
    await t.rejects(source(file(wav({}).subarray(0, 40))).start(recorder), { code: 'wav_damaged' });
    await t.rejects(source(file('text'), { ffmpeg: join(folder, 'no') }).start(recorder), {
      code: 'not_audio',
    });
    t.same(recorder.formats, []);
    t.same(recorder.statuses, []);
  });

  t.test('one that is cut off is played with a warning, once', async (t) => {
    const path = file(wav({}));
    truncateSync(path, 44 + 400);
    warnings.length = 0;
    const recorder = createRecorder(2000);
    const looping = source(path, { loop: true });
    await looping.start(recorder);
    await recorder.until(() => recorder.samples.length >= 2000);
    await looping.stop();
    t.match(warnings, [/is cut off/]);
  });

  t.test('a loop whose file was emptied goes offline and ends', async (t) => {
    const path = file(wav({ channels: [sine(400_000, 440, 8000)] }));
    const recorder = createRecorder(2000);
    const looping = source(path, { loop: true });
    await looping.start(recorder);
    truncateSync(path, 10);
    await recorder.until(() => recorder.ended);
    t.match(recorder.statuses, [{ state: 'online' }, { state: 'offline', code: 'audio_empty' }]);
    await looping.stop();
  });

  t.test('a sink that fails ends the source, not the process', async (t) => {
    const recorder = createRecorder();
    const failing = source(file(wav({})));
    await failing.start({
      begin: (format) => recorder.begin(format),
      chunk: () => Promise.reject(new Error('the sink is broken')),
      status: (status) => recorder.status(status),
      end: () => recorder.end(),
    });
    await recorder.until(() => recorder.ended);
    t.match(recorder.statuses.at(-1), { state: 'offline', reason: 'the sink is broken' });
    await failing.stop();
  });

  t.end();
});

t.test('the real recordings', { skip: skipWithoutShared() }, async (t) => {
  for (const name of ['speech', 'music', 'typing']) {
    const { sampleRate, samples, warnings } = await decodeFile(sharedPath('golden', 'audio', `${name}.wav`));
    t.equal(sampleRate, 32_000);
    t.equal(samples.length, 320_000);
    t.same(warnings, []);
  }
});
