import type { HostFacts } from '../../src/bench/host-facts.js';
import { median } from '../../src/bench/statistics.js';
import type { LimitVerdict } from './service-bench-report.js';
import { PARTS, type Part, type SourcesRun } from './sources-run.js';
import { number, table } from './text-table.js';

/** The runs of one round, which follow each other; null where one was left out. */
export interface SourcesRound {
  one: SourcesRun;
  several: SourcesRun;
  camera: SourcesRun | null;
  quiet: SourcesRun | null;
  idle: SourcesRun | null;
}

export interface SourcesReport {
  /** `load`: of one minute, before the benchmark began. */
  machine: HostFacts & { load: number };
  model: string;
  windowSeconds: number;
  rateHz: number;
  sources: number;
  broker: 'embedded' | 'mosquitto';
  rounds: SourcesRound[];
  verdicts: LimitVerdict[];
}

/** CPU time of all of a service's processes but those that decode a stream. */
function cpuMs({ parts }: SourcesRun): number {
  return parts.service.cpuMs + parts.inference.cpuMs + parts.others.cpuMs;
}

const perWindow = (run: SourcesRun, part?: Part): number =>
  (part === undefined ? cpuMs(run) : run.parts[part].cpuMs) / run.windows;

/** How much of one core, in percent. */
const ofCore = (run: SourcesRun): number => cpuMs(run) / (10 * run.seconds);

/** Memory of the service and of the inference process: by their share of what they share, or in full. */
function memoryMb(run: SourcesRun, key: 'pssMb' | 'rssMb', parts: readonly Part[]): number {
  return parts.reduce((sum, part) => sum + (run.parts[part][key] ?? NaN), 0);
}

const BOTH: readonly Part[] = ['service', 'inference'];

/** Of the rounds in which both runs are, the median of what is made of them; null where there is none. */
function medianOf(
  rounds: readonly SourcesRound[],
  of: (round: SourcesRound) => number | null,
): number | null {
  const values = rounds.map(of).filter((value): value is number => value !== null && !Number.isNaN(value));
  return values.length === 0 ? null : median(values);
}

/** What each further source takes of memory, in MB. */
function furtherMb(
  { one, several }: SourcesRound,
  key: 'pssMb' | 'rssMb',
  parts: readonly Part[] = BOTH,
): number {
  return (memoryMb(several, key, parts) - memoryMb(one, key, parts)) / (several.sources.length - 1);
}

const lostOf = (run: SourcesRun | null): number =>
  run === null ? 0 : run.sources.reduce((sum, { lost }) => sum + lost, 0);

const worstP95 = (run: SourcesRun): number => Math.max(...run.sources.map(({ latencyMs }) => latencyMs.p95));

const CPU_RATIO = 1.1;
const FURTHER_MB = 15;

/** Holds what was measured against the goals of several sources on one device. */
export function sourcesVerdicts({
  rounds,
  rateHz,
}: Pick<SourcesReport, 'rounds' | 'rateHz'>): LimitVerdict[] {
  const verdict = (name: string, value: number | null, limit: number, unit: string): LimitVerdict => ({
    name,
    value,
    limit,
    unit,
    met: value === null ? null : value <= limit,
  });
  const memory = medianOf(rounds, (round) => furtherMb(round, 'pssMb'));
  return [
    verdict(
      'CPU per window, several / one',
      medianOf(rounds, ({ one, several }) => perWindow(several) / perWindow(one)),
      CPU_RATIO,
      '',
    ),
    verdict(
      'memory of each further source',
      memory ?? medianOf(rounds, (round) => furtherMb(round, 'rssMb')),
      FURTHER_MB,
      'MB',
    ),
    verdict(
      'windows lost',
      rounds.reduce(
        (sum, { one, several, camera }) => sum + lostOf(one) + lostOf(several) + lostOf(camera),
        0,
      ),
      0,
      '',
    ),
    verdict(
      'p95 of latency, worst source',
      medianOf(rounds, ({ several }) => worstP95(several)),
      1000 / rateHz,
      'ms',
    ),
  ];
}

type RunKey = keyof SourcesRound;

function titleOf(key: RunKey, sources: number): string {
  return {
    one: 'one source',
    several: `${sources} sources`,
    camera: 'one camera (RTSP, G.711)',
    quiet: 'a quiet room',
    idle: 'a quiet room, idle',
  }[key];
}

/** The report as text for a terminal. */
export function formatSourcesReport(report: SourcesReport): string {
  const { rounds, machine, sources } = report;
  const has = (key: RunKey) => rounds.some((round) => round[key] !== null);
  const runs = (['one', 'several', 'camera', 'quiet', 'idle'] as const).filter(has);
  const cell = (key: RunKey, of: (run: SourcesRun) => number): string =>
    number(medianOf(rounds, (round) => (round[key] === null ? null : of(round[key]))));
  const cpu = [
    ['CPU ms per window', 'service', 'inference', 'both', 'ffmpeg', '% of a core'],
    ...runs.map((key) => [
      titleOf(key, sources),
      cell(key, (run) => perWindow(run, 'service')),
      cell(key, (run) => perWindow(run, 'inference')),
      cell(key, perWindow),
      key === 'camera' ? cell(key, (run) => perWindow(run, 'ffmpeg')) : '',
      cell(key, ofCore),
    ]),
    ...(has('idle')
      ? [
          [
            'idle / not idle',
            '',
            '',
            number(
              medianOf(rounds, ({ idle, quiet }) => (idle && quiet ? cpuMs(idle) / cpuMs(quiet) : null)),
            ),
          ],
        ]
      : []),
  ];
  const memory = [
    ['memory (MB), proportional / resident', ...PARTS],
    ...runs.map((key) => [
      titleOf(key, sources),
      ...PARTS.map((part) => {
        const [pss, rss] = (['pssMb', 'rssMb'] as const).map((kind) =>
          cell(key, (run) => memoryMb(run, kind, [part])),
        );
        return `${pss} / ${rss}`;
      }),
    ]),
    [
      'each further source',
      ...BOTH.map((part) =>
        (['pssMb', 'rssMb'] as const)
          .map((kind) => number(medianOf(rounds, (round) => furtherMb(round, kind, [part]))))
          .join(' / '),
      ),
    ],
  ];
  const windows = [
    ['windows', 'answered', 'idle', 'lost', 'p50 ms', 'p95 ms'],
    ...runs.flatMap((key) => windowRows(report, key)),
  ];
  const verdicts = [
    ['goals', 'measured', 'goal', ''],
    ...report.verdicts.map(({ name, value, limit, unit, met }) => [
      name,
      number(value, unit),
      `<= ${limit}${unit && ` ${unit}`}`,
      met === null ? 'not measured' : met ? 'met' : 'MISSED',
    ]),
  ];
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}, load before ${number(machine.load)}`,
    `${report.model}, windows of ${report.windowSeconds} s at ${report.rateHz} Hz, broker ${report.broker}, medians of ${rounds.length} rounds of ${number(rounds[0]?.one.seconds)} s`,
    ...[cpu, memory, windows, verdicts].flatMap((rows) => ['', ...table(rows)]),
    '',
  ].join('\n');
}

/** A row for each source of these runs: sums of windows, medians of latencies. */
function windowRows({ rounds, sources }: SourcesReport, key: RunKey): string[][] {
  const all = rounds.flatMap((round) => (round[key] === null ? [] : [round[key]]));
  return (all[0]?.sources ?? []).map(({ name }, index, { length }) => {
    const own = all.map((run) => run.sources[index]!);
    const sum = (of: 'answered' | 'idle' | 'lost') => own.reduce((total, one) => total + one[of], 0);
    return [
      length > 1 ? `  ${name} of ${length}` : titleOf(key, sources),
      ...(['answered', 'idle', 'lost'] as const).map((of) => String(sum(of))),
      ...(['p50', 'p95'] as const).map((of) => number(median(own.map(({ latencyMs }) => latencyMs[of])))),
    ];
  });
}
