import t from 'tap';
import type { CommandData } from '../../src/mqtt/command-specs.js';
import type { EventPayload, InfoPayload } from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import type { Console, Settings } from '../support/service.js';
import { beep, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* Thresholds from what the running service has heard. */

const noMosquitto = skipWithout('mosquitto');
let broker: Mosquitto | undefined;
t.before(async () => {
  if (noMosquitto === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

const beeping: Settings = {
  ...looped,
  INFERENCE_RATE_HZ: '4',
  TAGGING_LABELS: '["Tone 0","Tone 1"]',
  TAGGING_MIN_GAP_SECONDS: '0',
};

const startsOf = (console: Console) =>
  console.all<EventPayload>('event').filter(({ event_type: type }) => type === 'started');
const suggested = async (console: Console, input: object) => {
  const { status, data, error } = await console.request('thresholds/suggest', input);
  if (status !== 'ok') throw new Error(error?.message);
  return (data as unknown as CommandData<'thresholds/suggest'>).suggestions;
};

t.test(
  'what is suggested is what the tagger told, and what is set is in force',
  { skip: noMosquitto },
  async (t) => {
    const started = await start(t, broker!.url, beeping, sound(beep(3, 0.13)));
    const { console } = started;
    await until(() => startsOf(console).length >= 3, 'three sounds', 60);
    await console.set('paused/set', 'ON');
    const told = startsOf(console).length;

    const [tone, other] = await suggested(console, {});
    t.match(tone, { label: 'Tone 0', started: told, would_have_started: told, rests_on: 'little' });
    t.match(other, { label: 'Tone 1', started: 0, would_have_started: 0 });
    t.equal(tone?.heard_hours, other?.heard_hours);
    t.not(tone?.suggested, null, 'above all that was heard, for three in a minute is too often');
    t.equal(tone?.suggested_would_have_started, 0);

    const last = await console.request('event/judge', { id: 'last', right: false });
    t.same(last.data, { id: startsOf(console).at(-1)?.id, label: 'Tone 0', right: false });
    const [judged] = await suggested(console, { label: 'tone_0' });
    t.match(judged?.judged, { right: 0, wrong: 1, suggested_wrong: 0 });
    t.equal(judged?.onsets?.length, 99);

    const unnamed = await console.request('thresholds/apply', {});
    t.match(unnamed.data, { applied: [], left: [{ label: 'Tone 0' }, { label: 'Tone 1' }] });
    const applied = await console.request('thresholds/apply', { label: 'Tone 0' });
    t.match(applied.data, {
      applied: [{ label: 'Tone 0', before: tone?.threshold, after: tone?.suggested }],
    });
    const inForce = () =>
      console
        .all<InfoPayload>('info')
        .at(-1)
        ?.thresholds?.find(({ label }) => label === 'Tone 0');
    await until(() => inForce()?.threshold === tone?.suggested, 'the threshold in force', 20);
    t.equal(inForce()?.from, 'thresholds');
    await console.set('paused/set', 'OFF');
    const from = (await suggested(console, { label: 'Tone 0' }))[0]!.heard_hours;
    await until(
      async () => (await suggested(console, { label: 'Tone 0' }))[0]!.heard_hours > from + 5 / 3600,
      'five more seconds of sound',
      60,
    );
    t.equal(startsOf(console).length, told, 'nothing starts any more');
    t.match(await console.request('thresholds/suggest', { label: 'Tune 1' }), {
      error: { code: 'label_unknown' },
    });
    await stopsCleanly(t, started);

    const next = await started.again();
    await until(async () => (await suggested(next.console, {})).length === 2, 'a model at work', 60);
    const [kept] = await suggested(next.console, { label: 'Tone 0' });
    t.ok(kept!.heard_hours > from, 'what was counted before the restart is there');
    t.equal(kept?.threshold, tone?.suggested);
    t.match(await next.console.request('history/delete', { all: true }), { status: 'ok' });
    const [empty] = await suggested(next.console, { label: 'Tone 0' });
    t.ok(empty!.heard_hours < from, 'and not after everything was deleted');
    await stopsCleanly(t, next);
  },
);

t.test('without a history nothing is suggested', { skip: noMosquitto }, async (t) => {
  const started = await start(t, broker!.url, { ...beeping, HISTORY_ENABLED: 'false' }, sound(beep(3, 0.13)));
  t.match(await started.console.request('thresholds/suggest', {}), { error: { code: 'history_off' } });
  await stopsCleanly(t, started);
});
