import t from 'tap';
import { formatSourcesReport, sourcesVerdicts, type SourcesRound } from '../../tools/bench/sources-report.js';
import type { PartUsage, SourcesRun } from '../../tools/bench/sources-run.js';

/** A run of ten seconds at 1 Hz. */
function run(of: {
  sources?: number;
  cpuMs: number;
  /** Of the service. */
  mb: number;
  lost?: number;
  p95?: number;
  ffmpegMs?: number;
}): SourcesRun {
  const { sources = 1, cpuMs, mb, lost = 0, p95 = 40, ffmpegMs = 0 } = of;
  const part = (ms: number, pssMb: number): PartUsage => ({ cpuMs: ms, pssMb, rssMb: pssMb + 50 });
  return {
    seconds: 10,
    windows: 10 * sources,
    sources: Array.from({ length: sources }, (_, index) => ({
      name: `source${index + 1}`,
      answered: 10,
      idle: 0,
      lost: index === 0 ? lost : 0,
      latencyMs: { p50: 20, p95: index === 0 ? p95 : 30 },
    })),
    parts: {
      service: part(cpuMs, mb),
      inference: part(100 * sources, 50),
      ffmpeg: part(ffmpegMs, 0),
      others: part(0, 0),
    },
  };
}

const round = (several: Partial<Parameters<typeof run>[0]> = {}): SourcesRound => ({
  one: run({ cpuMs: 100, mb: 80 }),
  several: run({ sources: 5, cpuMs: 500, mb: 80 + 4 * 14, ...several }),
  camera: null,
  quiet: null,
  idle: null,
});

t.test('goals are held against the medians of rounds, and losses against their sum', (t) => {
  const good = { rounds: [round()], rateHz: 1 };
  t.same(
    sourcesVerdicts(good).map(({ value, limit, met }) => [value, limit, met]),
    [
      [1, 1.1, true],
      [14, 15, true],
      [0, 0, true],
      [40, 1000, true],
    ],
  );
  const bad = { cpuMs: 700, mb: 80 + 4 * 16, p95: 501, lost: 1 };
  t.same(
    sourcesVerdicts({ rounds: [round(bad)], rateHz: 2 }).map(({ value, met }) => [value, met]),
    [
      [1.2, false],
      [16, false],
      [1, false],
      [501, false],
    ],
  );
  t.same(
    sourcesVerdicts({ rounds: [round(), round(bad), round()], rateHz: 1 }).map(({ met }) => met),
    [true, true, false, true],
    'one bad round among three changes no median',
  );
  t.end();
});

t.test('what cannot be read of memory is no number, and full sizes stand in for shares', (t) => {
  const unread = round();
  for (const one of [unread.one, unread.several]) one.parts.service.pssMb = null;
  const [, memory] = sourcesVerdicts({ rounds: [unread], rateHz: 1 });
  t.equal(memory!.value, 14);
  for (const one of [unread.one, unread.several]) one.parts.service.rssMb = null;
  t.match(sourcesVerdicts({ rounds: [unread], rateHz: 1 })[1], { value: null, met: null });
  t.end();
});

t.test('the report for a terminal', (t) => {
  const rounds: SourcesRound[] = [
    {
      ...round({ lost: 3 }),
      camera: run({ cpuMs: 120, mb: 80, ffmpegMs: 60 }),
      quiet: run({ cpuMs: 100, mb: 80 }),
      idle: run({ cpuMs: 0, mb: 80 }),
    },
  ];
  const facts = { cpu: 'A chip', cores: 4, node: '20.0.0', platform: 'linux arm64', load: 0.5 };
  const text = formatSourcesReport({
    machine: facts,
    model: 'm',
    windowSeconds: 10,
    rateHz: 1,
    sources: 5,
    broker: 'mosquitto',
    rounds,
    verdicts: sourcesVerdicts({ rounds, rateHz: 1 }),
  });
  t.match(text, /^one source +10\.0 +10\.0 +20\.0 +2\.00$/m);
  t.match(text, /^5 sources +10\.0 +10\.0 +20\.0 +10\.0$/m);
  t.match(text, /^one camera .* +12\.0 +10\.0 +22\.0 +6\.00 +2\.20$/m);
  t.match(text, /^idle \/ not idle +0\.50$/m);
  t.match(text, /^each further source +14\.0 \/ 14\.0/m);
  t.match(text, /^ {2}source1 of 5 +10 +0 +3 +20\.0 +40\.0$/m);
  t.match(text, /^windows lost +3\.00 +<= 0 +MISSED$/m);
  t.notMatch(text, /NaN|undefined|null/);
  t.end();
});
