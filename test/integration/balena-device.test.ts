import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, watch } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import type { EventPayload, InfoPayload, LogPayload, StatePayload } from '../../src/mqtt/contract.js';
import { installBadModel } from '../support/bad-models.js';
import { freePort, startMosquitto } from '../support/broker.js';
import { home } from '../support/home-assistant.js';
import type { HomeEntity } from '../support/home-assistant-schema.js';
import {
  createConsole,
  descendants,
  makeDataDir,
  nothingLeft,
  startService,
  untilGone,
  writeWav,
  type ServiceProcess,
  type Settings,
} from '../support/service.js';
import { beep, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* A balena device without one: the supervisor's environment, its signals, its lock, and what outlives a container. */

const noMosquitto = skipWithout('mosquitto');
const UUID = '8f2bd1c39e5a4d07b6c1f0a2d3e4b5c6';

/** What the supervisor sets, each also under its old name. */
function supervisorEnvironment(lockFolder: string): Record<string, string> {
  const values = {
    DEVICE_UUID: UUID,
    DEVICE_NAME_AT_INIT: 'quiet-meadow',
    DEVICE_TYPE: 'raspberrypi4-64',
    DEVICE_ARCH: 'aarch64',
    APP_ID: '1234567',
    APP_NAME: 'sounds',
    SERVICE_NAME: 'soundpost',
    HOST_OS_VERSION: 'balenaOS 6.5.39',
    SUPERVISOR_VERSION: '17.1.1',
    APP_LOCK_PATH: join(lockFolder, 'updates.lock'),
    SERVICE_KILL_ME_PATH: join(lockFolder, 'handover-complete'),
  };
  const named = (prefix: string) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}_${name}`, value]));
  return { ...named('RESIN'), ...named('BALENA'), BALENA: '1', RESIN: '1', USER: 'root' };
}

/** `soundpost health` with these settings, as the engine calls it in the container. */
function health(settings: Settings): { status: number | null; stdout: string; stderr: string } {
  const env = Object.entries(settings).map(([name, value]) => [`SOUNDPOST_${name}`, value]);
  return spawnSync(process.execPath, [projectPath('dist', 'src', 'main.js'), 'health'], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...(Object.fromEntries(env) as Settings) },
  });
}

t.test('the lives of a device', { skip: noMosquitto, timeout: 110_000 }, async (t) => {
  const port = await freePort();
  const url = `mqtt://127.0.0.1:${port}`;
  let broker = await startMosquitto({ port });
  t.teardown(() => broker.stop());
  const console = await createConsole(t, url, UUID.slice(0, 7));
  const host = temporaryFolder(t);
  const lockFolder = join(host, 'balena');
  const lock = join(lockFolder, 'updates.lock');
  await mkdir(lockFolder);
  const volume = await makeDataDir(t);
  await installToneModel(volume, 'waveform');
  await installToneModel(volume, 'log_mel');
  await installBadModel(volume, 'hang-at-once');
  await writeWav(join(volume, 'sound.wav'), beep(4, 0.5), 16_000);

  const settings = {
    ...looped,
    DATA_DIR: volume,
    AUDIO_FILE: join(volume, 'sound.wav'),
    MQTT_URL: url,
    MODEL_ID: 'tone-waveform',
    HOMEASSISTANT_ENABLED: 'true',
    HOMEASSISTANT_MODELS: '[]',
    INFERENCE_RATE_HZ: '4',
    TAGGING_MIN_GAP_SECONDS: '0.5',
    TAGGING_TOP_K: 'many',
    PORT: 'tcp://10.0.0.7:1883',
  };
  /** A new container: all that it keeps is the volume, and the folder of the lock, which is the host's. */
  const live = (): ServiceProcess => {
    const layer = temporaryFolder(t);
    const env = { ...supervisorEnvironment(lockFolder), HOME: layer, TMPDIR: layer };
    return startService(t, settings, env, ['--keep-going']);
  };
  const inState = (fits: (state: StatePayload) => boolean) => console.on<StatePayload>('state', fits);
  const end = async (service: ServiceProcess) => {
    const children = await descendants(service.pid);
    t.ok(children.length > 0, 'there is something that could be left behind');
    const from = Date.now();
    service.signal('SIGTERM');
    t.equal(await service.exited, 0);
    t.ok(Date.now() - from < 8000, 'before the SIGKILL');
    await nothingLeft(t, children);
  };

  t.comment('The first life: who it is, what is wrong with its settings, the lock around a change of model');
  const first = live();
  const info = await console.on<InfoPayload>('info');
  t.match(info.device, { id: UUID.slice(0, 7), name: 'quiet-meadow' });
  t.match(info.config_problems, [/SOUNDPOST_PORT/, /tagging\.top_k = "many"/]);
  t.equal(info.safe_mode, null);
  t.match(await console.on<LogPayload>('log', ({ message }) => message.includes('top_k')), {
    level: 'error',
    code: 'config',
  });
  t.ok(first.lines.some(({ level, message }) => level === 'warn' && message.includes('SOUNDPOST_PORT')));
  await inState(({ model }) => model === 'tone-waveform');
  await first.line(({ message }) => message.startsWith('Tagging file'));
  await until(() => existsSync(join(volume, 'run', 'health.json')), 'health.json', 30);
  t.match(
    health(settings),
    { status: 0, stdout: /healthy\n$/ },
    'the same settings do not fail the health check',
  );
  const seen: (string | null)[] = [];
  const watcher = watch(lockFolder, (_, name) => seen.push(name));
  t.match(await console.set('model/set', 'tone-logmel'), { status: 'ok' });
  t.strictSame(await readdir(lockFolder), []);
  t.ok(seen.includes('updates.lock'), 'it was there meanwhile');
  watcher.close();
  t.match(await console.set('rate/set', '8'), { status: 'ok' });
  t.match(await console.request('labels/set', { labels: ['Tone 0'] }), { status: 'ok' });
  await writeFile(lock, '');
  await console.publish(`${console.base}/model/set`, 'tone-waveform');
  await first.line(({ message }) => message.startsWith('Waiting for the update lock'));
  await rm(lock);
  t.match(await console.on('response/model/set'), { status: 'ok' });

  t.comment('It is killed in the middle of a change, and then three times more before it has come to work');
  await console.publish(`${console.base}/model/set`, 'bad-hang-at-once');
  await inState(({ swap }) => swap.model === 'bad-hang-at-once');
  // The file it was prepared in goes a moment after the lock is there.
  await until(() => readdirSync(lockFolder).join(' ') === 'updates.lock', 'the lock alone', 30, 5);
  first.signal('SIGKILL');
  await first.exited;
  t.match(JSON.parse(await readFile(lock, 'utf8')), { program: 'soundpost', pid: first.pid });
  for (const life of ['second', 'third', 'fourth']) {
    await console.word('status', (text) => text === 'offline');
    const service = live();
    if (life === 'second') await service.line(({ code }) => code === 'update_lock_leftover');
    await console.word('status', (text) => text === 'online');
    t.strictSame(await readdir(lockFolder), [], 'updates can come again');
    service.signal('SIGKILL');
    await service.exited;
  }

  t.comment('The fifth life is in safe mode until somebody chooses a model');
  const { described } = await home(t, url, UUID.slice(0, 7));
  await console.word('status', (text) => text === 'offline');
  const fifth = live();
  t.match(await console.on<LogPayload>('log', ({ code }) => code === 'safe_mode'), { level: 'error' });
  await console.on<InfoPayload>('info', ({ safe_mode }) => typeof safe_mode === 'string');
  t.match(await inState(({ model, rate_hz }) => model === 'soundpost-home' && rate_hz === 4), {});
  // The labels set over MQTT are kept and not in effect: Home Assistant keeps them too, unavailable.
  const label = (entities: Map<string, HomeEntity>) => entities.get('label_tone_0')?.config['availability'];
  const kept = await described((entities) => (label(entities) as object[] | undefined)?.length === 3);
  t.same(kept.removed, []);
  t.match(await console.set('model/set', 'tone-waveform'), { status: 'ok' });
  await console.on<InfoPayload>('info', ({ safe_mode }) => safe_mode === null);

  t.comment('It hears something while the broker is gone, and is stopped then');
  await broker.stop();
  const before = fifth.lines.length;
  await fifth.line((line) => line.message.startsWith('Heard Tone 0') && fifth.lines.indexOf(line) >= before);
  await end(fifth);

  t.comment('The sixth life has no lock folder: all is as it was, and what was heard is delivered');
  await rm(lockFolder, { recursive: true });
  broker = await startMosquitto({ port });
  const later = await createConsole(t, url, UUID.slice(0, 7));
  const sixth = live();
  t.match(await later.on<EventPayload>('event', ({ late }) => late), { label: 'Tone 0' });
  await later.on<StatePayload>('state', ({ model, rate_hz }) => model === 'tone-waveform' && rate_hz === 8);
  t.match(await later.set('model/set', 'tone-logmel'), { status: 'ok' });
  t.notOk(existsSync(lockFolder));
  await end(sixth);
  await later.word('status', (text) => text === 'offline');
});

t.test('a broker that cannot be meant slows the starts down', async (t) => {
  const settings = { DATA_DIR: await makeDataDir(t), MQTT_URL: 'broker:1883', AUDIO_SOURCE: 'demo' };
  const service = startService(t, settings, {}, ['--keep-going']);
  await service.line(({ message }) => message.startsWith('Ending in 2 s'));
  t.ok(service.lines.some(({ level, message }) => level === 'error' && message.includes('mqtt.url')));
  t.equal(await service.exited, 2);
  const second = startService(t, settings, {}, ['--keep-going']);
  await second.line(({ message }) => message.startsWith('Ending in 4 s'));
  t.equal(await second.stop(), 2, 'a signal ends the wait');
});

t.test('a lock that was left behind goes, however early a start fails', async (t) => {
  const lockFolder = temporaryFolder(t);
  const lock = join(lockFolder, 'updates.lock');
  const env = { BALENA_APP_LOCK_PATH: lock };
  const volume = await makeDataDir(t);
  const spoilt = await makeDataDir(t);
  await writeFile(join(spoilt, 'run'), 'no folder');
  for (const settings of [
    { DATA_DIR: volume, MQTT_URL: 'broker:1883' },
    { DATA_DIR: spoilt, AUDIO_SOURCE: 'demo' },
  ]) {
    await writeFile(lock, '{"program":"soundpost","pid":1,"started":"never","boot_id":"another"}');
    const service = startService(t, settings, env, ['--keep-going']);
    await service.line(({ message }) => message.startsWith('Ending in'));
    t.strictSame(await readdir(lockFolder), []);
    t.ok(service.lines.some(({ code }) => code === 'update_lock_leftover'));
    t.not(await service.stop(), 0);
  }
});

t.test('a stop that takes too long is cut short', async (t) => {
  const dataDir = await makeDataDir(t);
  const run = pathToFileURL(projectPath('dist', 'src', 'cli', 'run.js')).href;
  // A stop ends a process of inference at least, which no limit of a millisecond allows for.
  const script = `
    const { runCommand } = await import(${JSON.stringify(run)});
    const flags = { data_dir: ${JSON.stringify(dataDir)}, 'broker.port': '0', 'audio.source': 'demo', 'log.format': 'json' };
    const context = { env: {}, flags, json: false, stdout: process.stdout };
    process.exitCode = await runCommand(context, { keepGoing: false, shutdownLimitMs: 1 });`;
  const service = spawn(process.execPath, ['--input-type=module', '-e', script]);
  t.teardown(() => service.kill('SIGKILL'));
  let said = '';
  service.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
  await until(
    () => said.includes('Read along'),
    () => `“Read along”; it said ${said}`,
    60,
  );
  const children = await descendants(service.pid ?? -1);
  t.ok(children.length > 0);
  service.kill('SIGTERM');
  t.strictSame(await once(service, 'close'), [1, null]);
  t.match(said, /Stopping takes too long; leaving/);
  // They are killed as it ends, and go a moment later.
  for (const { pid } of children) await untilGone(pid);
});

t.test('SIGTERM while a checkpoint is being converted', { skip: skipWithoutShared() }, async (t) => {
  const lockFolder = temporaryFolder(t);
  const settings = { ...looped, MODELS_MIRROR: sharedPath('checkpoints') };
  const started = await start(t, null, settings, sound(beep(4, 0.5)), {
    BALENA_APP_LOCK_PATH: join(lockFolder, 'updates.lock'),
  });
  const { console, dataDir } = started;
  await console.on<StatePayload>('state', ({ model }) => model === 'tone-waveform');
  await console.publish(`${console.base}/request/model/pull`, '{"id":"mn04_as"}');
  await console.on<StatePayload>('state', ({ swap }) => swap.state === 'converting');
  await stopsCleanly(t, started);
  t.strictSame(await readdir(lockFolder), []);
  const left = (await readdir(join(dataDir, 'models'))).filter((name) => !name.startsWith('.'));
  t.ok(
    left.every((name) => ['tone-waveform', 'mn04_as'].includes(name)),
    `whole or not at all: ${left.join(' ')}`,
  );
});
