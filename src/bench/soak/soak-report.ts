import type { HostFacts } from '../host-facts.js';
import type { ClockFigures } from './clock.js';
import type { FaultKind, Gap } from './checks.js';
import type { LatencyFigures, LatencySlice } from './latency-history.js';
import type { RateFigures } from './rates.js';
import type { MemoryGrowth, ProcessSample, TelemetrySample } from './samples.js';
import type { SwapRecord, SwapTimes } from './swaps.js';
import type { LoopDelay } from './telemetry-watch.js';
import type { SoakLimits, SoakVerdict } from './verdict.js';

/** What was asked of a run. */
export interface SoakSettings {
  /** At speed 1 the length of the run, from the start of the service; at full speed hours of sound. */
  hours: number;
  /** 1: real time; `max`: as fast as the machine can. */
  speed: 1 | 'max';
  model: string;
  /** The other model, and the seconds of sound between two swaps; null where nothing is swapped. */
  swap: { to: string; everySeconds: number } | null;
  /** `demo`, `microphone`, or the path of a recording. */
  source: string;
  broker: 'embedded' | 'mosquitto';
  rateHz: number;
  limits: SoakLimits;
}

/** Everything that a run has found; `--json` writes it as it is. */
export interface SoakReport {
  version: string;
  machine: HostFacts;
  /** Load average of one minute: other work makes every figure worse. */
  load: { before: number; after: number };
  startedAt: string;
  endedAt: string;
  /** `failed`: the service ended or fell silent. */
  end: 'complete' | 'interrupted' | 'failed';
  /** Why it failed, and the last words of the service. */
  failure: { reason: string; lastWords: string[] } | null;
  settings: SoakSettings;
  /** From the first window that arrived to the last. */
  audioSeconds: number;
  wallSeconds: number;
  windows: {
    arrived: number;
    perSecond: number | null;
    firstSeq: number | null;
    lastSeq: number | null;
    missing: number;
    gaps: Gap[];
    /** As the service counts them; null where it said nothing. */
    processed: number | null;
    dropped: number | null;
  };
  restarts: { inference: number | null; audio: number | null; overruns: number | null };
  events: { started: number; ended: number; repeated: number; open: number; lostByOutbox: number | null };
  faults: { total: number; byKind: Partial<Record<FaultKind, number>>; examples: string[] };
  latency: {
    model: string;
    all: LatencyFigures;
    /** p99; null where the tenth has too few windows for one. */
    firstTenthP99: number | null;
    lastTenthP99: number | null;
    drift: number | null;
  }[];
  memory: MemoryGrowth[];
  /** Delay of the service's event loop. */
  eventLoop: LoopDelay | null;
  /** Null as long as there was no telemetry. */
  rate: RateFigures | null;
  cpu: { msPerWindow: number | null };
  swaps: {
    asked: number;
    failed: number;
    slowestMs: number | null;
    /** By the model that was changed to. */
    times: SwapTimes[];
    memory: number | null;
    list: SwapRecord[];
  } | null;
  clock: ClockFigures | null;
  verdicts: SoakVerdict[];
  /** Whether every limit was kept; null where none was missed, but not every one could be measured. */
  kept: boolean | null;
  history: { latency: LatencySlice[]; processes: ProcessSample[]; telemetry: TelemetrySample[] };
}

/** A number for people: three digits that say something, `–` for what was not measured. */
export function figure(value: number | null, unit = ''): string {
  if (value === null || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const text =
    Number.isInteger(value) || size >= 100
      ? String(Math.round(value))
      : value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return unit === '' ? text : `${text} ${unit}`;
}

/** A part of a whole: `12 %`, `0.4 %`. */
export function percent(share: number): string {
  return `${figure(Number((100 * share).toFixed(share < 0.1 ? 1 : 0)))} %`;
}

/** With the direction in words: `-12 ppm, sound too fast, spread 30 ms`. */
function clockText({ ppm, spreadMs }: ClockFigures): string {
  const direction = ppm === null || ppm === 0 ? '' : ppm > 0 ? ', sound too slow' : ', sound too fast';
  return `${figure(ppm, 'ppm')}${direction}, spread ${figure(spreadMs, 'ms')}`;
}

/** `25 h 03 min`, `4 min 10 s`, `12 s`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${two(Math.floor(whole / 60) % 60)} min`;
  if (whole >= 60) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${whole} s`;
}

/** The limit in words: `≤ 1.1`, `< 20 ms`. */
export function limitText({ kind, limit, unit }: SoakVerdict): string {
  return `${{ most: '≤', below: '<', least: '≥' }[kind]} ${limit}${unit === '' ? '' : ` ${unit}`}`;
}

export function keptText({ kept }: SoakVerdict): string {
  return kept === null ? 'not measured' : kept ? 'kept' : 'MISSED';
}

/** What was asked for, in words. */
export function askedText({ hours, speed, rateHz }: SoakSettings): string {
  const length = duration(hours * 3600);
  return speed === 'max'
    ? `${length} of sound at full speed, ${rateHz} Hz`
    : `${length} in real time, ${rateHz} Hz`;
}

/** The verdict as one line, with the names of what was missed and of what could not be measured. */
export function closingLine({ verdicts, kept, end, windows }: SoakReport): string {
  if (end === 'interrupted' && windows.arrived === 0) {
    return 'Interrupted before the first window: nothing was measured.';
  }
  const missed = verdicts
    .filter((verdict) => verdict.kept === false)
    .map(
      (verdict) => `${verdict.name} (${figure(verdict.value, verdict.unit)}, limit ${limitText(verdict)})`,
    );
  const unknown = verdicts.filter((verdict) => verdict.kept === null).map(({ name }) => name);
  const notMeasured = unknown.length === 0 ? '' : ` Not measured: ${unknown.join('; ')}.`;
  if (missed.length > 0) return `MISSED: ${missed.join('; ')}.${notMeasured}`;
  return kept === true ? 'All limits were kept.' : `No limit was missed.${notMeasured}`;
}

/** What was run, as one line. */
export function headline(report: SoakReport): string {
  const { settings, audioSeconds, wallSeconds, windows, end } = report;
  const models =
    settings.swap === null ? settings.model : `${settings.model} and ${settings.swap.to} in turn`;
  const ended = { complete: '', interrupted: ', interrupted', failed: ', FAILED' }[end];
  const rate = windows.perSecond === null ? '' : `, ${figure(windows.perSecond)} windows/s`;
  const lowered = report.rate?.loweredShare ?? 0;
  const heat = lowered > 0 ? `, the rate lowered for ${percent(lowered)} of the time` : '';
  return `${duration(audioSeconds)} of sound in ${duration(wallSeconds)} with ${models}: ${windows.arrived} windows${rate}${heat}${ended}`;
}

/** The report as rows of cells for a terminal: one table after another. */
export function reportTables(report: SoakReport): string[][][] {
  const { latency, memory, eventLoop, swaps, clock, verdicts } = report;
  return [
    [
      ['LATENCY (ms)', 'p50', 'p95', 'p99', 'max', 'p99 first tenth', 'last tenth', ''],
      ...latency.map(({ model, all, firstTenthP99, lastTenthP99 }) => [
        model,
        ...[all.p50, all.p95, all.p99, all.max, firstTenthP99, lastTenthP99].map((value) => figure(value)),
        '',
      ]),
    ],
    [
      ['MEMORY (MB)', 'start', 'end', 'peak', ''],
      ...memory.map(({ process, startMb, endMb, peakMb }) => [
        process,
        ...[startMb, endMb, peakMb].map((value) => figure(value)),
        '',
      ]),
    ],
    [
      ['ALSO', '', ''],
      ['CPU of all processes', figure(report.cpu.msPerWindow, 'ms per window'), ''],
      [
        'event loop of the service',
        eventLoop === null
          ? '–'
          : `p99 ${figure(eventLoop.p99Ms, 'ms')} (p95 of ${eventLoop.reports} reports), worst report ${figure(eventLoop.worstP99Ms, 'ms')}, longest ${figure(eventLoop.maxMs, 'ms')}`,
        '',
      ],
      [
        'rate',
        report.rate === null
          ? '–'
          : `lowered for ${percent(report.rate.loweredShare)} of the time, mean ${figure(report.rate.meanHz, 'Hz')}, lowest ${figure(report.rate.leastHz, 'Hz')}`,
        '',
      ],
      ['events', `${report.events.started} begun, ${report.events.ended} ended`, ''],
      ...(swaps === null
        ? []
        : swaps.times.map(({ model, count, meanMs, slowestMs }) => [
            `swaps to ${model}`,
            `${count}, from the command to the first tags ${figure(meanMs, 'ms')}, the slowest ${figure(slowestMs, 'ms')}`,
            '',
          ])),
      ...(clock === null ? [] : [['clock', clockText(clock), '']]),
      ['load of the machine', `${figure(report.load.before)} before, ${figure(report.load.after)} after`, ''],
    ],
    [
      ['LIMIT', 'measured', 'limit', ''],
      ...verdicts.map((verdict) => [
        verdict.name,
        figure(verdict.value, verdict.unit),
        limitText(verdict),
        keptText(verdict),
      ]),
    ],
  ];
}
