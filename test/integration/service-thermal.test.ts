import t from 'tap';
import {
  epochMs,
  type LogPayload,
  type StatePayload,
  type TagsPayload,
  type TelemetryPayload,
} from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import type { Console } from '../support/service.js';
import { beep, gaps, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { makeSysFolder } from '../support/sys-folders.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');
const TEMPERATURE = 'sys/devices/virtual/thermal/thermal_zone0/temp';

t.jobs = 2;

let broker: Mosquitto | undefined;
t.before(async () => {
  if (noMosquitto === false) broker = await startMosquitto();
});
t.teardown(() => broker?.stop());

/** The time between the last two windows, in seconds of sound. */
function hopSeconds(console: Console): number {
  const [a, b] = console.all<TagsPayload>('tags').slice(-2);
  return (epochMs(b!.window.end) - epochMs(a!.window.end)) / 1000 / (b!.seq - a!.seq);
}

const state = (console: Console, fits: (now: StatePayload) => boolean) =>
  console.on<StatePayload>('state', fits, 60_000);

/** Awaits that this temperature has been looked at: every 5 s, while telemetry shows it every second. */
async function isRead(console: Console, celsius: number): Promise<void> {
  for (let count = 0; count < 7; count += 1) {
    await console.on<TelemetryPayload>('telemetry', ({ soc }) => soc.temperature_c === celsius);
  }
}

/** Awaits some windows of this rate: the hop between two of them is 1/rate. */
async function pace(console: Console, rateHz: number): Promise<void> {
  const fits = () => console.all('tags').length > 1 && Math.abs(hopSeconds(console) * rateHz - 1) < 0.02;
  await console.on<TagsPayload>('tags', fits, 120_000);
}

t.test('heat lowers the rate and coolness raises it', { skip: noMosquitto }, async (t) => {
  const sys = makeSysFolder('pi4');
  t.teardown(() => sys.remove());
  const started = await start(
    t,
    broker!.url,
    {
      ...looped,
      INFERENCE_RATE_HZ: '2',
      TELEMETRY_INTERVAL_SECONDS: '1',
      TELEMETRY_SYS_ROOT: sys.sysRoot,
      THERMAL_MIN_RATE_HZ: '1.7',
    },
    async (dataDir) => {
      await sound(beep(5, 0.2))(dataDir);
      await installToneModel(dataDir, 'log_mel');
    },
  );
  const { console } = started;
  await pace(console, 2);
  t.match(await state(console, ({ source }) => source === 'file'), {
    rate_hz: 2,
    effective_rate_hz: 2,
    throttle: { active: false, reason: null },
  });

  sys.setTemperature(78);
  const warm = await state(console, ({ throttle }) => throttle.active);
  t.match(warm, { rate_hz: 2 });
  t.match(warm.throttle.reason, '75 °C');
  t.ok(warm.effective_rate_hz < 2 && warm.effective_rate_hz >= 1.7, `${warm.effective_rate_hz} Hz`);
  t.match(await console.on<LogPayload>('log', ({ code }) => code === 'throttled'), { level: 'warn' });

  sys.setTemperature(84);
  const hot = await state(console, ({ effective_rate_hz }) => effective_rate_hz === 1.7);
  t.match(hot, { rate_hz: 2, throttle: { active: true } });
  await pace(console, 1.7);
  await console.on<TelemetryPayload>(
    'telemetry',
    ({ rate_hz }) => rate_hz.requested === 2 && rate_hz.effective === 1.7,
  );

  // A wish stays a wish, and a model is no way out.
  const reply = await console.set('rate/set', '4');
  t.match(reply, { status: 'ok', data: { rate_hz: 4, effective_rate_hz: 1.7 } });
  t.match(await state(console, ({ rate_hz }) => rate_hz === 4), { effective_rate_hz: 1.7 });
  t.match(await console.set('model/set', 'tone-logmel'), { status: 'ok' });
  await console.on<TagsPayload>('tags', ({ model }) => model === 'tone-logmel');
  await pace(console, 1.7);
  t.match(await console.set('rate/set', '1'), { data: { rate_hz: 1, effective_rate_hz: 1 } });
  t.match(await state(console, ({ rate_hz }) => rate_hz === 1), {
    throttle: { active: false, reason: null },
  });
  await pace(console, 1);
  await console.set('rate/set', '1.8');
  t.ok((await state(console, ({ rate_hz }) => rate_hz === 1.8)).effective_rate_hz <= 1.7);

  // Cooling down while nothing is inferred; all at once would not be believed so soon.
  t.match(await console.set('paused/set', 'ON'), { status: 'ok' });
  for (const celsius of [70, 56, 45]) {
    sys.setTemperature(celsius);
    await isRead(console, celsius);
  }
  const free = await state(
    console,
    ({ throttle, effective_rate_hz }) => !throttle.active && effective_rate_hz > 1,
  );
  t.match(free, { rate_hz: 1.8, effective_rate_hz: 1.8, paused: true, throttle: { reason: null } });
  await console.on<LogPayload>('log', ({ code }) => code === 'throttle_over');
  t.match(await console.set('paused/set', 'OFF'), { status: 'ok' });
  await pace(console, 1.8);
  t.strictSame(gaps(console), [], 'no window is lost by a change of the rate');
  await stopsCleanly(t, started);
});

t.test('flags, and a sensor that vanishes', { skip: noMosquitto }, async (t) => {
  const sys = makeSysFolder('pi5');
  t.teardown(() => sys.remove());
  const started = await start(
    t,
    broker!.url,
    { ...looped, INFERENCE_RATE_HZ: '4', TELEMETRY_INTERVAL_SECONDS: '1', TELEMETRY_SYS_ROOT: sys.sysRoot },
    sound(beep(5, 0.2)),
  );
  const { console } = started;
  await pace(console, 4);
  // A value that telemetry shows and no chip has, for as long as it likes; and none.
  sys.setTemperature(126);
  await isRead(console, 126);
  t.notOk(
    console.all<StatePayload>('state').some(({ effective_rate_hz }) => effective_rate_hz !== 4),
    'nonsense does not move the rate',
  );
  sys.delete(TEMPERATURE);
  sys.setThrottled('50001');
  const low = await state(console, ({ throttle }) => throttle.active);
  t.match(low, { rate_hz: 4, effective_rate_hz: 2 });
  t.match(low.throttle.reason, 'supply');
  await pace(console, 2);
  // The bits since boot are history.
  sys.setThrottled('50000');
  sys.setTemperature(85);
  t.match(await state(console, ({ effective_rate_hz }) => effective_rate_hz === 0.1), {
    throttle: { active: true },
  });
  await stopsCleanly(t, started);

  const off = await start(
    t,
    broker!.url,
    { ...looped, INFERENCE_RATE_HZ: '4', TELEMETRY_SYS_ROOT: sys.sysRoot, THERMAL_ENABLED: 'false' },
    sound(beep(5, 0.2)),
  );
  await off.console.on<TagsPayload>('tags', ({ seq }) => seq > 30);
  t.match(await off.console.set('rate/set', '5'), { data: { rate_hz: 5, effective_rate_hz: 5 } });
  await pace(off.console, 5);
  t.notOk(
    off.console.all<StatePayload>('state').some(({ throttle }) => throttle.active),
    'switched off',
  );
  await stopsCleanly(t, off);
});
