import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { AudioSource } from '../../src/audio/source.js';
import { createStreamSource, type StreamSourceOptions } from '../../src/audio/stream-source.js';
import type { Logger } from '../../src/common/log.js';
import { createRecorder } from '../support/recorder.js';
import { startRtspCamera } from '../support/rtsp-camera.js';
import { projectPath } from '../support/shared.js';
import { descendants } from '../support/service.js';
import { skipWithout } from '../support/tools.js';

const folder = mkdtempSync(join(tmpdir(), 'soundpost-stream-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const QUICK = { connectMs: 10_000, stallMs: 400, firstRetryMs: 20, maxRetryMs: 100 };

/** Everything that was logged, as one would read it. */
const logged: string[] = [];
const log: Logger = {
  debug: (fields, message) => logged.push(`debug ${message} ${JSON.stringify(fields)}`),
  info: (fields, message) => logged.push(`info ${message} ${JSON.stringify(fields)}`),
  warn: (fields, message) => logged.push(`warn ${message} ${JSON.stringify(fields)}`),
  error: (fields, message) => logged.push(`error ${message} ${JSON.stringify(fields)}`),
};

/** The command lines of the ffmpeg processes that this test has started and that are still there. */
async function ffmpegs(): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    ids.map(async (id) => {
      const stat = await readFile(`/proc/${id}/stat`, 'utf8').catch(() => '');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(parent) !== process.pid || state === 'Z') return '';
      return readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '');
    }),
  );
  return found.filter((command) => command.includes('ffmpeg'));
}

/** An HTTP server on a free port; `answer` decides what each request gets. */
async function serve(
  t: { teardown(action: () => unknown): void },
  answer: (response: ServerResponse, request: number, path: string) => void,
  address = '127.0.0.1',
): Promise<{ host: string; requests: () => number }> {
  let requests = 0;
  const server = createServer(({ url = '' }, response) => {
    requests += 1;
    answer(response, requests, url);
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: `${address}:${(server.address() as AddressInfo).port}`, requests: () => requests };
}

function sourceOf(
  t: { teardown(action: () => unknown): void },
  address: string,
  more: Partial<StreamSourceOptions> = {},
): AudioSource {
  const source = createStreamSource({ address, log, timing: QUICK, ...more });
  t.teardown(() => source.stop());
  return source;
}

t.test('a stream', { skip: skipWithout('ffmpeg') }, (t) => {
  const recording = join(folder, 'sound.mp3');
  execFileSync('ffmpeg', [
    '-loglevel', 'error', '-i', projectPath('models', 'demo', 'day-at-home.wav'), '-t', '20', recording,
  ]); // prettier-ignore
  const mp3 = readFileSync(recording);

  t.test('is heard at its own rate, as fast as it sounds, and stopped without a trace', async (t) => {
    const { host } = await serve(t, (response) => response.end(mp3));
    const recorder = createRecorder();
    const source = sourceOf(t, `http://${host}/live.mp3`);
    t.equal(source.kind, 'stream');
    t.equal(source.realTime, true);
    const begun = Date.now();
    await source.start(recorder);
    await recorder.until(() => recorder.samples.length > 0);
    const started = performance.now();
    await recorder.until(() => recorder.samples.length >= 32_000);
    t.ok(performance.now() - started > 700, 'not all at once, although it could be had so');
    t.match(recorder.formats, [{ sampleRate: 32_000, name: `http://${host}/live.mp3` }]);
    t.same(recorder.statuses, [{ state: 'online' }]);
    t.ok(
      recorder.samples.some((value) => Math.abs(value) > 0.001),
      'it is sound',
    );
    const stamps = recorder.endTimesMs;
    t.ok(stamps[0]! >= begun && stamps.at(-1)! <= Date.now(), 'stamped with the wall clock');
    await source.stop();
    const heard = recorder.samples.length;
    t.same(await ffmpegs(), []);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(recorder.samples.length, heard, 'silence after the stop');
    t.same(source.counters(), { overruns: 0, restarts: 0 });
  });

  t.test('that stalls is noticed, and found again', async (t) => {
    const { host, requests } = await serve(t, (response, request) => {
      // The first connection delivers two seconds, then nothing, and stays open.
      if (request === 1) response.write(mp3.subarray(0, mp3.length / 8));
      else response.end(mp3);
    });
    const recorder = createRecorder();
    const source = sourceOf(t, `http://${host}/stall.mp3`);
    await source.start(recorder);
    const offline = await recorder.nextStatus('offline');
    t.match(offline, { code: 'stream_stalled', reason: /nothing for 0\.4 s/ });
    await recorder.nextStatus('online');
    t.equal(recorder.formats.length, 2, 'what follows does not join what came before');
    t.ok(requests() >= 2);
    t.equal(source.counters().restarts, 1);
    await source.stop();
    t.same(await ffmpegs(), []);
  });

  t.test('that is cut off, ends or is refused is tried again', async (t) => {
    const { host } = await serve(t, (response, request) => {
      if (request === 1) {
        response.writeHead(200, { 'content-length': mp3.length });
        response.write(mp3.subarray(0, 8000), () => response.destroy());
      } else if (request === 2) response.writeHead(404).end();
      else if (request === 3) response.end('this is not sound, only words '.repeat(100));
      else response.end(mp3.subarray(0, 6000));
    });
    const recorder = createRecorder();
    const source = sourceOf(t, `http://${host}/cut.mp3`);
    await source.start(recorder);
    await recorder.until(() => recorder.formats.length >= 2);
    await recorder.nextStatus('offline');
    await source.stop();
    const reasons = recorder.statuses.flatMap((status) => (status.state === 'offline' ? [status] : []));
    t.match(reasons[0], { code: 'stream_ended' });
    t.match(reasons[1], { code: 'stream_failed', reason: /404/ });
    t.match(reasons[2], { code: 'stream_failed', reason: /cannot be read as audio/ });
    t.match(reasons[3], { code: 'stream_ended' });
    t.ok(source.counters().restarts >= 3);
  });

  t.test('with credentials shows none of them', async (t) => {
    const { host } = await serve(t, (response, request) => {
      if (request === 1) response.writeHead(401).end();
      else response.end(mp3.subarray(0, 6000));
    });
    logged.length = 0;
    const recorder = createRecorder();
    const source = sourceOf(t, `http://heidi:s3cret%21word@${host}/live.mp3?token=hush-hush`);
    await source.start(recorder);
    await recorder.nextStatus('online');
    await recorder.nextStatus('offline');
    await source.stop();
    const all = JSON.stringify([logged, recorder.statuses, recorder.formats]);
    t.match(all, /401/);
    t.match(all, host);
    t.notMatch(all, /s3cret|hush|heidi/);
  });

  t.test('of a camera', async (t) => {
    const camera = await startRtspCamera('heidi:s3cret');
    t.teardown(() => camera.close());
    logged.length = 0;
    const recorder = createRecorder();
    const source = sourceOf(t, `rtsp://heidi:s3cret@127.0.0.1:${camera.port}/stream1`);
    await source.start(recorder);
    await recorder.until(() => recorder.samples.length > 2400);
    t.equal(source.pids?.().length, 1);
    await source.stop();
    t.same(source.pids?.(), []);
    t.same(recorder.formats, [{ sampleRate: 8000, name: `rtsp://127.0.0.1:${camera.port}/stream1` }]);
    t.ok(recorder.samples.every((value) => Math.abs(Math.abs(value) - 0.98) < 0.01));
    t.ok(camera.requests.some((request) => request.endsWith('/sound')));
    t.notOk(
      camera.requests.some((request) => request.endsWith('/picture')),
      'no picture is asked for',
    );
    t.notMatch(JSON.stringify([logged, recorder.statuses]), /s3cret|heidi/);
  });

  t.test('shows its credentials in no list of processes', async (t) => {
    const camera = await startRtspCamera('heidi:s3cret');
    t.teardown(() => camera.close());
    const { host } = await serve(t, (response) => response.end(mp3));
    for (const address of [
      `rtsp://heidi:s3cret@127.0.0.1:${camera.port}/stream1`,
      `http://heidi:s3cret@${host}/live.mp3?token=hush-hush`,
    ]) {
      const recorder = createRecorder();
      const source = sourceOf(t, address);
      await source.start(recorder);
      await recorder.until(() => recorder.samples.length > 2400);
      const commands = await ffmpegs();
      t.equal(commands.length, 1, 'ffmpeg is at work');
      t.notMatch(commands.join(), /s3cret|hush|heidi/);
      // All that came of this process: what other tests have in their command lines is their affair.
      const lines = (await descendants(process.pid)).map(({ command }) => command);
      t.notOk(lines.some((line) => line.includes('s3cret') || line.includes('hush-hush')));
      await source.stop();
    }
  });

  t.test('leads into the local network only where its address names the host', async (t) => {
    const inside = await serve(t, (response) => response.end(mp3), '127.0.0.2');
    const hls = (target: string) =>
      `#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\n${target}\n#EXT-X-ENDLIST\n`;
    const outside = await serve(t, (response, _, path) => {
      if (path === '/redirect') response.writeHead(302, { location: `http://${inside.host}/x.mp3` }).end();
      else if (path === '/list.m3u8') response.end(hls(`http://${inside.host}/x.mp3`));
      else if (path === '/own') response.writeHead(302, { location: '/own.mp3' }).end();
      else if (path === '/own.m3u8') response.end(hls('own.mp3'));
      else response.end(mp3);
    });
    for (const path of ['/redirect', '/list.m3u8']) {
      const recorder = createRecorder();
      const source = sourceOf(t, `http://${outside.host}${path}`);
      await source.start(recorder);
      const offline = await recorder.nextStatus('offline');
      t.match(offline, {
        code: 'out_of_reach',
        reason: /leads to 127\.0\.0\.2, which is in the local network and not the host/,
      });
      await source.stop();
    }
    t.equal(inside.requests(), 0, 'nobody has knocked there');
    for (const path of ['/own', '/own.m3u8']) {
      const recorder = createRecorder();
      const source = sourceOf(t, `http://${outside.host}${path}`);
      await source.start(recorder);
      await recorder.until(() => recorder.samples.length > 3200);
      await source.stop();
    }
    const camera = await startRtspCamera('a:b', { redirect: 'rtsp://127.0.0.2:9/stream1' });
    t.teardown(() => camera.close());
    const recorder = createRecorder();
    const source = sourceOf(t, `rtsp://a:b@127.0.0.1:${camera.port}/stream1`);
    await source.start(recorder);
    t.match(await recorder.nextStatus('offline'), { state: 'offline' });
    await source.stop();
    t.same(recorder.formats, []);
  });

  t.test('that is only a playlist says so, with the address in it', async (t) => {
    const entry = 'http://heidi:s3cret@radio.example/live';
    const lists: Record<string, string> = {
      '/bare.m3u': `${entry}\n`,
      '/extended.m3u': `#EXTM3U\n#EXTINF:-1,Radio\n${entry}\n`,
      '/x.pls': `[playlist]\nNumberOfEntries=1\nFile1=${entry}\n`,
      '/x.asx': `<asx version="3.0"><entry><ref href="${entry}"/></entry></asx>`,
      '/x.xspf': `<?xml version="1.0"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList><track><location>${entry}</location></track></trackList></playlist>`,
    };
    const { host } = await serve(t, (response, _, path) => response.end(lists[path]));
    for (const path of Object.keys(lists)) {
      const recorder = createRecorder();
      const source = sourceOf(t, `http://${host}${path}`);
      await source.start(recorder);
      t.match(await recorder.nextStatus('offline'), {
        code: 'playlist',
        reason: `http://${host}${path} is a playlist, not a stream: set audio.url to the address in it (http://radio.example/live)`,
      });
      await source.stop();
    }
  });

  for (const withoutPicture of ['mute', 'refuse', 'burst'] as const) {
    t.test(`of a camera that gives no sound without its picture (${withoutPicture})`, async (t) => {
      const camera = await startRtspCamera('a:b', { withoutPicture });
      t.teardown(() => camera.close());
      logged.length = 0;
      const recorder = createRecorder();
      const source = sourceOf(t, `rtsp://a:b@127.0.0.1:${camera.port}/s`, {
        timing: { ...QUICK, connectMs: 12_000, stallMs: 2_000 },
      });
      await source.start(recorder);
      await recorder.until(() => recorder.samples.length > 2 * 8000);
      await source.stop();
      t.ok(camera.requests.some((request) => request.endsWith('/picture')));
      t.match(logged.join('\n'), /tried again in 1 s, with its picture/);
      t.match(logged.join('\n'), /fetched together with its picture, without which it sends no sound/);
    });
  }

  t.test('has tracks to choose from', async (t) => {
    const camera = await startRtspCamera('a:b', { hasMuteTrack: true });
    t.teardown(() => camera.close());
    const address = `rtsp://a:b@127.0.0.1:${camera.port}/s`;
    const second = createRecorder();
    const source = sourceOf(t, address, { track: 2, timing: { ...QUICK, connectMs: 20_000 } });
    await source.start(second);
    await second.until(() => second.samples.length > 2400);
    t.match(source.details?.(), /^track 2 of 2 \(pcm_mulaw, 8000 Hz/);
    await source.stop();
    const third = createRecorder();
    const none = sourceOf(t, address, { track: 3, timing: { ...QUICK, connectMs: 20_000 } });
    await none.start(third);
    t.match(await third.nextStatus('offline'), {
      code: 'no_such_track',
      reason: /has 2 audio tracks \(1: pcm_mulaw.*; 2: pcm_mulaw.*\), so track 3 cannot be taken/,
    });
    await none.stop();
  });

  t.test('whose channels cancel each other out is warned about, once', async (t) => {
    const inverted = join(folder, 'inverted.wav');
    execFileSync('ffmpeg', [
      '-loglevel', 'error', '-i', projectPath('models', 'demo', 'day-at-home.wav'), '-t', '6',
      '-af', 'pan=stereo|c0=c0|c1=-1*c0', inverted,
    ]); // prettier-ignore
    const bytes = readFileSync(inverted);
    const { host } = await serve(t, (response) => response.end(bytes));
    logged.length = 0;
    const recorder = createRecorder();
    const source = sourceOf(t, `http://${host}/inverted.wav`);
    await source.start(recorder);
    await recorder.nextStatus('offline');
    await source.stop();
    t.equal(logged.filter((line) => /cancel each other out.*audio\.channel: 1/.test(line)).length, 1);
  });

  t.test('says that it is tried again', async (t) => {
    const { host } = await serve(t, (response) => response.end(mp3.subarray(0, 6000)));
    logged.length = 0;
    const recorder = createRecorder();
    const source = sourceOf(t, `http://${host}/short.mp3`, { attempts: 2 });
    await source.start(recorder);
    await recorder.until(() => recorder.ended);
    t.match(
      logged.join('\n'),
      /warn No sound from the stream: .* tried again in 1 s, and then less and less often/,
    );
    t.equal(source.counters().restarts, 1, 'and that it ends after the attempts it may make');
  });

  t.test('over TCP', async (t) => {
    const { createServer: createTcp } = await import('node:net');
    const server = createTcp((socket) => {
      socket.on('error', () => undefined);
      socket.write(mp3);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => server.close());
    const recorder = createRecorder();
    const source = sourceOf(t, `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await source.start(recorder);
    await recorder.until(() => recorder.samples.length > 3200);
    await source.stop();
    t.match(recorder.statuses, [{ state: 'online' }]);
  });

  t.test('may be a file, over and over', async (t) => {
    const short = join(folder, 'short.flac');
    execFileSync('ffmpeg', ['-loglevel', 'error', '-i', recording, '-t', '0.3', short]);
    const recorder = createRecorder();
    const source = sourceOf(t, short);
    await source.start(recorder);
    await recorder.until(() => recorder.formats.length >= 2);
    await source.stop();
    t.equal(recorder.formats[0]?.name, short);
  });

  t.test('cannot lead to a local file', async (t) => {
    const list = `#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\nfile://${recording}\n#EXT-X-ENDLIST\n`;
    const { host } = await serve(t, (response) => {
      response.writeHead(200, { 'content-type': 'application/vnd.apple.mpegurl' }).end(list);
    });
    const recorder = createRecorder();
    const source = sourceOf(t, `http://${host}/list.m3u8`);
    await source.start(recorder);
    t.match(await recorder.nextStatus('offline'), { code: 'stream_failed' });
    await source.stop();
    t.same(recorder.formats, []);
  });

  t.test('nobody answers', async (t) => {
    const { host } = await serve(t, () => undefined);
    const recorder = createRecorder();
    const source = sourceOf(t, `http://${host}/mute`, { timing: { ...QUICK, connectMs: 300 } });
    await source.start(recorder);
    t.match(await recorder.nextStatus('offline'), {
      code: 'stream_stalled',
      reason: /no sound came within 0\.3 s/,
    });
    await source.stop();
    t.same(await ffmpegs(), []);
  });

  t.test('stopped while it connects', async (t) => {
    const { host } = await serve(t, () => undefined);
    const source = sourceOf(t, `http://${host}/mute`);
    const recorder = createRecorder();
    await source.start(recorder);
    await source.stop();
    await source.stop();
    t.same(await ffmpegs(), []);
    t.same(recorder.statuses, []);
  });

  t.end();
});

t.test('an ffmpeg that ignores being asked is ended by force', async (t) => {
  const deaf = join(folder, 'deaf-ffmpeg');
  writeFileSync(deaf, '#!/bin/sh\ntrap "" TERM\necho deaf >&2\nwhile :; do sleep 0.1; done\n');
  chmodSync(deaf, 0o755);
  let heard: () => void = () => undefined;
  const isDeaf = new Promise<void>((resolve) => (heard = resolve));
  const source = sourceOf(t, 'udp://127.0.0.1:9', { ffmpeg: deaf, log: { ...log, debug: () => heard() } });
  await source.start(createRecorder());
  await isDeaf;
  t.equal((await ffmpegs()).length, 1);
  await source.stop();
  t.same(await ffmpegs(), []);
});

t.test('without ffmpeg it says so, once, and goes on trying', async (t) => {
  const recorder = createRecorder();
  const missing = join(folder, 'later-ffmpeg');
  const source = sourceOf(t, 'http://127.0.0.1:9/x', { ffmpeg: missing });
  await source.start(recorder);
  t.match(await recorder.nextStatus('offline'), { code: 'ffmpeg_missing', reason: /apt-get install ffmpeg/ });
  // As soon as there is one, it is used: this one fails in its own way.
  writeFileSync(missing, '#!/bin/sh\necho "no such host" >&2\nexit 1\n');
  chmodSync(missing, 0o755);
  t.match(await recorder.nextStatus('offline', 'stream_failed'), { reason: /no such host/ });
  await source.stop();
  t.equal(
    recorder.statuses.filter((status) => 'code' in status && status.code === 'ffmpeg_missing').length,
    1,
  );
});
