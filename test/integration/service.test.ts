import { readFile } from 'node:fs/promises';
import t from 'tap';
import {
  epochMs,
  type EventPayload,
  type InfoPayload,
  type LogPayload,
  type StatePayload,
  type TagsPayload,
  type TelemetryPayload,
} from '../../src/mqtt/contract.js';
import { installBadModel, type BadModelKind } from '../support/bad-models.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { inferencePids, installMn04, isAlive, type Console } from '../support/service.js';
import { beep, gaps, looped, sound, start, stopsCleanly, windowMs } from '../support/service-rig.js';
import { sharedPath, skipWithoutShared } from '../support/shared.js';
import { makeSysFolder } from '../support/sys-folders.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');
const noShared = skipWithoutShared();

t.jobs = 3;

let broker: Mosquitto | undefined;
t.before(async () => {
  if (noMosquitto === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

for (const kind of ['mosquitto', 'embedded broker'] as const) {
  const skip = kind === 'mosquitto' ? noMosquitto : false;
  t.test(`a recording in a loop, on ${kind}`, { skip }, async (t) => {
    const sys = makeSysFolder('pi4');
    t.teardown(() => sys.remove());
    const started = await start(
      t,
      kind === 'mosquitto' ? broker!.url : null,
      {
        ...looped,
        INFERENCE_RATE_HZ: '4',
        TELEMETRY_INTERVAL_SECONDS: '1',
        TELEMETRY_SYS_ROOT: sys.sysRoot,
        TAGGING_LABELS: '["Tone 0"]',
        TAGGING_MIN_GAP_SECONDS: '0.5',
      },
      sound(beep(5, 0.2)),
    );
    const { service, console, dataDir } = started;
    await installToneModel(dataDir, 'log_mel');
    const ok = { status: 'ok' };

    t.match(await console.on<InfoPayload>('info'), { device: { id: started.id }, schema_version: 1 });
    t.match(await console.on<StatePayload>('state', ({ model }) => model !== null), {
      model: 'tone-waveform',
      source: 'file',
      rate_hz: 4,
      paused: false,
    });

    // What is heard.
    const begun = await console.on<EventPayload>('event', (event) => event.event_type === 'started');
    t.match(begun, { label: 'Tone 0', model: 'tone-waveform', late: false });
    await console.word('label/tone_0', (text) => text === 'ON');
    const ended = await console.on<EventPayload>('event', (event) => event.event_type === 'ended');
    t.equal(ended.id, begun.id);
    t.ok(ended.duration_s! > 0.5 && ended.duration_s! < 4, `${ended.duration_s} s`);
    await console.word('label/tone_0', (text) => text === 'OFF');
    const tags = await console.on<TagsPayload>('tags', (now) => windowMs(now) === 1000);
    t.ok(Math.abs(epochMs(tags.ts) - epochMs(tags.window.end)) < 5000, 'stamped with the wall clock');
    await console.on('level');
    const telemetry = await console.on<TelemetryPayload>('telemetry', (now) => now.latency_ms.count > 0);
    t.match(telemetry, { soc: { temperature_c: 61.245, frequency_mhz: 1800, throttled: false } });
    t.ok(telemetry.host.memory_rss_mb! > 50);
    sys.setTemperature(70.5);
    await console.on<TelemetryPayload>('telemetry', (now) => now.soc.temperature_c === 70.5);

    // What cannot be.
    const refused: [string, string, string][] = [
      ['rate/set', '0', '0.01'],
      ['rate/set', 'fast', 'number'],
      ['paused/set', 'maybe', 'ON'],
      ['threshold/set', '1.5', '1'],
      ['model/set', 'no-such-model', 'no-such-model'],
      ['model/set', '../../etc', 'letters'],
    ];
    for (const [name, payload, word] of refused) {
      const reply = await console.set(name, payload);
      t.equal(reply.status, 'error', `${name} ${payload}`);
      t.match(reply.error?.message, word);
    }
    t.match(await console.request('no/such'), { status: 'error' });

    // A pause ends what is on.
    await console.word('label/tone_0', (text) => text === 'ON');
    t.match(await console.set('paused/set', 'ON'), ok);
    await console.word('label/tone_0', (text) => text === 'OFF');
    t.match(await console.set('paused/set', 'OFF'), ok);

    // A change of model. The other one listens for other tones.
    const [oldPid] = await inferencePids(service.pid);
    t.match(await console.set('model/set', 'tone-logmel'), ok);
    const fresh = await console.on<TagsPayload>('tags', ({ model }) => model === 'tone-logmel');
    t.equal(windowMs(fresh), 1000, 'a full window at once');
    t.notOk(await isAlive(oldPid!), 'the old process is gone');
    t.equal((await inferencePids(service.pid)).length, 1);
    await console.on<StatePayload>(
      'state',
      ({ model, swap }) => model === 'tone-logmel' && swap.state === 'idle',
    );
    t.strictSame(gaps(console), []);
    t.strictSame(await droppedWindows(console), 0);

    // A process that dies.
    const [pid] = await inferencePids(service.pid);
    process.kill(pid!, 'SIGKILL');
    t.match(await console.on<LogPayload>('log', ({ code }) => code === 'inference_died'), { level: 'error' });
    await console.on<TelemetryPayload>('telemetry', ({ inference }) => inference.restarts === 1);
    await console.on('tags');
    t.strictSame(gaps(console), [], 'a file waits for the next process');

    // Settings.
    t.match(await console.set('rate/set', '8'), ok);
    await console.on<StatePayload>('state', ({ rate_hz }) => rate_hz === 8);
    t.match(await console.set('threshold/set', '0.4'), ok);
    await console.on<StatePayload>('state', ({ threshold }) => threshold === 0.4);
    t.match(await console.set('paused/set', 'ON'), ok);
    await console.on<StatePayload>('state', ({ paused }) => paused);
    const before = console.all('tags').length;
    await console.on<TelemetryPayload>('telemetry');
    await console.on<TelemetryPayload>('telemetry', ({ latency_ms }) => latency_ms.count === 0);
    t.equal(console.all('tags').length, before, 'a pause is silent');

    await stopsCleanly(t, started);

    // The same after a restart.
    const stale = { ...console.all<StatePayload>('state').at(-1)!, model: 'stale', paused: false };
    if (kind === 'mosquitto') {
      await console.publish(`${console.base}/state`, JSON.stringify(stale), { retain: true });
    }
    const second = await started.again();
    const remembered = { rate_hz: 8, threshold: 0.4, paused: true, source: 'file' };
    if (kind === 'mosquitto') {
      const first = await second.console.on<StatePayload>('state', ({ model }) => model !== 'stale');
      t.match(first, { ...remembered, model: null }, 'no earlier state any more while the model loads');
    }
    t.match(
      await second.console.on<StatePayload>('state', ({ model }) => model === 'tone-logmel'),
      remembered,
    );
    t.match(await second.console.set('paused/set', 'OFF'), ok);
    await second.console.on<TagsPayload>('tags', ({ model }) => model === 'tone-logmel');

    if (kind === 'mosquitto') {
      second.service.signal('SIGKILL');
      await second.console.word('status', (text) => text === 'offline');
    } else {
      await stopsCleanly(t, second);
    }
  });
}

async function droppedWindows(console: Console): Promise<number> {
  return (await console.on<TelemetryPayload>('telemetry')).windows.dropped;
}

t.test('a real network is swapped in, and bad ones are not', { skip: noMosquitto || noShared }, async (t) => {
  const bad: BadModelKind[] = [
    'random-bytes',
    'truncated',
    'wrong-output-width',
    'wrong-digest',
    'nan-output',
  ];
  if (process.arch === 'x64') bad.push('crash-at-once');
  const started = await start(
    t,
    broker!.url,
    { ...looped, INFERENCE_RATE_HZ: '2', TELEMETRY_INTERVAL_SECONDS: '1' },
    async (dataDir) => {
      await sound(beep(6, 0.2))(dataDir);
      await installMn04(dataDir);
      for (const kind of bad) await installBadModel(dataDir, kind);
    },
  );
  const { service, console } = started;
  await console.on('tags');
  const [pid] = await inferencePids(service.pid);
  for (const kind of bad) {
    const reply = await console.set('model/set', `bad-${kind}`);
    t.equal(reply.status, 'error', kind);
    t.match(reply.error?.message, /tone-waveform goes on/, kind);
  }
  t.strictSame(await inferencePids(service.pid), [pid], 'nothing but the old process');
  await console.on<StatePayload>('state', ({ swap }) => swap.state === 'idle');
  await console.on<TagsPayload>('tags', ({ seq }) => seq > 20);

  await console.publish(`${console.base}/model/set`, 'mn04_as');
  const refused = await console.request('model/set', { id: 'bad-truncated' });
  t.match(refused, { status: 'error', error: { code: 'busy' } });
  t.match(await console.on('response/model/set'), { status: 'ok', data: { model: 'mn04_as' } });
  const fresh = await console.on<TagsPayload>('tags', ({ model }) => model === 'mn04_as');
  t.equal(windowMs(fresh), 10_000, 'a full window at once');
  t.notOk(await isAlive(pid!));
  await console.on<TagsPayload>('tags', ({ seq }) => seq > fresh.seq + 3);
  t.strictSame(gaps(console), []);
  t.equal(await droppedWindows(console), 0);
  t.ok(
    console.all<TagsPayload>('tags').every(({ model }) => ['tone-waveform', 'mn04_as'].includes(model)),
    'no bad model ever answered',
  );
  await stopsCleanly(t, started);
});

t.test(
  'the streaming path agrees with the original network',
  { skip: noMosquitto || noShared },
  async (t) => {
    const labels = (await readFile(sharedPath('labels', 'class_labels_indices.csv'), 'utf8'))
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(',')[1]!);
    for (const name of ['speech', 'music', 'typing']) {
      const bytes = await readFile(sharedPath('golden', 'real', `${name}_full.f32`));
      const expected = new Float32Array(
        bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
      );
      const { service, console } = await start(
        t,
        broker!.url,
        {
          AUDIO_SOURCE: 'file',
          AUDIO_FILE: sharedPath('golden', 'audio', `${name}.wav`),
          AUDIO_SPEED: 'max',
          MODEL_ID: 'mn04_as',
          TAGGING_TOP_K: '527',
        },
        installMn04,
      );
      const { tags } = await console.on<TagsPayload>('tags', (now) => windowMs(now) === 10_000);
      const got = new Map(tags.map(({ mid, score }) => [mid, score]));
      t.equal(got.size, 527);
      const worst = labels.reduce(
        (most, mid, k) => Math.max(most, Math.abs(got.get(mid)! - expected[k]!)),
        0,
      );
      t.ok(worst < 0.01, `${name}: ${worst}`);
      const top = [...expected.keys()].sort((a, b) => expected[b]! - expected[a]!).slice(0, 5);
      t.strictSame(
        tags.slice(0, 5).map(({ mid }) => mid),
        top.map((k) => labels[k]),
        name,
      );
      await service.line(({ message }) => message.includes('recording is over'));
      t.equal(await service.stop(), 0);
    }
  },
);

t.test('info says how coarse times are with the windows in force', { skip: noMosquitto }, async (t) => {
  const started = await start(
    t,
    broker!.url,
    { ...looped, MODEL_ID: 'fixed', INFERENCE_WINDOW_SECONDS: '2.5', INFERENCE_RATE_HZ: '4' },
    async (dataDir) => {
      await sound(beep(5, 0.2))(dataDir);
      await installToneModel(dataDir, 'waveform', { id: 'fixed', windowSeconds: 1.5, fixedWindow: true });
      await installToneModel(dataDir, 'log_mel', { id: 'patient', windowSeconds: 4, minSeconds: 3 });
    },
  );
  const { console } = started;
  /** Once its windows are full. */
  const isSaid = async (id: string, seconds: number) => {
    await console.on<TagsPayload>('tags', (tags) => tags.model === id && windowMs(tags) === seconds * 1000);
    t.match(await console.request('info'), { data: { time_resolution_s: seconds } }, id);
  };
  await isSaid('fixed', 1.5);
  for (const [id, seconds] of [['tone-waveform', 2.5] as const, ['patient', 3] as const]) {
    t.match(await console.set('model/set', id), { status: 'ok' });
    await isSaid(id, seconds);
  }
  await stopsCleanly(t, started);
});
