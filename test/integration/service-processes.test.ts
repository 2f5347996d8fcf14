import { execFileSync } from 'node:child_process';
import t from 'tap';
import { readHealth } from '../../src/service/health-file.js';
import type { InfoPayload, LogPayload, StatePayload, TagsPayload } from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { inferencePids, isAlive, untilGone, type Console } from '../support/service.js';
import { beep, looped, sound, start, stillOn, stopsCleanly, unpaired } from '../support/service-rig.js';
import { cannotMount, mountSmallDisk } from '../support/small-disk.js';
import { skipWithout } from '../support/tools.js';

/*
 * What may happen to the processes of the service: no handles, stops, kills, signals; and what it says of its health.
 */

const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');
const noPrlimit = skipWithout('prlimit');

t.jobs = 3;

let broker: Mosquitto | undefined;
t.before(async () => {
  if (noMosquitto === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

interface HealthData {
  healthy: boolean;
  checks: { name: string; ok: boolean; detail: string }[];
}

/** Asks over MQTT until the answer fits; each question waits for its answer. */
async function healthUntil(console: Console, fits: (health: HealthData) => boolean): Promise<HealthData> {
  const until = performance.now() + 60_000;
  for (;;) {
    const { data } = await console.request('health');
    const health = data as unknown as HealthData;
    if (fits(health)) return health;
    if (performance.now() > until) throw new Error(`the health is still ${JSON.stringify(health)}`);
  }
}

const inference = ({ checks }: HealthData) => checks.find(({ name }) => name === 'inference')!;

t.test(
  'without file handles the service goes on, and comes back by itself',
  { skip: noMosquitto || noPrlimit },
  async (t) => {
    const started = await start(t, broker!.url, { ...looped, INFERENCE_RATE_HZ: '4' }, sound(beep(3, 0.5)));
    const { service, console } = started;
    await console.on<TagsPayload>('tags');
    // Fewer than it has: whatever it wants to open or start from now on is refused.
    execFileSync('prlimit', ['--pid', String(service.pid), '--nofile=5:4096']);
    const [pid] = await inferencePids(service.pid);
    process.kill(pid!, 'SIGKILL');
    t.match(await console.on<LogPayload>('log', ({ code }) => code === 'no_resources'), {
      message: /file handles.*Starting the model again/,
    });
    t.match(await console.request('audio/list'), { status: 'error', error: { code: 'no_resources' } });
    t.match(await console.set('model/set', 'soundpost-home'), { status: 'error' });
    await console.on<LogPayload>('log', ({ code }) => code === 'no_resources');
    t.notOk(inference(await healthUntil(console, () => true)).ok);
    const outside = await readHealth(started.dataDir, Date.now());
    t.match(outside, { healthy: false, checks: [{ detail: /file handles/ }] });
    execFileSync('prlimit', ['--pid', String(service.pid), '--nofile=4096:4096']);
    const before = console.all('tags').length;
    await console.on<TagsPayload>(
      'tags',
      ({ model }) => model === 'tone-waveform' && console.all('tags').length > before,
    );
    await healthUntil(console, ({ healthy }) => healthy);
    t.notOk(
      console.all<LogPayload>('log').some(({ code }) => code === 'model_given_up'),
      'it was no fault of the model',
    );
    await stopsCleanly(t, started);
  },
);

t.test(
  'a model that is only held up is unhealthy, and at work again afterwards',
  { skip: noMosquitto },
  async (t) => {
    const started = await start(t, broker!.url, { ...looped, INFERENCE_RATE_HZ: '4' }, sound(beep(3, 0.5)));
    const { service, console, dataDir } = started;
    await console.on<TagsPayload>('tags');
    t.match(await readHealth(dataDir, Date.now()), { healthy: true });
    const [pid] = await inferencePids(service.pid);
    process.kill(pid!, 'SIGSTOP');
    const ill = await healthUntil(console, (health) => !inference(health).ok);
    t.match(inference(ill).detail, /tone-waveform has not answered for 1\d s .*hangs|overloaded/);
    t.match(await readHealth(dataDir, Date.now()), { healthy: false, checks: [{ ok: true }] });
    await console.on<LogPayload>('log', ({ message }) => /held by a signal/.test(message));
    const before = console.all('tags').length;
    await console.on<TagsPayload>(
      'tags',
      ({ model }) => model === 'tone-waveform' && console.all('tags').length > before,
    );
    t.notOk(await isAlive(pid!));
    await healthUntil(console, ({ healthy }) => healthy);
    t.notOk(console.all<LogPayload>('log').some(({ code }) => code === 'model_given_up'));
    await stopsCleanly(t, started);
  },
);

t.test(
  'a service that is stopped hangs; neither a full disk nor a clock makes it',
  { skip: noMosquitto || cannotMount() },
  async (t) => {
    const disk = mountSmallDisk(t, '4m');
    const started = await start(t, broker!.url, {
      DATA_DIR: disk.folder,
      MODEL_ID: 'soundpost-home',
      AUDIO_SOURCE: 'demo',
    });
    const { service, console } = started;
    await console.on<TagsPayload>('tags');
    await healthUntil(console, ({ healthy }) => healthy);
    disk.fill();
    await service.line(({ code }) => code === 'health_not_written');
    const hour = 3_600_000;
    for (const now of [Date.now(), Date.now() + hour, Date.now() - hour]) {
      t.match(await readHealth(disk.folder, now), { healthy: true, age: 0 });
    }
    process.kill(service.pid, 'SIGSTOP');
    t.match(await readHealth(disk.folder, Date.now(), { answerMs: 500 }), {
      healthy: false,
      checks: [{ detail: /hangs/ }],
    });
    process.kill(service.pid, 'SIGCONT');
    t.match(await readHealth(disk.folder, Date.now()), { healthy: true });
    disk.free();
    await stopsCleanly(t, started);
  },
);

for (const signals of [
  ['SIGHUP'],
  ['SIGQUIT'],
  ['SIGHUP', 'SIGHUP'],
  ['SIGINT', 'SIGINT'],
  ['SIGTERM', 'SIGHUP'],
] as const) {
  t.test(`${signals.join(' and ')} at once: an orderly end`, { skip: noMosquitto }, async (t) => {
    const settings = { ...looped, INFERENCE_RATE_HZ: '4', TAGGING_LABELS: '["Tone 0"]' };
    const { service, console } = await start(t, broker!.url, settings, sound(beep(3, 0.5)));
    await console.word('label/tone_0', (text) => text === 'ON');
    for (const signal of signals) service.signal(signal);
    t.equal(await service.exited, 0);
    await console.word('status', (text) => text === 'offline');
    t.strictSame(stillOn(console), []);
    t.strictSame(unpaired(console), []);
  });
}

t.test('who asks again a while later does not want to wait', { skip: noMosquitto }, async (t) => {
  // Five seconds pass with the first signal, and the second one follows it before anything else can happen.
  const impatience = `if (process.argv[2] === 'run') {
    const now = performance.now.bind(performance);
    process.once('SIGTERM', () => setImmediate(() => {
      Object.defineProperty(performance, 'now', { value: () => now() + 5000 });
      process.kill(process.pid, 'SIGTERM');
    }));
  }`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(impatience)}` };
  const { service, console } = await start(t, broker!.url, looped, sound(beep(3, 0.5)), env);
  await console.on('tags');
  // A process that does not end when it is asked to makes the stop a slow one.
  const [pid] = await inferencePids(service.pid);
  process.kill(pid!, 'SIGSTOP');
  service.signal('SIGTERM');
  t.equal(await service.exited, 1);
  // The shell that holds the list of children kills it, which it learns of by the end of the service.
  await untilGone(pid!);
});

t.test(
  'three kills within two minutes of good work are no loop of starts',
  { skip: noMosquitto },
  async (t) => {
    const settings = { ...looped, INFERENCE_RATE_HZ: '4' };
    let life = await start(t, broker!.url, settings, sound(beep(3, 0.5)), {}, ['--keep-going']);
    t.match(await life.console.set('rate/set', '8'), { status: 'ok' });
    for (let kill = 0; kill < 4; kill += 1) {
      await life.service.line(({ message }) => message.startsWith('Heard Tone 0'));
      life.service.signal('SIGKILL');
      await life.service.exited;
      life = await life.again();
    }
    t.match(await life.console.on<InfoPayload>('info'), { safe_mode: null });
    t.match(await life.console.on<StatePayload>('state', ({ model }) => model === 'tone-waveform'), {
      rate_hz: 8,
    });
    t.equal(await life.service.stop(), 0);
  },
);
