/** What the page computes, without a browser. */
import fc from 'fast-check';
import t from 'tap';
import { countedFirings, countFirings, stepsOf, type ScorePoint } from '../../src/page/lib/firings.js';
import {
  dateOf,
  dayStart,
  hrefOf,
  isDate,
  readRoute,
  shiftDate,
  type Route,
} from '../../src/page/lib/routes.js';
import {
  connected,
  noDevice,
  offFraction,
  take,
  watchedOf,
  withEvent,
  type HeardEvent,
} from '../../src/page/model/device.js';
import { problemsOf } from '../../src/page/model/problems.js';
import { clipSpectrogram } from '../../src/page/sound/log-mel.js';
import { colourColumns, colourTable } from '../../src/page/spectrogram/colours.js';
import { createColumnRing, rangeOf, readColumns } from '../../src/page/spectrogram/columns.js';
import { de } from '../../src/page/texts/de.js';
import { en } from '../../src/page/texts/en.js';
import { createFormats } from '../../src/page/texts/formats.js';
import { topicExamples } from '../../tools/docs/mqtt/examples.js';

const MINUTE = 60_000;
const minutes = (scores: readonly (number | null)[]): ScorePoint[] =>
  scores.flatMap((score, index) => (score === null ? [] : [{ atMs: index * MINUTE, score }]));

t.test('how often a threshold would have fired', (t) => {
  const count = (scores: readonly (number | null)[], threshold: number): number =>
    countFirings(minutes(scores), threshold, 0.7, MINUTE);
  t.equal(count([], 0.5), 0);
  t.equal(count([0.1, 0.6, 0.1, 0.6], 0.5), 2);
  t.equal(count([0.6, 0.4, 0.6], 0.5), 1, 'above 0.35 it goes on');
  t.equal(count([0.6, 0.3, 0.6], 0.5), 2);
  t.equal(count([0.6, null, 0.6], 0.5), 2, 'where nothing was heard it ends');
  t.equal(count([0.5], 0.5), 1, 'the threshold itself fires');
  t.equal(count([0, 0], 0), 1);
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1, noNaN: true })),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (scores, threshold) => {
        const fired = count(scores, threshold);
        const over = scores.filter((score) => score >= threshold).length;
        return fired <= over && fired > 0 === over > 0;
      },
    ),
  );
  t.end();
});

t.test('what the device has counted is taken where it is about the same time', (t) => {
  const onsets = Array.from({ length: 99 }, (_, n) => 99 - n);
  t.equal(countedFirings({ onsets, heardMs: 95 }, 0.01, 100), 99);
  t.equal(countedFirings({ onsets, heardMs: 95 }, 0.57, 100), 43, 'a product that is a little off');
  t.equal(countedFirings({ onsets, heardMs: 95 }, 0.99, 100), 1);
  t.equal(countedFirings({ onsets, heardMs: 80 }, 0.5, 100), null, 'too little was counted');
  t.equal(countedFirings({ onsets, heardMs: 95 }, 0, 100), null);
  t.equal(countedFirings({ onsets, heardMs: 95 }, 1, 100), null);
  t.end();
});

t.test('a line of scores holds each to its end and breaks at gaps', (t) => {
  const { seconds, scores } = stepsOf(minutes([0.1, 0.2, null, 0.3]), MINUTE);
  t.same(seconds, [0, 60, 119.999, 120, 180, 239.999, 240]);
  t.same(scores, [0.1, 0.2, 0.2, null, 0.3, 0.3, null]);
  t.same(stepsOf([], MINUTE), { seconds: [], scores: [] });
  t.end();
});

t.test('addresses within the page are read as they are written', (t) => {
  const routes: Route[] = [
    { view: 'now' },
    { view: 'day', date: null },
    { view: 'day', date: '2026-02-28' },
    { view: 'event', id: 'a/b?&#"', at: '2026-05-01T12:00:00.000Z' },
    { view: 'history', label: 'Baby cry, infant cry & more', source: 'yard' },
    { view: 'history', label: null, source: null },
    { view: 'device' },
    { view: 'health' },
  ];
  for (const route of routes) t.same(readRoute(hrefOf(route)), route, hrefOf(route));
  t.same(readRoute(''), { view: 'now' });
  t.same(readRoute('#/day?date=2026-02-31'), { view: 'day', date: null }, 'no such day');
  t.same(readRoute('#/event?id=x&at=never'), { view: 'day', date: null });
  fc.assert(
    fc.property(fc.string(), (text) => {
      readRoute(text);
    }),
  );
  t.end();
});

t.test('days of the calendar', (t) => {
  t.equal(shiftDate('2026-03-01', -1), '2026-02-28');
  t.equal(shiftDate('2026-12-31', 1), '2027-01-01');
  t.equal(shiftDate('2026-03-29', 1), '2026-03-30', 'a day of 23 hours is one');
  t.equal(dateOf(dayStart('2026-10-25')), '2026-10-25');
  t.notOk(isDate('2026-13-01'));
  t.notOk(isDate('today'));
  t.end();
});

const ended = topicExamples.event! as HeardEvent;
const started: HeardEvent = { ...ended, event_type: 'started', ended_at: null, duration_s: null };

t.test('what the feed brings', (t) => {
  let device = noDevice;
  const bring = (key: string, topic: string, payload: unknown, source?: string): void => {
    device = take(device, { key, topic, payload, source });
  };
  bring('state', 'state', topicExamples.state);
  bring('tags', 'tags', topicExamples.tags);
  bring('label', 'label/dog', 'ON');
  bring('label', 'label/dog', 'ON');
  bring('source/label', 'source/yard/label/cat', 'ON', 'yard');
  t.same(device.sources['main']?.on, ['dog']);
  t.same(device.sources['yard']?.on, ['cat']);
  bring('label', 'label/dog', 'OFF');
  t.same(device.sources['main']?.on, []);
  t.equal(device.sources['main']?.tags, topicExamples.tags);
  t.same(connected(device).sources['yard']?.on, [], 'a new connection begins anew');
  bring('telemetry', 'telemetry', topicExamples.telemetry);
  bring('telemetry', 'telemetry', topicExamples.telemetry);
  t.equal(device.readings.length, 1, 'what is told again after a new connection counts once');
  bring('source/tags', 'x', topicExamples.tags, '__proto__');
  t.equal(Object.getPrototypeOf(device.sources), Object.prototype, 'a name is only a name');
  const before = device;
  bring('install', 'install/x', {});
  t.equal(device, before);
  t.end();
});

t.test('an end takes the place of its beginning, in the order of time', (t) => {
  const later: HeardEvent = { ...ended, id: 'later', started_at: '2026-11-22T21:56:00.000Z' };
  let events = withEvent([], started);
  events = withEvent(events, later);
  events = withEvent(events, ended);
  t.same(
    events.map(({ id, event_type: type }) => [id, type]),
    [
      ['later', 'ended'],
      [ended.id, 'ended'],
    ],
  );
  t.same(withEvent(events, started), events, 'a beginning that comes late changes nothing');
  t.equal(withEvent([{ ...ended, right: false }], ended)[0]?.right, false, 'what was said about it stays');
  t.end();
});

t.test('what is watched, groups as one', (t) => {
  const info = topicExamples.info!;
  t.same(watchedOf(info, null), [
    { name: 'Dog', labels: ['Dog'], threshold: 0.43, from: 'label_set', isGroup: false },
    {
      name: 'Alarm',
      labels: ['Smoke detector, smoke alarm', 'Siren'],
      threshold: 0.4,
      from: 'group',
      isGroup: true,
    },
  ]);
  const bySource = {
    ...info,
    thresholds: info.thresholds!.map((entry, index) => ({
      ...entry,
      source: index === 0 ? 'yard' : 'nursery',
    })),
  };
  t.same(
    watchedOf(bySource, 'yard').map(({ name }) => name),
    ['Dog'],
  );
  t.equal(offFraction(null), 0.7);
  t.equal(offFraction({ ...info, config: { tagging: { off_fraction: 0.5 } } }), 0.5);
  t.end();
});

t.test('problems in words, in both languages', (t) => {
  const state = {
    ...topicExamples.state!,
    paused: true,
    throttle: { active: true, reason: 'It is 81 °C.' },
    stand_in: { for: 'big', reason: 'It hung.', retry_at: '2026-11-22T21:56:00.000Z' },
  };
  const telemetry = { ...topicExamples.telemetry!, outbox: { queued: 3, dropped: 0 } };
  const error = {
    ts: '2026-11-22T21:55:00.000Z',
    level: 'error' as const,
    message: 'The disk is full.',
    code: 'disk_full',
  };
  const later = Date.parse('2026-11-22T23:00:00.000Z');
  for (const texts of [en, de]) {
    const problems = problemsOf(
      {
        ...noDevice,
        connection: 'lost',
        audio: 'offline',
        state,
        telemetry: { ...telemetry, soc: { ...telemetry.soc, under_voltage: true } },
        logs: [{ ...error, level: 'warn' }, error],
        info: { ...topicExamples.info!, safe_mode: 'The model is broken.', config_problems: ['x is odd'] },
      },
      texts,
      () => '12:00',
      Date.parse('2026-11-22T21:56:00.000Z'),
    );
    t.same(
      problems.map(({ id }) => id),
      [
        'connection',
        'audio',
        'safe_mode',
        'config0',
        'stand_in',
        'log',
        'voltage',
        'throttle',
        'paused',
        'outbox',
      ],
    );
    t.ok(problems.every(({ text }) => text.length > 3 && !text.includes('undefined')));
  }
  t.same(
    problemsOf({ ...noDevice, connection: 'live', audio: 'online', logs: [error] }, en, String, later),
    [],
  );
  t.end();
});

t.test('columns of the spectrogram', (t) => {
  const message = {
    start: '2026-11-22T21:56:00.000Z',
    column_ms: 10,
    bands: 2,
    columns: 2,
    low: -100,
    high: 155,
    data: Buffer.from([0, 255, 100, 50]).toString('base64'),
  };
  const columns = readColumns(message)!;
  t.same([...columns.values], [-100, 155, 0, -50]);
  t.equal(readColumns({ ...message, columns: 3 }), null, 'too few values');
  t.equal(readColumns({ ...message, bands: 0 }), null);
  const ring = createColumnRing({ bands: 2, columnMs: 10, seconds: 0.04 });
  ring.push(columns);
  ring.push({ ...columns, startMs: columns.startMs + 30 });
  t.equal(ring.written, 5, 'a column that did not come has its place');
  t.equal(ring.endMs, columns.startMs + 50);
  t.same([...ring.values.subarray(0, 2)], [0, -50], 'the newest takes the place of the oldest');
  t.ok(Number.isNaN(ring.values[4]!));
  const range = rangeOf(Float32Array.from({ length: 1000 }, (_, at) => at))!;
  t.ok(range.low >= 90 && range.low <= 110 && range.high > 980);
  t.equal(rangeOf(new Float32Array([NaN, NaN])), null);
  const out = new Uint8ClampedArray(4 * 4);
  colourColumns(Float32Array.of(0, 1, NaN, 0.5), 2, { low: 0, high: 1 }, colourTable(false), out);
  t.same([...out.subarray(0, 3)], [4, 38, 30], 'loud is dark, and high is at the top');
  t.same([...out.subarray(12, 15)], [246, 248, 247], 'what is missing is quiet');
  t.end();
});

t.test('the spectrogram of a clip shows a tone where and when it is', (t) => {
  const rate = 32_000;
  const samples = Float32Array.from({ length: 2 * rate }, (_, at) =>
    at < rate ? 0 : Math.sin((2 * Math.PI * 3000 * at) / rate),
  );
  const { bands, columns, values } = clipSpectrogram(samples, rate);
  const at = (second: number): number[] => {
    const column = Math.floor((second / 2) * columns) * bands;
    return [...values.subarray(column, column + bands)];
  };
  const tone = at(1.5);
  const loudest = tone.indexOf(Math.max(...tone));
  t.ok(loudest > bands / 3 && loudest < (2 * bands) / 3, `band ${loudest} of ${bands}`);
  t.ok(tone[loudest]! - at(0.5)[loudest]! > 60);
  t.ok(tone[loudest]! - tone[5]! > 30);
  t.ok(
    clipSpectrogram(new Float32Array(0), rate).values.every(Number.isFinite),
    'nothing at all is no trouble',
  );
  const long = clipSpectrogram(new Float32Array(60 * rate), rate);
  t.ok(long.columns <= 1500);
  t.end();
});

t.test('German has every text of English, and neither has an empty one', (t) => {
  function shapeOf(texts: object): unknown[] {
    return Object.entries(texts).map(([name, text]: [string, unknown]) => {
      if (typeof text === 'object' && text !== null) return [name, shapeOf(text)];
      if (typeof text === 'string') t.ok(text.trim() !== '', name);
      return [name, typeof text];
    });
  }
  t.same(shapeOf(de), shapeOf(en));
  t.end();
});

t.test('numbers and times as people write them', (t) => {
  const english = createFormats('en-GB', en);
  const german = createFormats('de-DE', de);
  t.equal(english.score(0.5), '0.50');
  t.equal(german.score(0.5), '0,50');
  t.equal(german.seconds(4.56), '4,6 s');
  t.equal(english.bytes(19_708_753), '19.7 MB');
  t.equal(english.bytes(2.5e9), '2.5 GB');
  t.equal(german.uptime(3 * 86_400), '3 Tage');
  t.equal(english.uptime(7200), '2 h');
  t.equal(english.uptime(90), '1 min');
  t.end();
});
