import { paretoFront } from './pareto.js';
import type { StreamedMeasurement } from './measure.js';
import type { BenchRow, BenchMachine, ModelBenchReport } from './model-bench-report.js';

/** What the table shows of a row: a heading, how it is read from a row, and what it says in full. */
export interface Column {
  key: string;
  heading: string;
  /** For a reader who asks what the column is. */
  meaning: string;
  /** For sorting; null where there is none. */
  value: (row: BenchRow) => number | string | null;
  text: (row: BenchRow) => string;
  /** Left out of the terminal, where lines are short. */
  wide?: boolean;
}

const NONE = '–';

const numeric = (
  key: string,
  heading: string,
  meaning: string,
  value: (row: BenchRow) => number | null | undefined,
  format: (value: number) => string,
  wide = false,
): Column => ({
  key,
  heading,
  meaning,
  value: (row) => value(row) ?? null,
  text: (row) => {
    const found = value(row);
    return found === null || found === undefined ? NONE : format(found);
  },
  wide,
});

/** Three significant digits, without an exponent. */
export function short(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude >= 99.95) return value.toFixed(0);
  if (magnitude >= 9.995) return value.toFixed(1);
  return value.toFixed(magnitude >= 0.9995 || value === 0 ? 2 : 3);
}

/** 4880000 as 4.88 M. */
export function count(value: number): string {
  if (value >= 1e9) return `${short(value / 1e9)} G`;
  return value >= 1e6 ? `${short(value / 1e6)} M` : `${short(value / 1e3)} k`;
}

const clip = (row: BenchRow) => row.result?.clip_ms.total;
const hop = (row: BenchRow) => row.result?.stream.hop_ms.total;
const streamed = ({ streamed: found }: BenchRow): StreamedMeasurement | null =>
  found === null || 'reason' in found ? null : found;
const celsius = (value: number) => value.toFixed(1);

/** Every column, in the order in which they are read. */
export const COLUMNS: readonly Column[] = [
  {
    key: 'id',
    heading: 'model',
    meaning: 'the model; * marks the Pareto front: no other is faster and at least as good',
    value: (row) => row.id,
    text: (row) => row.id,
  },
  numeric('threads', 'threads', 'threads of ONNX Runtime within an operator', (r) => r.threads, String),
  numeric(
    'published_map',
    'mAP',
    'published mean average precision on AudioSet',
    (r) => r.published_map,
    (v) => v.toFixed(3),
  ),
  numeric('parameters', 'params', 'parameters of the network', (r) => r.parameters, count),
  numeric('macs', 'MACs', 'multiply-accumulates of the network for one window', (r) => r.macs, count),
  numeric(
    'file_bytes',
    'MB',
    'size of the ONNX file, 10⁶ bytes',
    (r) => r.file_bytes,
    (v) => short(v / 1e6),
    true,
  ),
  numeric(
    'clips',
    'clips',
    'how many clips were measured; with fewer than 100 of them, p99 is the slowest',
    (r) => clip(r)?.count,
    String,
  ),
  numeric('mean', 'clip ms', 'latency of a clip, back to back: mean', (r) => clip(r)?.mean, short),
  numeric(
    'sd',
    '± sd',
    'standard deviation of the latency of a clip',
    (r) => clip(r)?.standard_deviation,
    short,
  ),
  numeric('p50', 'p50', 'half of the clips took at most so long', (r) => clip(r)?.p50, short, true),
  numeric('p95', 'p95', '95 % of the clips took at most so long', (r) => clip(r)?.p95, short),
  numeric('p99', 'p99', '99 % of the clips took at most so long', (r) => clip(r)?.p99, short),
  numeric('max', 'max', 'the slowest clip', (r) => clip(r)?.max, short, true),
  numeric(
    'features',
    'features',
    'of the mean latency of a clip: log-mel, ms',
    (r) => r.result?.clip_ms.features?.mean,
    short,
    true,
  ),
  numeric(
    'network',
    'network',
    'of the mean latency of a clip: the network, ms',
    (r) => r.result?.clip_ms.network?.mean,
    short,
    true,
  ),
  numeric(
    'rtf',
    'RTF',
    'real-time factor: mean latency of a clip by its length',
    (r) => r.result?.real_time_factor,
    (v) => v.toPrecision(2),
  ),
  numeric('hop_p50', 'hop p50', 'latency of a hop of the stream, ms: half', (r) => hop(r)?.p50, short, true),
  numeric('hop_p95', 'hop p95', 'latency of a hop of the stream, ms: 95 %', (r) => hop(r)?.p95, short),
  numeric(
    'cpu_s_per_hour',
    'CPU s/h',
    'CPU seconds for an hour of sound at 1 Hz, each window computed as a whole',
    (r) => r.result?.cpu_s_per_hour,
    short,
  ),
  numeric(
    'streamed_hop_p95',
    'streamed p95',
    'latency of a hop where the network is computed as a stream, ms: 95 %',
    (r) => streamed(r)?.hop_ms.total?.p95,
    short,
    true,
  ),
  numeric(
    'streamed_cpu_s_per_hour',
    'streamed',
    'CPU seconds for an hour of sound at 1 Hz where the network is computed as a stream',
    (r) => streamed(r)?.cpu_s_per_hour,
    short,
  ),
  numeric(
    'streamed_kept_mb',
    'kept MB',
    'what a stream keeps of each source',
    (r) => streamed(r)?.kept_mb,
    short,
    true,
  ),
  numeric(
    'peak_mb',
    'peak MB',
    'most resident memory of the inference process',
    (r) => r.result?.memory_mb.peak,
    (v) => v.toFixed(0),
  ),
  numeric(
    'resident_mb',
    'resident MB',
    'resident memory of the inference process at the end',
    (r) => r.result?.memory_mb.resident,
    (v) => v.toFixed(0),
    true,
  ),
  numeric(
    'load_ms',
    'load ms',
    'from the start of the process to the end of its warm-up',
    (r) => r.result?.load_ms,
    (v) => v.toFixed(0),
  ),
  numeric(
    'start_c',
    'start °C',
    'temperature of the chip before',
    (r) => r.sensors?.temperature_c.start,
    celsius,
    true,
  ),
  numeric(
    'peak_c',
    'peak °C',
    'highest temperature of the chip',
    (r) => r.sensors?.temperature_c.peak,
    celsius,
  ),
  numeric(
    'end_c',
    'end °C',
    'temperature of the chip at the end',
    (r) => r.sensors?.temperature_c.end,
    celsius,
    true,
  ),
  numeric(
    'start_mhz',
    'start MHz',
    'clock of the first core before',
    (r) => r.sensors?.frequency_mhz.start,
    String,
    true,
  ),
  numeric('peak_mhz', 'peak MHz', 'highest clock', (r) => r.sensors?.frequency_mhz.peak, String, true),
  numeric('lowest_mhz', 'least MHz', 'lowest clock', (r) => r.sensors?.frequency_mhz.lowest, String, true),
  numeric('end_mhz', 'end MHz', 'clock at the end', (r) => r.sensors?.frequency_mhz.end, String, true),
];

/** The columns of which a report knows anything. */
export function columnsOf(report: Pick<ModelBenchReport, 'rows' | 'settings'>, wide: boolean): Column[] {
  return COLUMNS.filter(({ key, value, wide: onlyWide }) => {
    if (onlyWide === true && !wide) return false;
    if (key === 'threads' && report.settings.threads.length === 1) return false;
    return key === 'id' || report.rows.some((row) => value(row) !== null);
  });
}

/** The rows that no other beats in latency and mAP. */
export function paretoRows(rows: readonly BenchRow[]): Set<BenchRow> {
  const candidates = rows.flatMap((row) => {
    const cost = row.result?.clip_ms.total?.mean;
    return cost === undefined || row.published_map === null ? [] : [{ row, cost, worth: row.published_map }];
  });
  return new Set(paretoFront(candidates).map(({ row }) => row));
}

/** What the machine is, in a line. */
export function describeMachine(machine: BenchMachine): string {
  const { board, cpu, cores, memory_mb: memory, os, arch, node, onnxruntime, soundpost } = machine;
  return [
    board,
    `${cpu}, ${cores} core${cores === 1 ? '' : 's'}`,
    `${(memory / 1000).toFixed(1)} GB`,
    os,
    arch,
    `Node ${node}`,
    onnxruntime === null ? null : `ONNX Runtime ${onnxruntime}`,
    `Soundpost ${soundpost}`,
  ]
    .filter((part) => part !== null)
    .join(' · ');
}

/** What a reader has to know beside the figures. */
export function remarks(report: ModelBenchReport): string[] {
  const { machine, rows, settings, interrupted } = report;
  const measured = rows.some(({ sensors }) => sensors?.temperature_c.peak != null);
  return [
    ...(interrupted ? ['Interrupted: what follows is what was measured until then.'] : []),
    ...(machine.load_before > machine.cores / 2
      ? [
          `The machine was busy with other work (load ${machine.load_before.toFixed(1)} on ${machine.cores} cores): the figures are too large.`,
        ]
      : []),
    ...(rows.some(({ synthetic }) => synthetic)
      ? [
          'Synthetic weights: latency, memory and size are those of the real networks; mAP is the best published one.',
        ]
      : []),
    `${settings.seconds} s for each model after its warm-up: half clips back to back, half a stream at ${settings.rate_hz} Hz. Latencies in ms.`,
    ...(rows.some((row) => streamed(row)?.left_edge === 'stream')
      ? [
          'Streams are computed in the approximate form (model.streaming: approximate): scores differ a little.',
        ]
      : []),
    ...(measured ? [] : ['No temperature: this machine has no sensor that is known.']),
    ...(rows.some(({ sensors }) => sensors?.throttled === true)
      ? ['The firmware slowed the cores down during the run.']
      : []),
    ...(rows.some(({ sensors }) => sensors?.under_voltage === true)
      ? ['The supply voltage was too low during the run.']
      : []),
  ];
}

/** Headings and cells of the table, the failed rows left out. */
function cells(report: ModelBenchReport, columns: readonly Column[]): { head: string[]; body: string[][] } {
  const front = paretoRows(report.rows);
  const body = report.rows
    .filter(({ result }) => result !== null)
    .map((row) =>
      columns.map((column) => column.text(row) + (column.key === 'id' && front.has(row) ? ' *' : '')),
    );
  return { head: columns.map(({ heading }) => heading), body };
}

function failures({ rows }: ModelBenchReport): string[] {
  return rows.flatMap(({ id, threads, error }) =>
    error === null ? [] : [`${id} (threads: ${threads}) could not be measured: ${error.message}`],
  );
}

/** Why installed models are no streams, in a line; of synthetic ones there are too many. */
function noStreams({ rows }: ModelBenchReport): string[] {
  const reasons = new Map<string, string>();
  for (const { id, synthetic, streamed: found } of rows) {
    if (!synthetic && found !== null && 'reason' in found) reasons.set(id, found.reason);
  }
  return [...reasons].map(([id, reason]) => `${id} is no stream: ${reason}.`);
}

/** The report for a terminal. */
export function formatTerminal(report: ModelBenchReport): string {
  const { head, body } = cells(report, columnsOf(report, false));
  const rows = [head, ...body];
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
  return [
    describeMachine(report.machine),
    ...remarks(report),
    '',
    ...(body.length === 0 ? ['Nothing was measured.'] : lines),
    ...(body.some(([id]) => id?.endsWith(' *') === true)
      ? ['', '* Pareto front: no other is faster and has as high a published mAP.']
      : []),
    ...noStreams(report).map((line) => `\n${line}`),
    ...failures(report).map((line) => `\nFAILED ${line}`),
    '',
  ].join('\n');
}

/** The same as Markdown with every column, to be pasted into a document. */
export function formatMarkdown(report: ModelBenchReport): string {
  const { head, body } = cells(report, columnsOf(report, true));
  const escape = (text: string) => text.replaceAll('|', '\\|').replaceAll('*', '\\*');
  const line = (row: readonly string[]) => `| ${row.map(escape).join(' | ')} |`;
  return [
    `${escape(describeMachine(report.machine))}; ${report.started_at.slice(0, 10)}.`,
    '',
    ...remarks(report).map((remark) => `${escape(remark)}\n`),
    line(head),
    `| ${head.map((_, column) => (column === 0 ? '---' : '---:')).join(' | ')} |`,
    ...body.map(line),
    ...noStreams(report).map((line) => `\n${escape(line)}`),
    ...failures(report).map((failure) => `\n${escape(failure)}`),
    '',
  ].join('\n');
}
