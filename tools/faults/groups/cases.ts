import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { join } from 'node:path';
import { createAuthority } from '../../../test/support/certificates.js';
import { cli } from '../../../test/support/cli.js';
import { startRtspCamera } from '../../../test/support/rtsp-camera.js';
import { makeDataDir, said, startService } from '../../../test/support/service.js';
import { skipWithout } from '../../../test/support/tools.js';
import { makeWav } from '../../../test/support/wav.js';
import { stopsWell } from '../ending.js';
import type { Inject } from '../inject.js';
import { beeps, RATE, startBroker, startRig, type Rig } from '../rig.js';
import type { Owner } from '../scope.js';
import { NotHere, type Verdict } from '../verdict.js';
import { secondsUntil, until } from '../../../test/support/waiting.js';

/* Troubles that people met with programs of this kind, rebuilt small. */

function need(...programs: string[]): void {
  const missing = skipWithout(...programs);
  if (missing !== false) throw new NotHere(missing);
}

async function listen(owner: Owner, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  owner.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** The service on a stream, without waiting for anything. */
async function onStream(owner: Owner, address: string) {
  const broker = await startBroker(owner);
  return startRig(owner, {
    url: broker.url,
    settings: { AUDIO_SOURCE: 'stream', AUDIO_FILE: '', AUDIO_LOOP: 'false', AUDIO_URL: address },
    untilTags: false,
  });
}

/** The service at a broker that is set up like this, once it is connected and has tags. */
async function atBroker(owner: Owner, verdict: Verdict, limit: number, config: string): Promise<Rig> {
  const broker = await startBroker(owner, { config: [config] });
  const rig = await startRig(owner, { url: broker.url, untilTags: false });
  const isOnline = () => rig.watcher.states.get('status') === 'online';
  verdict.within(await secondsUntil(isOnline, limit), limit, 'connection after');
  await rig.watcher.nextTags(2, 'the first tags', 60);
  return rig;
}

interface Tagged {
  duration_s: number;
  windows: { tags: { label: string; score: number }[] }[];
}

/** What `soundpost tag` makes of a file. */
async function tagged(
  dataDir: string,
  name: string,
  bytes: Buffer,
): Promise<{ result: Tagged | null; stderr: string }> {
  const path = join(dataDir, name);
  await writeFile(path, bytes);
  const { code, stdout, stderr } = await cli(['tag', '--json', '--top', '3', path], {
    env: { SOUNDPOST_DATA_DIR: dataDir },
  });
  return { result: code === 0 ? (JSON.parse(stdout) as Tagged) : null, stderr };
}

/** A camera of RTSP that sends sound only where the picture has been set up as well, or wants a login. */
async function startCamera(owner: Owner, credentials: string, pictureFirst: boolean) {
  const camera = await startRtspCamera(credentials, pictureFirst ? { withoutPicture: 'mute' } : {});
  owner.teardown(() => camera.close());
  return camera;
}

export const cases = {
  'case-camera-without-picture': async (owner, verdict, limit) => {
    need('ffmpeg');
    const camera = await startCamera(owner, 'u:p', true);
    const rig = await onStream(owner, `rtsp://u:p@127.0.0.1:${camera.port}/s1`);
    const heard = await secondsUntil(() => rig.watcher.states.get('audio/status') === 'online', limit);
    verdict.within(heard, limit, 'sound after');
    verdict.hold((await rig.watcher.request('health')).status === 'ok', 'commands are answered');
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
  'case-wav-oddities': async (owner, verdict) => {
    const dataDir = await makeDataDir(owner);
    const seconds = 4;
    const recipe = { encoding: 's16', sampleRate: RATE, channels: [Array.from(beeps(seconds))] } as const;
    const sizes = makeWav(recipe);
    // Byte rate and block size as if it were of 32 bits; bits and channels decide.
    sizes.writeUInt32LE(RATE * 4, 28);
    sizes.writeUInt16LE(4, 32);
    const odd = await tagged(dataDir, 'sizes.wav', sizes);
    verdict.note(`wrong block size: ${odd.result?.duration_s ?? 'refused'} s`);
    verdict.hold(odd.result?.duration_s === seconds, `a wrong block size leaves ${seconds} s`);
    const less = await tagged(dataDir, 'less.wav', makeWav({ ...recipe, dataBytes: RATE * 2 }));
    verdict.note(`header announces 1 s of ${seconds}: ${less.result?.duration_s ?? 'refused'} s`);
    verdict.hold(less.result?.duration_s === seconds || less.stderr !== '', 'missing sound is told');
    const loud = makeWav({
      ...recipe,
      encoding: 'f32',
      channels: [recipe.channels[0].map((value) => value * 32_768)],
    });
    const range = await tagged(dataDir, 'range.wav', loud);
    verdict.hold(range.stderr !== '', 'float samples in the range of integers are told');
  },
  'case-no-retain': async (owner, verdict, limit) => {
    need('mosquitto');
    const rig = await atBroker(owner, verdict, limit, 'retain_available false');
    await until(() => rig.watcher.events.length >= 2, 'events', 30);
    await stopsWell(rig, verdict);
    verdict.hold(/retain/i.test(said(rig.service.lines)), 'the log says it');
  },
  'case-qos-0': async (owner, verdict, limit) => {
    need('mosquitto');
    const rig = await atBroker(owner, verdict, limit, 'max_qos 0');
    verdict.note(`${rig.watcher.tags.count} tags`);
    verdict.hold(/QoS/i.test(said(rig.service.lines)), 'the log says it');
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
  'case-inverted-stereo': async (owner, verdict) => {
    const dataDir = await makeDataDir(owner);
    const left = Array.from(beeps(4, 0.5));
    const stereo = makeWav({
      encoding: 's16',
      sampleRate: RATE,
      channels: [left, left.map((value) => -value)],
    });
    const { result, stderr } = await tagged(dataDir, 'inverted.wav', stereo);
    verdict.note(
      stderr === '' ? 'nothing is said' : stderr.trim().split('\n')[0]!.replace(dataDir, '').slice(0, 100),
    );
    verdict.hold(result !== null && /cancel|opposite|invert|channel/i.test(stderr), 'a warning');
  },
  'case-ws-query': async (owner, verdict) => {
    const dataDir = await makeDataDir(owner);
    const asked: string[] = [];
    const http = createHttpServer();
    http.on('upgrade', (request, socket) => {
      asked.push(request.url ?? '');
      socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
    });
    const port = await listen(owner, http);
    const service = startService(owner, {
      DATA_DIR: dataDir,
      DEVICE_ID: 'query',
      AUDIO_SOURCE: 'demo',
      MQTT_URL: `ws://127.0.0.1:${port}/mqtt?token=secret-token`,
    });
    await until(() => asked.length > 0, 'a request at the gateway', 30);
    verdict.note(`the gateway saw ${asked[0]!.replace('secret-token', '…')}`);
    verdict.hold(asked[0] === '/mqtt?token=secret-token', 'the query as it is written');
    await secondsUntil(() => service.lines.some(({ message }) => message.includes('401')), 10);
    verdict.hold(!said(service.lines).includes('secret-token'), 'the token is in no log');
    verdict.hold((await service.stop()) === 0, 'ends as it should');
  },
  'case-hash-in-password': async (owner, verdict) => {
    const dataDir = await makeDataDir(owner);
    const addresses = {
      SOUNDPOST_MQTT_URL: 'mqtt://soundpost:1234#s3cretpart@127.0.0.1:21999',
      SOUNDPOST_AUDIO_URL: 'rtsp://admin:1234?s3cretpart@127.0.0.1:21999',
    };
    for (const [name, address] of Object.entries(addresses)) {
      const { code, stdout, stderr } = await cli(['config'], {
        env: { SOUNDPOST_DATA_DIR: dataDir, [name]: address },
      });
      verdict.note(`${name} ends with ${code}`);
      verdict.hold(code === 2, `${name} is refused`);
      verdict.hold(/percent-encode/.test(stderr), `${name}: percent-encode`);
      verdict.hold(!/s3cretpart|1234/.test(stdout + stderr), `${name}: nothing of the password is shown`);
    }
  },
  'case-intermediate-ca': async (owner, verdict) => {
    need('openssl');
    const folder = await makeDataDir(owner);
    const intermediate = createAuthority(folder, 'root').issueAuthority('middle');
    const leaf = intermediate.issue('localhost', { names: ['DNS:localhost', 'IP:127.0.0.1'] });
    const server = createTlsServer({ cert: leaf.cert + intermediate.cert, key: leaf.key }, (socket) =>
      socket.destroy(),
    );
    server.on('tlsClientError', () => undefined);
    const port = await listen(owner, server);
    const { stdout, stderr } = await cli(['doctor'], {
      env: {
        SOUNDPOST_DATA_DIR: folder,
        SOUNDPOST_MQTT_URL: `mqtts://127.0.0.1:${port}`,
        SOUNDPOST_MQTT_CA: intermediate.certFile,
      },
    });
    const line =
      (stdout + stderr).split('\n').find((text) => /root|intermediate/i.test(text)) ??
      'nothing of it is said';
    verdict.note(line.trim().slice(0, 120));
    verdict.hold(
      /intermediate/i.test(stdout + stderr) && /root/i.test(stdout + stderr),
      'it says to add the root',
    );
  },
  'case-camera-password': async (owner, verdict) => {
    need('ffmpeg');
    const camera = await startCamera(owner, 'admin:s3cretpw', false);
    const rig = await onStream(owner, `rtsp://admin:s3cretpw@127.0.0.1:${camera.port}/s1`);
    await until(() => rig.watcher.states.get('audio/status') === 'online', 'sound', 60);
    const shown: string[] = [];
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
      if (command.includes('s3cretpw')) shown.push(command.split('\0')[0]!);
    }
    verdict.note(`in ${shown.length} command lines`);
    verdict.hold(shown.length === 0, `the password is in no command line (${shown.join()})`);
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
  'case-playlist': async (owner, verdict) => {
    need('ffmpeg');
    const server = createHttpServer((request, response) => {
      response.setHeader('content-type', 'audio/x-mpegurl');
      response.end(
        request.url?.endsWith('.pls') === true
          ? '[playlist]\nFile1=http://192.0.2.7/live\n'
          : '#EXTM3U\nhttp://192.0.2.7/live\n',
      );
    });
    const port = await listen(owner, server);
    for (const name of ['x.m3u', 'x.pls']) {
      const rig = await onStream(owner, `http://127.0.0.1:${port}/${name}`);
      const found = await secondsUntil(() => /playlist/i.test(said(rig.service.lines)), 20);
      verdict.hold(found !== null, `${name}: it says that this is a playlist`);
      verdict.hold(
        said(rig.service.lines).includes('192.0.2.7/live'),
        `${name}: and names the address in it`,
      );
      verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
    }
    verdict.note('two kinds of playlist');
  },
} satisfies Record<string, Inject>;
