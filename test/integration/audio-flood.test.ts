import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createMicrophone } from '../../src/audio/microphone.js';
import type { AudioSource } from '../../src/audio/source.js';
import { createStreamSource, type StreamSourceOptions } from '../../src/audio/stream-source.js';
import { noise, skipWithoutMicrophone, startFileMicrophone } from '../support/microphone.js';
import { createRecorder } from '../support/recorder.js';
import { createRecordingLog } from '../support/recording-log.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';
import { makeWav } from '../support/wav.js';

const QUICK = { connectMs: 20_000, stallMs: 10_000, burstMs: 200, firstRetryMs: 20, maxRetryMs: 100 };

/** A server whose every answer is what `answer` makes of it. */
async function serve(t: Test, answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((_, response) => answer(response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** Writes as fast as it is taken, for ever. */
function pour(response: ServerResponse, next: () => Buffer, onSent: (bytes: number) => void): void {
  const go = () => {
    for (let room = true; room && !response.destroyed;) {
      const bytes = next();
      onSent(bytes.length);
      room = response.write(bytes);
    }
  };
  response.on('drain', go);
  go();
}

/** A WAV file up to its samples, of which it says that they never end. */
function wavHeader(sampleRate: number, channelCount: number): Buffer {
  const channels = Array.from({ length: channelCount }, () => []);
  const endless = 0xffffffff;
  return makeWav({ encoding: 's16', sampleRate, channels, dataBytes: endless, riffBytes: endless });
}

function sourceOf(t: Test, address: string, more: Partial<StreamSourceOptions> = {}): AudioSource {
  const source = createStreamSource({ address, log: createRecordingLog(), timing: QUICK, ...more });
  t.teardown(() => source.stop());
  return source;
}

t.test('a stream', { skip: skipWithout('ffmpeg') }, (t) => {
  t.test('that floods is heard as fast as it sounds, without a gap, and told of once', async (t) => {
    let sent = 0;
    const counted = Int16Array.from({ length: 65_536 }, (_, i) => i - 32_768);
    const address = await serve(t, (response) => {
      response.write(wavHeader(8000, 1));
      pour(
        response,
        () => Buffer.from(counted.buffer),
        (bytes) => (sent += bytes),
      );
    });
    const log = createRecordingLog();
    const told = () => log.lines.filter(({ fields }) => 'code' in fields && fields.code === 'too_fast');
    const recorder = createRecorder();
    const begun = performance.now();
    const source = sourceOf(t, address, { log });
    await source.start(recorder);
    await recorder.until(() => told().length > 0);
    const then = recorder.samples.length;
    await recorder.until(() => recorder.samples.length > then + 8000);
    await source.stop();
    const seconds = recorder.samples.length / 8000;
    t.ok(seconds < 0.4 + (1.005 * (performance.now() - begun)) / 1000, `${seconds} s were heard`);
    t.equal(told().length, 1);
    t.match(told()[0]!.message, /sends faster than it sounds/);
    const torn = recorder.samples.findIndex((value, i) => value * 32_768 !== counted[i % counted.length]);
    t.equal(torn, -1, 'every sample is there, in its place');
    // What fits into the pipes and the buffers of the network on its way; without an end it would be gigabytes.
    t.ok(sent < 64_000_000, `${sent} bytes were taken from the server`);
  });

  t.test('that changes its rate and its channels midway keeps its pitch', async (t) => {
    const folder = temporaryFolder(t);
    const piece = (sampleRate: number, channels: number) => {
      const file = join(folder, `${sampleRate}.ts`);
      // prettier-ignore
      execFileSync('ffmpeg', [
        '-loglevel', 'error', '-f', 'lavfi', '-i', `sine=frequency=500:sample_rate=${sampleRate}:duration=2`,
        '-ac', String(channels), '-c:a', 'aac', file,
      ]);
      return readFileSync(file);
    };
    const bytes = Buffer.concat([piece(48_000, 2), piece(16_000, 1), piece(32_000, 1)]);
    const address = await serve(t, (response) => response.end(bytes));
    const recorder = createRecorder();
    const source = sourceOf(t, address, { attempts: 1 });
    await source.start(recorder);
    await recorder.until(() => recorder.ended);
    t.same(
      recorder.formats.map(({ sampleRate }) => sampleRate),
      [48_000],
    );
    // In the midst of each piece, where no seam disturbs it.
    for (const second of [0.5, 2.5, 4.5]) {
      const part = recorder.samples.slice(second * 48_000, (second + 1) * 48_000);
      const rising = part.filter((value, i) => i > 0 && part[i - 1]! <= 0 && value > 0).length;
      t.ok(Math.abs(rising - 500) <= 2, `${rising} Hz after ${second} s`);
    }
  });

  t.test('of more samples than can be looked at is refused in words', async (t) => {
    const shapes = [
      [1_000_000, 1],
      [96_000, 64],
    ] as const;
    for (const [sampleRate, channels] of shapes) {
      const address = await serve(t, (response) => {
        response.write(wavHeader(sampleRate, channels));
        pour(
          response,
          () => Buffer.alloc(65_536, 1),
          () => undefined,
        );
      });
      const recorder = createRecorder();
      const source = sourceOf(t, address, { attempts: 1 });
      await source.start(recorder);
      await recorder.until(() => recorder.ended);
      t.match(recorder.statuses, [
        {
          code: 'stream_failed',
          reason: `${channels} channel${channels === 1 ? '' : 's'} of ${sampleRate} Hz`,
        },
      ]);
    }
  });

  t.test('whose decoder complains without end costs the others nothing', async (t) => {
    const chatty = join(temporaryFolder(t), 'chatty-ffmpeg');
    writeFileSync(chatty, "#!/bin/sh\nexec yes '[mp3float @ 0x55] [error] invalid new backstep' >&2\n");
    chmodSync(chatty, 0o755);
    const log = createRecordingLog();
    const flooding = sourceOf(t, 'udp://127.0.0.1:9', { log, ffmpeg: chatty });
    await flooding.start(createRecorder());
    await until(() => log.lines.length > 100, 'the complaints', 20);
    const address = await serve(t, (response) => {
      response.write(wavHeader(8000, 1));
      pour(
        response,
        () => Buffer.alloc(65_536, 1),
        () => undefined,
      );
    });
    const recorder = createRecorder();
    const begun = performance.now();
    const source = sourceOf(t, address);
    await source.start(recorder);
    await recorder.until(() => recorder.samples.length > 8000);
    const seconds = (performance.now() - begun) / 1000;
    const bytes = log.lines.length * '[mp3float @ 0x55] [error] invalid new backstep\n'.length;
    // A megabyte at once and a quarter of one each second; a pipe holds some more. It takes hundreds without a limit.
    t.ok(bytes < 4_000_000 + 300_000 * seconds, `${bytes} bytes were looked at in ${seconds} s`);
    await flooding.stop();
    t.same(flooding.pids?.(), []);
  });

  t.end();
});

t.test(
  'a microphone that gives sound as fast as it is read is held back',
  { skip: skipWithoutMicrophone() },
  async (t) => {
    const fake = await startFileMicrophone({ samples: noise(2000), sampleRate: 8000, channels: 1 });
    t.teardown(() => fake.stop());
    const log = createRecordingLog();
    const told = () => log.lines.filter(({ fields }) => 'code' in fields && fields.code === 'too_fast');
    const microphone = createMicrophone({
      log,
      sampleRate: 8000,
      env: fake.env,
      workFolder: temporaryFolder(t),
    });
    t.teardown(() => microphone.stop());
    const recorder = createRecorder();
    const begun = performance.now();
    await microphone.start(recorder);
    await recorder.until(() => told().length > 0);
    const then = recorder.samples.length;
    await recorder.until(() => recorder.samples.length > then + 8000);
    const seconds = recorder.samples.length / 8000;
    // It may be ten seconds ahead, and by what is read from the pipe at once.
    const most = 15 + (1.5 * (performance.now() - begun)) / 1000;
    t.ok(seconds < most, `${seconds} s were heard, and ${most} may be`);
    t.equal(told().length, 1);
    t.same(recorder.statuses, [{ state: 'online' }]);
    t.same(microphone.counters().restarts, 0);
  },
);
