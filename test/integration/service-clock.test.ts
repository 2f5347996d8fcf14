import t from 'tap';
import { epochMs, type EventPayload, type LogPayload, type TagsPayload } from '../../src/mqtt/contract.js';
import { startMosquitto } from '../support/broker.js';
import { beep, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { skipWithout } from '../support/tools.js';

const HOURS_MS = 3 * 3_600_000;

/** SIGUSR2 sets the wall clock of the service, and of nobody else, ahead by three hours and back again. */
const CLOCK = `if (process.argv[2] === 'run') {
  const real = Date.now.bind(Date);
  let ahead = 0;
  Date.now = () => real() + ahead;
  process.on('SIGUSR2', () => (ahead = ${HOURS_MS} - ahead));
}`;

t.test(
  'a clock that is set by hours, ahead and back: no event reaches across',
  { skip: skipWithout('mosquitto', 'mosquitto_passwd') },
  async (t) => {
    const broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
    t.teardown(() => broker.stop());
    const settings = { ...looped, INFERENCE_RATE_HZ: '4', TAGGING_LABELS: '["Tone 0"]' };
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(CLOCK)}` };
    const started = await start(t, broker.url, settings, sound(beep(6, 0.5)), env);
    const { service, console } = started;
    for (const way of ['ahead', 'back'] as const) {
      await console.on<EventPayload>('event', ({ event_type }) => event_type === 'started');
      service.signal('SIGUSR2');
      const told = await console.on<LogPayload>('log', ({ code }) => code === 'clock_set');
      t.match(told.message, `The clock went ${way} by 10800 s`);
      await console.on<EventPayload>('event', ({ event_type }) => event_type === 'ended');
      const from = Date.now() + (way === 'ahead' ? HOURS_MS : 0);
      const later = await console.on<EventPayload>(
        'event',
        ({ event_type, detected_at }) => event_type === 'ended' && epochMs(detected_at) > from,
      );
      t.ok(Math.abs(epochMs(later.started_at) - from) < 60_000, 'on the new clock');
      await console.on<TagsPayload>('tags', ({ window }) => Math.abs(epochMs(window.end) - from) < 60_000);
    }
    for (const event of console.all<EventPayload>('event')) {
      if (event.duration_s === null || event.ended_at === null) continue;
      t.ok(event.duration_s < 60, `${event.duration_s} s`);
      t.ok(epochMs(event.ended_at) >= epochMs(event.started_at));
    }
    await stopsCleanly(t, started);
  },
);
