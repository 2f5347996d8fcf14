import type { HostFacts } from '../../src/bench/host-facts.js';
import type { PytorchResult } from './pytorch-yardstick.js';
import type { ServiceRun } from './service-run.js';
import type { NetworkBaseline } from './network-baseline.js';
import { number, table } from './text-table.js';

/** Everything one benchmark has measured. */
export interface BenchReport {
  /** `load`: of one minute, before the benchmark began; other work makes every figure larger. */
  machine: HostFacts & { load: number };
  model: string;
  /** Multiply-accumulates of its network for one window, where they are known. */
  macs: number | null;
  rateHz: number;
  broker: 'embedded' | 'mosquitto';
  session: { spaced: NetworkBaseline; backToBack: NetworkBaseline };
  pytorch: { spaced: PytorchResult; backToBack: PytorchResult } | { skipped: string };
  service: ServiceRun;
  /** The same with a large network, for the event loop; null where it was left out. */
  large: { model: string; bytes: number; session: NetworkBaseline; service: ServiceRun } | null;
  verdicts: LimitVerdict[];
}

/** One of the limits that the service is held to. */
export interface LimitVerdict {
  name: string;
  value: number | null;
  limit: number;
  unit: string;
  /** Null where it could not be measured, or says nothing of this model. */
  met: boolean | null;
}

/**
 * The service's own work is nearly the same for every network. Held against a network that costs next to nothing it
 * says nothing of the service: mn04_as, with 110 million, is the smallest that is judged.
 */
const LEAST_MACS = 100e6;

const verdict = (name: string, value: number | null, limit: number, unit: string): LimitVerdict => ({
  name,
  value,
  limit,
  unit,
  met: value === null ? null : value < limit,
});

/**
 * Holds what was measured against the limits. The service works at its rate, so it is compared with a session
 * and a pipeline that run at the same rate: between two hops caches grow cold for all of them.
 */
export function verdictsOf(report: Omit<BenchReport, 'verdicts'>): LimitVerdict[] {
  const { service, session, pytorch, large } = report;
  const ofSession = verdict(
    'CPU per hop / session.run',
    service.cpuMsPerHop / session.spaced.cpuMs.mean,
    1.5,
    '',
  );
  return [
    report.macs !== null && report.macs >= LEAST_MACS ? ofSession : { ...ofSession, met: null },
    verdict(
      'CPU per hop / PyTorch pipeline',
      'skipped' in pytorch ? null : service.cpuMsPerHop / pytorch.spaced.cpu_ms.total,
      0.5,
      '',
    ),
    verdict('resident memory of all processes', service.memory.rssMb, 300, 'MB'),
    verdict('event-loop delay p99, large model', large?.service.eventLoopDelayMs?.p99 ?? null, 20, 'ms'),
  ];
}

/** The last parts of a command line: the program and its arguments, without folders and without end-with-parent.js. */
function shortName(command: string): string {
  return command
    .split(' ')
    .filter((part) => !part.startsWith('--') && !part.endsWith('/end-with-parent.js'))
    .map((part) => part.slice(part.lastIndexOf('/') + 1))
    .slice(0, 3)
    .join(' ');
}

/** The report as text for a terminal. */
export function formatServiceBenchReport(report: BenchReport): string {
  const { service, session, pytorch, large, machine } = report;
  const perHop = (label: string, value: number): string[] => [
    label,
    number(value),
    number(value / session.spaced.cpuMs.mean),
  ];
  const cpu = [
    [`CPU ms per window of ${report.model}`, 'ms', 'of session.run'],
    perHop('session.run alone, at the same rate', session.spaced.cpuMs.mean),
    perHop('  back to back', session.backToBack.cpuMs.mean),
    perHop('  with what the process uses between two runs', session.spaced.cpuMsPerInterval),
    ...('skipped' in pytorch
      ? [[`PyTorch pipeline: left out, ${pytorch.skipped}`, '', '']]
      : [
          perHop('PyTorch pipeline, at the same rate', pytorch.spaced.cpu_ms.total),
          perHop('  features', pytorch.spaced.cpu_ms.features),
          perHop('  network', pytorch.spaced.cpu_ms.network),
          perHop('  back to back', pytorch.backToBack.cpu_ms.total),
        ]),
    perHop(
      `service, ${service.hops} hops at ${report.rateHz} Hz, broker ${report.broker}`,
      service.cpuMsPerHop,
    ),
    ...service.processes.map(({ command, cpuMsPerHop }) => perHop(`  ${shortName(command)}`, cpuMsPerHop)),
  ];
  const latency = service.latencyMs;
  const parts = [
    ['latency of a window (ms)', 'p50', 'p95', 'max'],
    ['arrival to hand-over', number(latency?.p50), number(latency?.p95), number(latency?.max)],
    ['  queue', number(latency?.queue_p50), '', ''],
    ['  features', number(latency?.features_p50), '', ''],
    ['  inference', number(latency?.inference_p50), '', ''],
    ['  publish', number(latency?.publish_p50), '', ''],
  ];
  const memory = [
    ['memory (MB)', 'resident', 'proportional'],
    ['all processes', number(service.memory.rssMb), number(service.memory.pssMb)],
    ...service.processes.map(({ command, rssMb, pssMb }) => [
      `  ${shortName(command)}`,
      number(rssMb),
      number(pssMb),
    ]),
  ];
  const delay = large?.service.eventLoopDelayMs;
  const loop =
    large === null
      ? []
      : [
          ['event-loop delay of the service (ms)', 'p50', 'p99', 'max'],
          [
            `${large.model}: ${Math.round(large.bytes / 1e6)} MB, ${number(large.session.wallMs.median)} ms a run`,
            number(delay?.p50),
            number(delay?.p99),
            number(delay?.max),
          ],
        ];
  const verdicts = [
    ['limits', 'measured', 'limit', ''],
    ...report.verdicts.map(({ name, value, limit, unit, met }) => [
      name,
      number(value, unit),
      `< ${limit}${unit && ` ${unit}`}`,
      met === null
        ? value === null
          ? 'not measured'
          : 'not judged: a small network'
        : met
          ? 'met'
          : 'MISSED',
    ]),
  ];
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}, load before ${number(machine.load)}`,
    ...[cpu, parts, memory, loop, verdicts]
      .filter((rows) => rows.length > 0)
      .flatMap((rows) => ['', ...table(rows)]),
    '',
  ].join('\n');
}
