import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { CommandData } from '../../src/mqtt/command-specs.js';
import { epochMs, type EventPayload } from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { filesBelow } from '../support/clips.js';
import type { Console, Settings } from '../support/service.js';
import {
  beep,
  breaches,
  looped,
  pagePort,
  sound,
  start,
  stopsCleanly,
  withPage,
} from '../support/service-rig.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';
import { ask } from '../support/web.js';

/* What the running service remembers of what it heard, and answers over MQTT and over the page. */

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
const beeps = sound(beep(3, 0.3));

type Page = CommandData<'history'>;
type Scores = CommandData<'history/scores'>;

const endedOf = (console: Console) =>
  console.all<EventPayload>('event').filter(({ event_type: type }) => type === 'ended');
const heard = (console: Console, count: number) =>
  until(() => endedOf(console).length >= count, `${count} sounds that have ended`, 60);

/** Everything, page by page, newest first. */
async function everything(request: (input: object) => Promise<Page>, limit: number): Promise<Page['events']> {
  const events: Page['events'] = [];
  let cursor: string | null = null;
  do {
    const page: Page = await request({ limit, ...(cursor !== null && { cursor }) });
    events.push(...page.events);
    cursor = page.cursor;
  } while (cursor !== null);
  return events;
}

const overMqtt = (console: Console) => async (input: object) =>
  (await console.request('history', input)).data as unknown as Page;

/** Whether a text is in a file of the history. */
const isWritten = (dataDir: string, text: string) =>
  [...filesBelow(join(dataDir, 'history')).values()].some((bytes) => bytes.includes(text));

t.test('what was heard is answered over MQTT, page by page', { skip: noMosquitto }, async (t) => {
  const started = await start(t, broker!.url, beeping, beeps);
  const { console } = started;
  await heard(console, 4);
  await console.set('paused/set', 'ON');
  const told = endedOf(console);

  const events = await everything(overMqtt(console), 2);
  t.strictSame(
    events,
    told.map((event) => ({ ...event, right: null })).reverse(),
    'each once, newest first, as it was published',
  );
  const page = await overMqtt(console)({ limit: 2 });
  t.equal(page.events.length, 2);
  t.not(page.cursor, null);
  const [first, second] = told;
  t.strictSame(
    (await overMqtt(console)({ until: second!.started_at })).events.map(({ id }) => id),
    [first!.id],
    'before a time',
  );
  t.equal((await overMqtt(console)({ since: second!.started_at })).events.length, told.length - 1);
  t.equal((await overMqtt(console)({ label: 'tone_0' })).events.length, told.length, 'by the slug');
  t.strictSame((await overMqtt(console)({ label: 'Tone 1' })).events, []);
  t.match(await console.request('history', { since: second!.started_at, until: first!.started_at }), {
    error: { code: 'invalid_request' },
  });

  const right = await console.request('event/judge', { id: first!.id, right: false });
  t.same(right.data, { id: first!.id, label: 'Tone 0', right: false });
  t.equal((await overMqtt(console)({})).events.at(-1)?.right, false);
  t.match(await console.request('event/judge', { id: 'nobody', right: true }), {
    error: { code: 'event_unknown' },
  });

  t.match(await console.request('history/delete', { before: second!.started_at }), { status: 'ok' });
  t.strictSame(
    (await overMqtt(console)({})).events.map(({ id }) => id),
    told
      .slice(1)
      .map(({ id }) => id)
      .reverse(),
  );
  t.match(await console.request('history/delete', { all: true }), { status: 'ok' });
  t.strictSame(await overMqtt(console)({}), { events: [], cursor: null });
  t.notOk(isWritten(started.dataDir, told[2]!.id), 'nothing of it is left in a file');
  await console.set('paused/set', 'OFF');
  await until(async () => (await overMqtt(console)({})).events.length > 0, 'what comes is kept again', 30);
  await stopsCleanly(t, started);
});

t.test('the highest scores of each minute, of what starts no event too', { skip: noMosquitto }, async (t) => {
  const started = await start(t, broker!.url, beeping, beeps);
  const { console } = started;
  await heard(console, 2);
  // The minute is told when it is over, or at the stop.
  await stopsCleanly(t, started);
  const again = await started.again();
  const next = again.console;
  const scoresOf = async (label: string) =>
    (await next.request('history/scores', { label, points: 2000 })).data as unknown as Scores;
  const loud = await scoresOf('Tone 0');
  t.equal(loud.step_seconds, 60);
  t.ok(loud.points.length >= 1);
  const peak = Math.max(...endedOf(console).map((event) => event.peak));
  t.equal(Math.max(...loud.points.map(({ score }) => score)).toFixed(2), peak.toFixed(2));
  for (const { ts } of loud.points) t.equal(epochMs(ts) % 60_000, 0, ts);
  const quiet = await scoresOf('tone_1');
  t.equal(quiet.points.length, loud.points.length, 'of what was not heard too');
  t.ok(quiet.points.every(({ score }) => score < 0.1));
  t.strictSame((await scoresOf('Tone 2')).points, [], 'and of nothing that is not watched');
  await stopsCleanly(t, again);
});

t.test('with no broker to be seen, and over a kill', { skip: noMosquitto }, async (t) => {
  const own = await startMosquitto();
  t.teardown(() => own.stop());
  const started = await start(t, own.url, { ...beeping, ...withPage }, beeps);
  const port = await pagePort(started.service);
  const history = async (at: number, input: object): Promise<Page> => {
    const { json } = await ask(at, '/api/request/history', { body: JSON.stringify(input) });
    return (json as { data: Page }).data;
  };
  await heard(started.console, 1);
  await own.crash();
  await started.service.line(({ level, message }) => level === 'warn' && /connection|broker/i.test(message));
  const before = (await history(port, {})).events.length;
  await until(async () => (await history(port, {})).events.length >= before + 2, 'more without a broker', 60);

  // While something is on.
  await until(
    async () => (await history(port, { limit: 1 })).events[0]?.event_type === 'started',
    'a sound that is on',
    30,
  );
  const known = await everything((input) => history(port, input), 3);
  const [begun, ...over] = known;
  t.ok(over.every(({ event_type: type }) => type === 'ended'));
  await until(() => known.every(({ id }) => isWritten(started.dataDir, id)), 'all of it on the disk', 30, 5);
  started.service.signal('SIGKILL');
  await started.service.exited;
  await own.revive();
  const again = await started.again();
  const kept = await everything((input) => overMqtt(again.console)(input), 500);
  const byId = new Map(kept.map((event) => [event.id, event]));
  for (const event of over) t.strictSame(byId.get(event.id), event, 'it is still known');
  t.match(
    byId.get(begun!.id),
    { event_type: 'ended', started_at: begun!.started_at },
    'and nothing is on for ever',
  );
  t.strictSame(breaches(again.console), []);
  await stopsCleanly(t, again);
});

t.test('switched off: an answer that says so, and nothing on the disk', { skip: noMosquitto }, async (t) => {
  const started = await start(t, broker!.url, { ...beeping, HISTORY_ENABLED: 'false' }, beeps);
  const { console, dataDir } = started;
  await heard(console, 2);
  const requests: [command: string, request: object][] = [
    ['history', {}],
    ['history/scores', { label: 'Tone 0' }],
    ['history/delete', { all: true }],
    ['event/judge', { id: endedOf(console)[0]!.id, right: true }],
  ];
  for (const [command, request] of requests) {
    t.match(await console.request(command, request), {
      status: 'error',
      error: { code: 'history_off', message: /history\.enabled/ },
    });
  }
  await stopsCleanly(t, started);
  t.notOk(existsSync(join(dataDir, 'history')));
});
