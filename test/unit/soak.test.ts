/** The judgement of a long run: the checks of what arrives, the histories, the verdict, the page. */
import fc from 'fast-check';
import { t } from 'tap';
import { createEventCheck, createFaultList, createTagsCheck } from '../../src/bench/soak/checks.js';
import { createClockCheck } from '../../src/bench/soak/clock.js';
import { soakHtml } from '../../src/bench/soak/html.js';
import { createLatencyHistory } from '../../src/bench/soak/latency-history.js';
import { createMonitor } from '../../src/bench/soak/monitor.js';
import { escapeHtml, niceRange, niceTicks } from '../../src/bench/page/svg.js';
import { renderPlot } from '../../src/bench/page/line-plot.js';
import {
  closingLine,
  headline,
  reportTables,
  type SoakReport,
  type SoakSettings,
} from '../../src/bench/soak/soak-report.js';
import { memoryAfterSwaps, memoryGrowth, type ProcessSample } from '../../src/bench/soak/samples.js';
import { createSeries, meanOf } from '../../src/bench/soak/series.js';
import { createSwaps } from '../../src/bench/soak/swaps.js';
import { DEFAULT_LIMITS, isKept, judgeSoak, type SoakFindings } from '../../src/bench/soak/verdict.js';
import {
  isoTime,
  type EventPayload,
  type TagsPayload,
  type TelemetryPayload,
} from '../../src/mqtt/contract.js';

function tags(seq: number, changes: { model?: string; endMs?: number; startMs?: number } = {}): TagsPayload {
  const { model = 'a', endMs = 1e12 + seq * 1000, startMs = endMs - 5000 } = changes;
  return {
    ts: isoTime(endMs),
    seq,
    model,
    window: { start: isoTime(startMs), end: isoTime(endMs) },
    tags: [],
    now: [],
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
    detected_at: isoTime(1e12 + 500),
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
  const clock = createClockCheck({ rateHz: 1 });
  const run = (from: number, to: number, endMs: (seq: number) => number) => {
    for (let seq = from; seq <= to; seq++) clock.window(seq, endMs(seq));
  };
  run(1, 500, (seq) => seq * 1000);
  clock.rate(1);
  t.equal(clock.figures().ppm, null, 'too short to tell');
  run(501, 4000, (seq) => seq * 1000);
  clock.rate(1);
  t.ok(Math.abs(clock.figures().ppm!) < 1e-6);

  for (const [name, sign] of [
    ['too slow', 1],
    ['too fast', -1],
  ] as const) {
    const drifting = createClockCheck({ rateHz: 1 });
    for (let seq = 1; seq <= 4000; seq++) drifting.window(seq, seq * (1000 + sign * 0.5) + (seq % 7) * 10);
    t.equal(drifting.figures().ppm, null, 'not before the service has said its rate');
    drifting.rate(1);
    const { ppm, spreadMs } = drifting.figures();
    t.ok(Math.abs(ppm! - sign * 500) < 5, `half a millisecond a second through jitter: ${name}`);
    t.ok(spreadMs > 1940 && spreadMs < 2100);
  }
  t.end();
});

void t.test('the clock at rates that change', (t) => {
  const clock = createClockCheck({ rateHz: 1 });
  let [seq, ms] = [0, 0];
  /** Windows at a rate of a clock that is 200 ppm slow, and then what the service says. */
  const work = (hz: number, windows: number, saidHz = hz) => {
    for (let n = 0; n < windows; n++) clock.window((seq += 1), (ms += 1000.2 / hz));
    clock.rate(saidHz);
  };
  work(0.7, 30);
  t.equal(clock.figures().spreadMs, 0, 'below the wish from the start: those windows are not counted');
  for (let report = 0; report < 40; report++) work(0.7, 21);
  t.ok(Math.abs(clock.figures().ppm! - 200) < 1e-3, 'a steady lower rate');
  // The rate changes between two reports.
  for (let report = 0; report < 40; report++) {
    work(0.7, 10, 0.4);
    work(0.4, 10);
    work(0.4, 5, 0.7);
    work(0.7, 20);
  }
  t.ok(Math.abs(clock.figures().ppm! - 200) < 1e-3, 'and one that goes up and down');
  ms += 5000;
  clock.restart();
  for (let report = 0; report < 10; report++) work(0.7, 20);
  const { ppm, spreadMs } = clock.figures();
  t.ok(Math.abs(ppm! - 200) < 1e-3, 'sound that was interrupted is no drift');
  t.ok(spreadMs < 400);
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
    times: [{ model: 'b', count: 1, meanMs: 500, slowestMs: 500 }],
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
    swaps: { asked: 3, failed: 0, slowestMs: 5000, memory: 1.05 },
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
    { swaps: { asked: 0, failed: 0, slowestMs: null, memory: null } },
    { swaps: { asked: 3, failed: 1, slowestMs: 1, memory: 1 } },
    { swaps: { asked: 3, failed: 0, slowestMs: 1, memory: 1.06 } },
    { clock: { ppm: 1001 } },
    { clock: { ppm: -1001 } },
  ];
  for (const changes of bad) t.equal(kept(changes), false, JSON.stringify(changes));
  t.ok(kept({ end: 'interrupted' }), 'an early end is judged by what was seen');
  const unknown = { dropped: null, restarts: null, eventLoopP99Ms: null, memory: [], clock: { ppm: null } };
  t.equal(kept(unknown), null, 'what was not measured is neither missed nor kept');
  t.equal(kept({ ...unknown, missing: 1 }), false);
  t.ok(kept({}, { ...DEFAULT_LIMITS, swapMs: 5000 }), 'the slowest swap is judged where it is asked for');
  t.notOk(kept({}, { ...DEFAULT_LIMITS, swapMs: 4999 }));
  t.ok(kept({ restarts: 2 }, { ...DEFAULT_LIMITS, restarts: 2 }), 'a limit that was set');
  t.end();
});

const SETTINGS: SoakSettings = {
  hours: 1,
  speed: 1,
  model: 'a',
  swap: null,
  source: 'demo',
  broker: 'embedded',
  rateHz: 1,
  limits: DEFAULT_LIMITS,
};

function telemetry(
  changes: { hz?: number; dropped?: number; loopP99?: number; audioRestarts?: number } = {},
): TelemetryPayload {
  const { hz = 1, dropped = 0, loopP99 = 2, audioRestarts = 0 } = changes;
  return {
    ts: isoTime(1e12),
    interval_seconds: 30,
    uptime_s: 1,
    model: 'a',
    rate_hz: { requested: 1, effective: hz, measured: hz },
    latency_ms: {
      count: 30,
      mean: 5,
      p50: 5,
      p95: 5,
      p99: 5,
      max: 5,
      features_p50: 1,
      inference_p50: 3,
      queue_p50: 0.5,
      publish_p50: 0.5,
    },
    windows: { processed: 30, dropped },
    soc: {
      temperature_c: 60,
      frequency_mhz: 1800,
      throttled: false,
      under_voltage: false,
      throttled_since_boot: false,
    },
    host: { cpu_percent: 9, load_1m: 1, memory_rss_mb: 190, memory_available_mb: 1, disk_free_mb: 1 },
    audio: { overruns: 0, restarts: audioRestarts },
    inference: { restarts: 0 },
    outbox: { queued: 0, dropped: 0 },
    event_loop_ms: { p50: 1, p99: loopP99, max: loopP99 + 1 },
  };
}

/** A monitor and a service that works before it at some rate, telling of itself every 30 s. */
function simulated(changes: Partial<SoakSettings> = {}) {
  let nowMs = 0;
  let seq = 0;
  const monitor = createMonitor({ settings: { ...SETTINGS, ...changes }, version: '1', now: () => nowMs });
  const work = (
    reports: number,
    hz: number,
    more: (report: number) => Parameters<typeof telemetry>[0] = () => ({}),
  ): void => {
    for (let report = 0; report < reports; report++) {
      const until = nowMs + 30_000;
      for (; nowMs + 1000 / hz <= until; nowMs += 1000 / hz) {
        monitor.tags(tags((seq += 1), { endMs: 1e12 + Math.round(nowMs) }));
      }
      monitor.telemetry(telemetry({ hz, ...more(report) }));
    }
  };
  return { monitor, work };
}

void t.test('the monitor: a rate that the heat has lowered is no drift of the clock', (t) => {
  const fromStart = simulated();
  fromStart.work(60, 0.7);
  const low = fromStart.monitor.report('complete', null, null);
  t.ok(Math.abs(low.clock!.ppm!) < 5, `${low.clock!.ppm} ppm`);
  t.not(low.kept, false, JSON.stringify(low.verdicts.filter(({ kept }) => kept === false)));
  t.match(low.rate, { loweredShare: 1, leastHz: 0.7 });

  const { monitor, work } = simulated();
  work(30, 1);
  work(30, 0.7, () => ({ dropped: 3 }));
  work(60, 1, () => ({ dropped: 3 }));
  const report = monitor.report('complete', null, null);
  t.ok(Math.abs(report.clock!.ppm!) < 5, `${report.clock!.ppm} ppm`);
  t.ok(Math.abs(report.rate!.loweredShare - 0.25) < 0.01);
  t.match(headline(report), /the rate lowered for 25 % of the time/);
  t.match(
    report.history.telemetry.map(({ effectiveHz, dropped }) => [effectiveHz, dropped])[30],
    [0.7, 3],
    'the course of both',
  );
  t.equal(report.windows.dropped, 3);
  t.match(soakHtml(report), /Windows dropped so far[\s\S]*Inference rate/);
  t.notMatch(headline(low), /NaN/);
  t.end();
});

void t.test('the monitor: what it makes of a run', (t) => {
  const { monitor, work } = simulated();
  t.match(monitor.report('interrupted', null, null), {
    windows: { arrived: 0, dropped: null },
    eventLoop: null,
    rate: null,
    clock: { ppm: null },
    latency: [],
  });
  // One report in ten is slow: a mean would not show it.
  work(40, 1, (report) => ({ loopP99: report % 10 === 0 ? 90 : 1 }));
  const report = monitor.report('complete', null, null);
  t.match(report, {
    end: 'complete',
    windows: { arrived: 1200, firstSeq: 1, lastSeq: 1200, missing: 0, processed: 30 },
    restarts: { inference: 0, audio: 0 },
    latency: [{ model: 'a', drift: 1 }],
  });
  const { p99Ms, worstP99Ms, maxMs, reports } = report.eventLoop!;
  t.ok(Math.abs(p99Ms - 90) < 0.2 && worstP99Ms === 90 && maxMs === 91 && reports === 40);
  t.equal(report.kept, false);
  t.same(
    report.verdicts.filter(({ kept }) => kept === false).map(({ name }) => name),
    ['event-loop delay p99, p95 of the reports'],
  );
  const text = JSON.stringify(reportTables(report));
  t.notMatch(text, /NaN|undefined|null/);
  t.end();
});

void t.test(
  'the last line names what was missed and what was not measured, and only what was kept is green',
  (t) => {
    const { monitor, work } = simulated();
    work(40, 1);
    const whole = monitor.report('complete', null, null);
    t.equal(whole.kept, null, 'memory was never read');
    t.match(closingLine(whole), /^No limit was missed\. Not measured: memory at the end over the start\.$/);
    const page = soakHtml(whole);
    t.notMatch(page, /all limits kept/i);
    t.match(page, /<td class="dim">not measured<\/td>/);
    t.notMatch(page, /<td class="good">not measured/);

    const verdicts = whole.verdicts.filter(({ kept }) => kept !== null);
    const kept = { ...whole, verdicts, kept: isKept(verdicts) };
    t.equal(closingLine(kept), 'All limits were kept.');
    t.match(soakHtml(kept), /<span class="good">all limits kept/);

    monitor.faults.add('contract', 'x');
    const missed = monitor.report('complete', null, null);
    t.equal(missed.kept, false);
    t.match(
      closingLine(missed),
      /^MISSED: faults in what was published \(1, limit ≤ 0\)\. Not measured: memory/,
    );
    t.end();
  },
);

void t.test('a model has no line where another one answers', (t) => {
  const { monitor, work } = simulated();
  work(4, 1);
  const figures = { count: 10, p50: 5, p95: 6, p99: 7, max: 8 };
  const slice = (model: string, fromSeconds: number, toSeconds: number) => ({
    model,
    fromSeconds,
    toSeconds,
    figures,
  });
  const linesOf = (latency: SoakReport['history']['latency']) => {
    const report = monitor.report('complete', null, null);
    const page = soakHtml({ ...report, history: { ...report.history, latency } });
    const plot = page.slice(page.indexOf('Latency of the windows'), page.indexOf('Parts of the latency'));
    return [...plot.matchAll(/class="line colour-\d" d="([^"]*)"/g)].map(
      ([, path]) => path!.split('M').length - 1,
    );
  };
  const apart = [slice('a', 0, 29), slice('b', 30, 59), slice('a', 60, 89), slice('a', 90, 119)];
  t.same(linesOf(apart), [2, 2, 1, 1], 'p50 and p99 of a, and of b');
  const shared = [slice('a', 0, 59), slice('b', 0, 59), slice('b', 60, 119), slice('a', 60, 119)];
  t.same(linesOf(shared), [1, 1, 1, 1], 'both within the same stretches');
  t.end();
});

void t.test('the monitor: memory and CPU time of the processes', (t) => {
  const { monitor, work } = simulated();
  const tree = (rssMb: number, cpuMs: number) => [
    { pid: 1, command: 'node main.js run', cpuMs, endedChildrenCpuMs: 0, rssBytes: 50e6, pssBytes: null },
    {
      pid: 2,
      command: 'soundpost inference',
      cpuMs: 0,
      endedChildrenCpuMs: 0,
      rssBytes: rssMb * 1e6,
      pssBytes: null,
    },
  ];
  monitor.processes(tree(80, 0), true);
  for (let sample = 0; sample < 40; sample++) {
    work(1, 1);
    monitor.processes(tree(sample < 20 ? 80 : 100, sample * 300), true);
  }
  const { memory, cpu, history } = monitor.report('complete', null, null);
  t.match(memory, [
    { process: 'service', growth: 1 },
    { process: 'inference a', startMb: 80, endMb: 100, growth: 1.25 },
  ]);
  t.ok(Math.abs(cpu.msPerWindow! - 10) < 1e-9, '300 ms for 30 windows');
  t.ok(Math.abs(history.processes[1]!.cpuPercent! - 1) < 0.05);
  t.end();
});

void t.test('the page takes nothing of a report for markup', (t) => {
  const hostile = `<script>alert("x")</script>'&`;
  const { monitor, work } = simulated({
    model: hostile,
    source: hostile,
    swap: { to: hostile, everySeconds: 60 },
  });
  work(4, 1);
  monitor.faults.add('contract', hostile);
  const swaps = createSwaps({
    models: [hostile, 'b'],
    everySeconds: 1,
    untilSeconds: 100,
    send: () => undefined,
    begins: () => null,
    failed: () => undefined,
  });
  swaps.window(2, hostile);
  swaps.reply({
    status: 'error',
    error: { code: 'x', message: hostile },
    data: {},
    transaction: 'swap-1',
  });
  const report = monitor.report('failed', { reason: hostile, lastWords: [hostile] }, swaps);
  const machine = { ...report.machine, cpu: hostile };
  const latency = report.history.latency.map((slice) => ({ ...slice, model: hostile }));
  const page = soakHtml({ ...report, machine, history: { ...report.history, latency } });
  t.notMatch(page, /<script|NaN|undefined|\[object/);
  t.equal(page.match(/&lt;script&gt;alert/g)!.length > 8, true, 'it is all there');
  t.notMatch(page, /https?:|\ssrc=|\shref=|url\(|@import|<link|<iframe|<img/, 'nothing from elsewhere');
  t.end();
});

void t.test('plots', (t) => {
  t.strictSame(niceTicks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  t.strictSame(niceTicks(0.2, 0.2, 5), [0.2]);
  fc.assert(
    fc.property(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), (to) => {
      const made = niceTicks(0, to, 5);
      return made.length >= 3 && made.length <= 7 && made.every((tick) => tick >= 0 && tick <= to * 1.001);
    }),
  );
  fc.assert(
    fc.property(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 1e-6, max: 1e6, noNaN: true }),
      fc.integer({ min: 3, max: 9 }),
      (low, span, count) => {
        fc.pre(span > Math.abs(low) * 1e-6);
        const [from, to] = niceRange(low, low + span, count);
        const marks = niceTicks(from, to, count);
        return (
          from <= low + span * 1e-6 &&
          to >= low + span * (1 - 1e-6) &&
          Math.abs(marks[0]! - from) <= span * 1e-6 &&
          Math.abs(marks.at(-1)! - to) <= span * 1e-6
        );
      },
    ),
  );
  t.equal(escapeHtml('<a href="x">&\''), '&lt;a href=&quot;x&quot;&gt;&amp;&#39;');
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
  t.match(svg, /class="line colour-0" d="M[\d. ]+h0M[\d. ]+L[\d. ]+"/, 'broken where nothing was measured');
  t.match(svg, /<title>0 h\nx: 1 ms<\/title>/, 'the pointer is told what is there');
  t.match(svg, /<title>3 h\nx: 2 ms<\/title>/);
  t.match(svg, /class="limit"/);
  t.end();
});
