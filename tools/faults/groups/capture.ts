import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TelemetryPayload } from '../../../src/mqtt/contract.js';
import {
  noise,
  skipWithoutMicrophone,
  startFileMicrophone,
  type PacedMicrophone,
} from '../../../test/support/microphone.js';
import { isAlive, makeDataDir, residentMb, writeWav } from '../../../test/support/service.js';
import { skipWithout } from '../../../test/support/tools.js';
import { stopsWell } from '../ending.js';
import type { Inject } from '../inject.js';
import { MICROPHONE_RATE, microphoneBeeps, microphoneSettings, startMicrophone } from '../microphone.js';
import { beeps, childOf, RATE, startBroker, startRig, type Rig } from '../rig.js';
import type { Owner } from '../scope.js';
import { NotHere } from '../verdict.js';
import { secondsUntil, until } from '../../../test/support/waiting.js';

/* The microphone and other sources. */

async function withMicrophone(owner: Owner): Promise<Rig & { microphone: PacedMicrophone }> {
  const microphone = await startMicrophone(owner);
  const broker = await startBroker(owner);
  const rig = await startRig(owner, { url: broker.url, settings: microphoneSettings, env: microphone.env });
  await until(() => rig.watcher.states.get('audio/status') === 'online', 'sound at first', 20);
  return { ...rig, microphone };
}

const audioIs = ({ watcher }: Rig, wanted: string, seconds: number): Promise<number | null> =>
  secondsUntil(() => watcher.states.get('audio/status') === wanted, seconds);

const killedOrStopped =
  (signal: NodeJS.Signals): Inject =>
  async (owner, verdict, limit) => {
    const rig = await withMicrophone(owner);
    const pid = await childOf(rig.service.pid, 'capture');
    process.kill(pid, signal);
    if (signal === 'SIGSTOP') verdict.within(await audioIs(rig, 'offline', 30), 30, 'offline after');
    await until(async () => !(await isAlive(pid)), 'the old process is gone', limit);
    verdict.within(await rig.watcher.nextTags(4, 'tags', limit).catch(() => null), limit, 'tags again after');
    verdict.hold((await rig.watcher.request('health')).status === 'ok', 'commands are answered');
    const restarts = () => rig.watcher.json<TelemetryPayload>('telemetry').audio?.restarts ?? 0;
    verdict.hold((await secondsUntil(() => restarts() > 0, 10)) !== null, 'audio.restarts counts');
    await stopsWell(rig, verdict);
  };

const sourceFault =
  (harm: (m: PacedMicrophone) => unknown, heal: (m: PacedMicrophone) => unknown): Inject =>
  async (owner, verdict, limit) => {
    const rig = await withMicrophone(owner);
    await harm(rig.microphone);
    verdict.within(await audioIs(rig, 'offline', 30), 20, 'offline after');
    verdict.hold((await rig.watcher.request('health')).status === 'ok', 'commands are answered');
    const before = rig.watcher.states.get('telemetry');
    verdict.hold(
      (await secondsUntil(() => rig.watcher.states.get('telemetry') !== before, 10)) !== null,
      'telemetry comes',
    );
    await heal(rig.microphone);
    verdict.within(await audioIs(rig, 'online', limit), limit, 'online after');
    await rig.watcher.nextTags(4, 'tags', 30);
    await stopsWell(rig, verdict);
  };

/** By how much the memory of the service grows in some seconds of a flood, in MB; the first reading is taken once it runs. */
export async function growthMb(rig: Rig, seconds: number): Promise<number> {
  const before = residentMb(rig.service.pid);
  let most = before;
  await secondsUntil(() => {
    most = Math.max(most, residentMb(rig.service.pid));
    return false;
  }, seconds);
  return most - before;
}

/** Serves random bytes, without end, until it is told to serve a recording. */
async function startStreamServer(owner: Owner, wav: Buffer): Promise<{ url: string; heal(): void }> {
  let good = false;
  const server = createServer((request, response) => {
    const timer = setInterval(() => {
      if (good) response.destroy();
      else response.write(randomBytes(16_384));
    }, 10);
    response.on('close', () => clearInterval(timer));
    request.on('error', () => undefined);
    if (!good) return;
    clearInterval(timer);
    response.end(wav);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  owner.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/live.wav`, heal: () => void (good = true) };
}

export const capture = {
  'capture-killed': killedOrStopped('SIGKILL'),
  'capture-stopped': killedOrStopped('SIGSTOP'),
  'microphone-dead': sourceFault(
    (m) => m.killSource(),
    (m) => m.startSource(),
  ),
  'microphone-stalled': sourceFault(
    (m) => m.stallSource(),
    (m) => m.resumeSource(),
  ),
  'microphone-silent': sourceFault(
    (m) => m.play(new Int16Array(MICROPHONE_RATE)),
    (m) => m.play(microphoneBeeps()),
  ),
  'microphone-flooding': async (owner, verdict) => {
    const missing = skipWithoutMicrophone();
    if (missing !== false) throw new NotHere(missing);
    const flood = await startFileMicrophone({
      samples: noise(MICROPHONE_RATE * 5),
      sampleRate: MICROPHONE_RATE,
      channels: 1,
    });
    owner.teardown(() => flood.stop());
    const broker = await startBroker(owner);
    const rig = await startRig(owner, { url: broker.url, settings: microphoneSettings, env: flood.env });
    const growth = await growthMb(rig, 12);
    verdict.note(`memory grew by ${growth.toFixed(0)} MB in 12 s`);
    verdict.hold(growth < 60, 'memory grows by less than 60 MB');
    verdict.hold((await rig.watcher.request('health')).status === 'ok', 'commands are answered');
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
  'stream-garbage': async (owner, verdict, limit) => {
    const missing = skipWithout('ffmpeg');
    if (missing !== false) throw new NotHere(missing);
    const broker = await startBroker(owner);
    const dataDir = await makeDataDir(owner);
    const long = new Float32Array(RATE * 60);
    for (let at = 0; at < long.length; at += RATE * 4) long.set(beeps(), at);
    await writeWav(join(dataDir, 'long.wav'), long, RATE);
    const server = await startStreamServer(owner, await readFile(join(dataDir, 'long.wav')));
    const rig = await startRig(owner, {
      url: broker.url,
      dataDir,
      settings: { AUDIO_SOURCE: 'stream', AUDIO_FILE: '', AUDIO_LOOP: 'false', AUDIO_URL: server.url },
      untilTags: false,
    });
    await until(() => (rig.watcher.json<TelemetryPayload>('telemetry').uptime_s ?? 0) > 10, 'the start', 40);
    const growth = await growthMb(rig, 15);
    verdict.note(`memory grew by ${growth.toFixed(0)} MB`);
    verdict.hold(growth < 60, 'memory grows by less than 60 MB');
    verdict.hold(rig.watcher.states.get('audio/status') === 'offline', 'audio is offline');
    const told = () => rig.service.lines.some(({ message }) => message.includes('cannot be read as audio'));
    verdict.hold((await secondsUntil(told, 30)) !== null, 'the log says why');
    server.heal();
    verdict.within(await audioIs(rig, 'online', limit), limit, 'sound after');
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
} satisfies Record<string, Inject>;
