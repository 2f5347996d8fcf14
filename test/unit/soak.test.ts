/** The judgement of a long run: the checks of what arrives, the histories, the verdict, the page. */
import fc from 'fast-check';
import { t } from 'tap';
import { createEventCheck, createFaultList, createTagsCheck } from '../../src/bench/soak/checks.js';
import { createClockCheck } from '../../src/bench/soak/clock.js';
import { createLatencyHistory } from '../../src/bench/soak/latency-history.js';
import { escapeHtml, renderPlot, ticks } from '../../src/bench/soak/plot.js';
import { memoryAfterSwaps, memoryGrowth, type ProcessSample } from '../../src/bench/soak/samples.js';
import { createSeries, meanOf } from '../../src/bench/soak/series.js';
import { createSwaps } from '../../src/bench/soak/swaps.js';
import { DEFAULT_LIMITS, isKept, judgeSoak, type SoakFindings } from '../../src/bench/soak/verdict.js';
import { isoTime, type EventPayload, type TagsPayload } from '../../src/mqtt/contract.js';

function tags(seq: number, changes: { model?: string; endMs?: number; startMs?: number } = {}): TagsPayload {
  const { model = 'a', endMs = 1e12 + seq * 1000, startMs = endMs - 5000 } = changes;
  return {
    ts: isoTime(endMs),
    seq,
    model,
    window: { start: isoTime(startMs), end: isoTime(endMs) },
    tags: [],
    level_dbfs: null,
    latency_ms: 1,
  };
}

function checkRow(row: readonly TagsPayload[], hopSeconds: number | null = 1) {
  const faults = createFaultList();
  const check = createTagsCheck({ model: 'a', hopSeconds, faults });
  for (const window of row) check.window(window);
  return { ...check.summary(), faults: faults.summary() };
}

void t.test('the row of windows', (t) => {
  t.match(checkRow([tags(7), tags(8), tags(9)]), {
    windows: 3,
    firstSeq: 7,
    lastSeq: 9,
    missing: 0,
    faults: { total: 0 },
  });
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 2, max: 98 }), { maxLength: 40 }), (lost) => {
      const row = Array.from({ length: 100 }, (_, index) => index)
        .filter((seq) => !lost.includes(seq))
        .map((seq) => tags(seq));
      const { missing, faults } = checkRow(row);
      return missing === lost.length && faults.total === 0;
    }),
  );
  t.strictSame(checkRow([tags(1), tags(5)]).gaps, [{ after: 1, before: 5 }]);
  t.match(checkRow([tags(1), tags(1)]).faults, { byKind: { order: 1 } }, 'twice');
  t.match(checkRow([tags(2), tags(1)]).faults, { byKind: { order: 1, time: 1 } }, 'backwards');
  t.match(
    checkRow([tags(1), tags(2, { endMs: 1e12 + 2100 })]).faults,
    { byKind: { time: 1 } },
    'off the grid',
  );
  t.match(checkRow([tags(1), tags(2, { endMs: 1e12 + 2100 })], null).faults, { total: 0 }, 'by a clock');
  t.match(checkRow([tags(1, { startMs: 1e12 + 1000 })]).faults, { byKind: { time: 1 } }, 'no length');
  t.match(checkRow([tags(1), tags(2, { model: 'b' })]).faults, { byKind: { model: 1 } }, 'another model');
  t.end();
});

void t.test('the model that should answer', (t) => {
  const faults = createFaultList();
  const check = createTagsCheck({ model: 'a', hopSeconds: 1, faults });
  check.window(tags(1));
  check.swapBegins('b');
  check.window(tags(2));
  check.window(tags(3, { model: 'b' }));
  t.equal(faults.summary().total, 0, 'either of them during the swap');
  check.window(tags(4, { model: 'a' }));
  t.equal(faults.summary().total, 1, 'not the old one after the new one');
  check.swapBegins('a');
  check.swapFailed();
  check.window(tags(5, { model: 'a' }));
  t.equal(faults.summary().total, 2, 'not the new one where it failed');
  t.end();
});

void t.test('pairs of events', (t) => {
  const event = (id: string, changes: Partial<EventPayload> = {}): EventPayload => ({
    id,
    event_type: 'started',
    label: 'Dog',
    mid: null,
    group: null,
    score: 1,
    peak: 1,
    started_at: isoTime(1e12),
    ended_at: null,
    duration_s: null,
    model: 'a',
    late: false,
    ...changes,
  });
  const end = (id: string, changes: Partial<EventPayload> = {}) =>
    event(id, { event_type: 'ended', ended_at: isoTime(1e12 + 500), duration_s: 0.5, ...changes });
  const check = (...events: EventPayload[]) => {
    const faults = createFaultList();
    const made = createEventCheck({ faults });
    for (const one of events) made.event(one);
    const before = made.summary();
    made.close();
    return { ...before, faults: faults.summary().total };
  };
  t.match(check(event('1'), end('1'), end('1')), { started: 1, ended: 1, repeated: 1, open: 0, faults: 0 });
  t.match(check(event('1'), event('1'), end('1')), { started: 1, repeated: 1, faults: 0 });
  t.match(check(event('1')), { open: 1, faults: 1 }, 'no end');
  t.match(check(event('1'), end('1', { label: 'Cat' })), { faults: 1 }, 'ends as another sound');
  t.match(check(event('1'), end('1', { ended_at: isoTime(1e12 - 1) })), { faults: 1 }, 'ends too soon');
  const later = { started_at: isoTime(1e12 + 100) };
  t.match(check(event('1'), end('1'), end('2', later)), { faults: 1 }, 'no beginning');
  t.match(
    check(end('1'), event('2', later), end('2', later)),
    { faults: 0 },
    'begun before the subscription',
  );
  t.end();
});

void t.test('the history of latency keeps its counts and its quantiles, however long it is', (t) => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0.01, max: 5000, noNaN: true }), { minLength: 1 }), (values) => {
      const history = createLatencyHistory({ limit: 8 });
      values.forEach((ms, index) => history.record('a', index, ms));
      const figures = history.figures('a')!;
      const sorted = [...values].sort((a, b) => a - b);
      const p99 = sorted[Math.ceil(0.99 * sorted.length) - 1]!;
      const slices = history.slices();
      return (
        figures.count === values.length &&
        figures.max === sorted.at(-1) &&
        Math.abs(figures.p99 / p99 - 1) < 0.003 &&
        slices.length <= 8 &&
        slices.reduce((sum, slice) => sum + slice.figures.count, 0) === values.length
      );
    }),
  );
  const history = createLatencyHistory({ limit: 100 });
  for (let index = 0; index < 10_000; index++) history.record('a', index, index < 9000 ? 10 : 20);
  t.ok(Math.abs(history.figures('a', 0, 0.1)!.p99 - 10) < 0.05);
  t.ok(Math.abs(history.figures('a', 0.9, Infinity)!.p50 - 20) < 0.1, 'the last tenth by itself');
  t.equal(history.figures('b'), null);
  t.end();
});

void t.test('a series is thinned and keeps its mean', (t) => {
  const series = createSeries<number>({ limit: 16, merge: (parts) => meanOf(parts) ?? 0 });
  for (let index = 0; index < 1000; index++) series.add(index);
  const readings = series.readings();
  t.ok(readings.length <= 17 && readings.length >= 8);
  t.ok(
    readings.every((value, index) => index === 0 || value > readings[index - 1]!),
    'in order',
  );
  t.equal(meanOf([1, null, 3]), 2);
  t.equal(meanOf([null]), null);
  t.end();
});

void t.test('memory at the end against memory after the first twentieth', (t) => {
  const samples = (mb: (share: number) => number): ProcessSample[] =>
    Array.from({ length: 200 }, (_, index) => ({
      audioSeconds: index + 1,
      wallSeconds: index,
      rssMb: { service: mb(index / 200) },
      cpuPercent: null,
    }));
  t.match(memoryGrowth(samples((share) => (share < 0.04 ? 50 : 100))), [{ startMb: 100, growth: 1 }]);
  const [leak] = memoryGrowth(samples((share) => 100 + 100 * share));
  t.ok(leak!.growth > 1.7 && leak!.growth < 1.9);
  t.strictSame(memoryGrowth(samples(() => 1).slice(0, 4)), [], 'too few');

  const stint = (model: string, endSeconds: number, rssMb: number) => ({ model, endSeconds, rssMb });
  t.equal(memoryAfterSwaps([stint('a', 1, 50), stint('b', 20, 10), stint('a', 30, 100)], 100), null);
  t.equal(
    memoryAfterSwaps([stint('a', 10, 100), stint('b', 20, 10), stint('a', 30, 110), stint('b', 40, 10)], 100),
    1.1,
  );
  t.end();
});

void t.test('the clock', (t) => {
  const clock = createClockCheck({ hopSeconds: 1 });
  for (let seq = 1; seq <= 500; seq++) clock.window(seq, seq * 1000);
  t.equal(clock.figures().ppm, null, 'too short to tell');
  for (let seq = 501; seq <= 4000; seq++) clock.window(seq, seq * 1000);
  t.ok(clock.figures().ppm! < 1e-6);
  clock.restart();
  for (let seq = 1; seq <= 4000; seq++) clock.window(seq, seq * 1000.5 + (seq % 7) * 10);
  const { ppm, spreadMs } = clock.figures();
  t.ok(Math.abs(ppm! - 500) < 5, 'half a millisecond a second, through jitter');
  t.ok(spreadMs > 1990 && spreadMs < 2100);
  t.end();
});

void t.test('swaps are asked for in time, one after the other, and timed', (t) => {
  const sent: [string, string][] = [];
  const failed: string[] = [];
  let now = 0;
  const swaps = createSwaps({
    models: ['a', 'b'],
    everySeconds: 10,
    untilSeconds: 100,
    send: (...message) => sent.push(message),
    begins: () => 7,
    failed: ({ error }) => failed.push(String(error)),
    now: () => now,
  });
  swaps.window(9, 'a');
  t.equal(swaps.busy, false);
  swaps.window(10, 'a');
  t.strictSame(sent, [['b', 'swap-1']]);
  swaps.window(11, 'a');
  now = 500;
  swaps.reply({ status: 'ok', data: { load_ms: 30 }, transaction: 'another' });
  swaps.window(12, 'b');
  t.equal(swaps.busy, true, 'until its own reply');
  swaps.reply({ status: 'ok', data: { load_ms: 30 }, transaction: 'swap-1' });
  t.equal(swaps.busy, false);
  swaps.window(35, 'b');
  swaps.reply({ status: 'error', error: { code: 'x', message: 'no' }, data: {}, transaction: 'swap-2' });
  swaps.window(36, 'b');
  t.equal(swaps.busy, false, 'those that were missed meanwhile are not made up for');
  t.strictSame(failed, ['no']);
  swaps.window(100, 'b');
  t.equal(swaps.busy, false, 'none at the end: it has to come');
  t.match(swaps.summary(), {
    asked: 2,
    failed: 1,
    slowestMs: 500,
    list: [
      { from: 'a', to: 'b', loadMs: 30, tookMs: 500, windowsMeanwhile: 1, rssBeforeMb: 7, error: null },
      { from: 'b', to: 'a', error: 'no' },
    ],
  });
  t.end();
});

void t.test('the verdict', (t) => {
  const good: SoakFindings = {
    end: 'complete',
    windows: 1000,
    missing: 0,
    dropped: 0,
    restarts: 0,
    faults: 0,
    latencyDrift: [{ model: 'a', drift: 1.1 }],
    memory: [{ process: 'service', growth: 1.05 }],
    eventLoopP99Ms: 19.9,
    swaps: { asked: 3, failed: 0, memory: 1.05 },
    clock: { ppm: 1000 },
  };
  const kept = (changes: Partial<SoakFindings>, limits = DEFAULT_LIMITS) =>
    isKept(judgeSoak({ ...good, ...changes }, limits));
  t.ok(kept({}), 'at the limits');
  const bad: Partial<SoakFindings>[] = [
    { end: 'failed' },
    { windows: 0 },
    { missing: 1 },
    { dropped: 1 },
    { restarts: 1 },
    { faults: 1 },
    { latencyDrift: [...good.latencyDrift, { model: 'b', drift: 1.11 }] },
    { memory: [{ process: 'service', growth: 1.06 }] },
    { eventLoopP99Ms: 20 },
    { swaps: { asked: 0, failed: 0, memory: null } },
    { swaps: { asked: 3, failed: 1, memory: 1 } },
    { swaps: { asked: 3, failed: 0, memory: 1.06 } },
    { clock: { ppm: 1001 } },
  ];
  for (const changes of bad) t.notOk(kept(changes), JSON.stringify(changes));
  t.ok(kept({ end: 'interrupted' }), 'an early end is judged by what was seen');
  t.ok(kept({ dropped: null, restarts: null, eventLoopP99Ms: null, memory: [], clock: { ppm: null } }));
  t.ok(kept({ restarts: 2 }, { ...DEFAULT_LIMITS, restarts: 2 }), 'a limit that was set');
  t.end();
});

void t.test('plots', (t) => {
  t.strictSame(ticks(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  fc.assert(
    fc.property(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), (to) => {
      const made = ticks(0, to);
      return made.length >= 3 && made.length <= 7 && made.every((tick) => tick >= 0 && tick <= to * 1.001);
    }),
  );
  t.equal(escapeHtml('<a href="x">&\''), '&#60;a href=&#34;x&#34;&#62;&#38;&#39;');
  const plot = { title: 'a<b', xLabel: 'h', yLabel: 'ms' };
  t.match(renderPlot({ ...plot, lines: [{ name: 'x', points: [[0, null]] }] }), /Nothing was measured/);
  const svg = renderPlot({
    ...plot,
    limit: 5,
    lines: [
      {
        name: 'x',
        points: [
          [0, 1],
          [1, null],
          [2, 3],
          [3, 2],
        ],
      },
    ],
  });
  t.notMatch(svg, /NaN|a<b/);
  t.match(
    svg,
    /class="line" stroke="#\w+" d="M[\d. ]+M[\d. ]+L[\d. ]+"/,
    'broken where nothing was measured',
  );
  t.match(svg, /class="limit"/);
  t.end();
});
