import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { LogPayload, StatePayload, TagsPayload } from '../../src/mqtt/contract.js';
import { installBadModel } from '../support/bad-models.js';
import { freePort, startMosquitto, type Mosquitto } from '../support/broker.js';
import {
  createConsole,
  startedInference,
  isAlive,
  makeDataDir,
  said,
  startService,
} from '../support/service.js';
import { beep, gaps, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');

t.jobs = 3;

let broker: Mosquitto | undefined;
t.before(async () => {
  if (noMosquitto === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

for (const kind of ['crash-later', 'hang-later', 'nan-later'] as const) {
  const skip = noMosquitto || (kind === 'crash-later' && process.arch !== 'x64' && 'cannot crash here');
  t.test(`a model that goes wrong once it is at work: ${kind}`, { skip }, async (t) => {
    const started = await start(t, broker!.url, { ...looped, INFERENCE_RATE_HZ: '4' }, async (dataDir) => {
      await sound(beep(9, 0.5))(dataDir);
      await installBadModel(dataDir, kind);
    });
    const { console } = started;
    const scoreOf = ({ tags }: TagsPayload) => tags.find(({ label }) => label === 'Tone 0')?.score ?? 0;
    // Right after the sound has passed there is time for a swap.
    await console.on<TagsPayload>('tags', (now) => scoreOf(now) > 0.9);
    await console.on<TagsPayload>('tags', (now) => scoreOf(now) < 0.1);
    t.match(await console.set('model/set', `bad-${kind}`), { status: 'ok' });
    const told = await console.on<LogPayload>('log', ({ code }) => code === 'model_given_up', 80_000);
    t.match(told.message, `bad-${kind} is given up`);
    t.match(told.message, 'soundpost-home');
    await console.on<TagsPayload>('tags', ({ model }) => model === 'soundpost-home');
    await console.on<StatePayload>('state', ({ model }) => model === 'soundpost-home');
    t.strictSame(gaps(console), [], 'a file loses nothing by it');
    await stopsCleanly(t, started);
  });
}

t.test(
  'a broker that is not there yet, and one that wants another password',
  { skip: noMosquitto },
  async (t) => {
    const port = await freePort();
    const settings = { ...looped, BROKER_PORT: '0', TELEMETRY_INTERVAL_SECONDS: '1' };
    const dataDir = await makeDataDir(t);
    await installToneModel(dataDir, 'waveform');
    await sound(beep(5, 0.2))(dataDir);
    const all = {
      ...settings,
      DATA_DIR: dataDir,
      DEVICE_ID: 'patient',
      MODEL_ID: 'tone-waveform',
      MQTT_URL: `mqtt://127.0.0.1:${port}`,
      MQTT_USERNAME: 'edge',
      MQTT_PASSWORD: 'not-the-right-one',
    };
    const service = startService(t, all);
    await service.line(
      ({ level, message }) => ['warn', 'error'].includes(level) && message.includes(String(port)),
    );
    await service.line(({ message }) => message.startsWith('Tagging'));
    const strict = await startMosquitto({ port, passwords: { edge: 'right', probe: 'probe' } });
    t.teardown(() => strict.stop());
    const refusal = await service.line(({ message }) => /refuse|password|not authori[sz]ed/i.test(message));
    t.notMatch(said(service.lines), 'not-the-right-one');
    t.ok(['warn', 'error'].includes(refusal.level));
    t.equal(await service.stop(), 0, 'without a broker it stops as well');
    t.equal(service.lines.filter(({ message }) => message === refusal.message).length, 1, 'said once');

    const console = await createConsole(t, strict.url, 'patient', { username: 'probe', password: 'probe' });
    startService(t, { ...all, MQTT_PASSWORD: 'right' });
    await console.word('status', (text) => text === 'online');
    await console.on('tags');
  },
);

t.test('the embedded broker finds its port taken', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const dataDir = await makeDataDir(t);
  const service = startService(t, { DATA_DIR: dataDir, BROKER_PORT: String(port), AUDIO_SOURCE: 'demo' });
  t.equal(await service.exited, 1);
  t.match(said(service.lines), new RegExp(`${port}`));
  t.match(said(service.lines), /broker\.port|mqtt\.url/, 'what to do');
  t.notMatch(said(service.lines), /at .*\.js:\d+/, 'no stack');
});

t.test('the demo plays only where nobody else listens', { skip: noMosquitto }, async (t) => {
  // A folder without any sound device.
  const silent = {
    ALSA_CONFIG_PATH: '/dev/null',
    XDG_RUNTIME_DIR: '/nonexistent',
    PULSE_SERVER: 'unix:/nonexistent',
  };
  const alone = await start(t, null, { AUDIO_SOURCE: 'auto' }, undefined, silent);
  await alone.console.on<StatePayload>('state', ({ source }) => source === 'demo');
  t.ok(alone.service.lines.some(({ level, code }) => level === 'warn' && code === 'demo'));
  await alone.console.on('tags');
  await stopsCleanly(t, alone);

  const real = await start(
    t,
    broker!.url,
    { AUDIO_SOURCE: 'auto', TELEMETRY_INTERVAL_SECONDS: '1' },
    undefined,
    silent,
  );
  await real.console.on<StatePayload>(
    'state',
    ({ source, model }) => source === 'microphone' && model !== null,
  );
  await real.console.on('telemetry');
  t.equal(real.console.texts('audio/status').at(-1), 'offline');
  t.strictSame(real.console.texts('tags'), []);
  await stopsCleanly(t, real);
});

t.test('SIGTERM at any time of the start ends it', async (t) => {
  const dataDir = await makeDataDir(t);
  await installBadModel(dataDir, 'hang-at-once');
  const settings = {
    DATA_DIR: dataDir,
    BROKER_PORT: '0',
    AUDIO_SOURCE: 'demo',
    MODEL_ID: 'bad-hang-at-once',
  };
  const service = startService(t, { ...settings, LOG_LEVEL: 'debug' });
  // The first model hangs while it is tried; the service waits for it.
  const pids = await startedInference(service.pid);
  service.signal('SIGTERM');
  t.equal(await service.exited, 0);
  for (const pid of pids) t.notOk(await isAlive(pid), 'no process is left');
});

t.test(
  'what a killed service left on, and what it could not say at its start',
  { skip: noMosquitto },
  async (t) => {
    const settings = { ...looped, INFERENCE_RATE_HZ: '4', TAGGING_LABELS: '["Tone 0"]' };
    const first = await start(t, broker!.url, settings, sound(beep(9, 0.5)));
    await first.console.word('label/tone_0', (text) => text === 'ON');
    first.service.signal('SIGKILL');
    await first.service.exited;

    const service = startService(t, {
      DATA_DIR: first.dataDir,
      DEVICE_ID: first.id,
      MQTT_URL: broker!.url,
      MODEL_ID: 'not-there',
      AUDIO_SOURCE: 'file',
      AUDIO_FILE: 'sound.wav',
      AUDIO_SPEED: 'max',
      TAGGING_LABELS: '["Speech"]',
    });
    const console = await createConsole(t, broker!.url, first.id);
    await console.word('label/tone_0', (text) => text === 'OFF');
    t.match(await console.on<LogPayload>('log', ({ code }) => code === 'model_unknown'), { level: 'error' });
    t.match(await console.on<StatePayload>('state', ({ model }) => model === 'soundpost-home'), {
      source: 'file',
    });
    await service.line(({ message }) => message.startsWith('The recording is over'));
    t.equal(await console.word('audio/status', (text) => text === 'offline'), 'offline');
    t.equal(await service.stop(), 0);
  },
);

t.test('a stop ends the process, whatever still holds it', { skip: noMosquitto }, async (t) => {
  // Stands for a child that cannot be killed and for a disk that does not answer.
  const held = "data:text/javascript,process.argv[2]==='run'&&setInterval(()=>{},1e8)";
  const env = { NODE_OPTIONS: `--import=${held}` };
  const { service, console } = await start(t, broker!.url, looped, sound(beep(9, 0.5)), env);
  await console.on('tags');
  t.match(await console.request('restart'), { status: 'ok' });
  t.equal(await service.exited, 1);
});

t.test('a health file that cannot be written stops nothing', { skip: noMosquitto }, async (t) => {
  const { service, console, dataDir } = await start(t, broker!.url, looped, sound(beep(9, 0.5)));
  await console.on('tags');
  await rm(join(dataDir, 'run'), { recursive: true });
  await writeFile(join(dataDir, 'run'), 'in the way');
  t.match(await service.line(({ code }) => code === 'health_not_written'), { level: 'warn' });
  const before = console.all<TagsPayload>('tags').length;
  await console.on<TagsPayload>('tags', ({ seq }) => seq > before + 1);
  t.equal(await service.stop(), 0);
});
