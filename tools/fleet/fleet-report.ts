import type { BrokerFeatures, CrashFeatures } from './broker-features.js';
import { percentile } from '../../src/bench/statistics.js';
import type { EventReport } from './ledger.js';

/** Milliseconds. Null where nothing was measured. */
export interface Spread {
  count: number;
  p50_ms: number | null;
  p95_ms: number | null;
  max_ms: number | null;
}

/** How something was spread over time. */
export interface Wave {
  /** How many in each second, from the beginning on. */
  per_second: number[];
  /** The most in any tenth of a second, by tenths that begin with the first second. */
  most_in_100_ms: number;
}

export interface TrafficRates {
  seconds: number;
  /** What the devices published, and events that the consumer received. */
  messages_published_per_s: number;
  events_received_per_s: number;
  /** Packets of MQTT that the broker got and sent, acknowledgements included; null where it does not count them. */
  packets_in_per_s: number | null;
  packets_out_per_s: number | null;
  /** The same in bytes, without those of TCP. */
  bytes_in_per_s: number | null;
  bytes_out_per_s: number | null;
  bytes_per_device_per_s: number | null;
  /** Of one core. */
  broker_cpu_percent: number;
  devices_cpu_percent: number;
}

export interface FleetReport {
  machine: { cpu: string; cores: number; node: string; platform: string; load: number; broker: string };
  options: {
    nodes: number;
    devices: number;
    seconds: number;
    event_seconds: number;
    rate_hz: number;
    telemetry_seconds: number;
    down_seconds: number;
    autosave_seconds: number;
    start_spread_seconds: number;
    outbox_folder: string;
    processes: number;
  };
  /** From the order to start to the first connection of each device. */
  connect: Spread & { wave: Wave };
  traffic: TrafficRates;
  operator: Spread & { answered: number; failed: number; all_ms: number | null };
  restart: {
    /** How long no broker took connections; 0 where other nodes did. */
    down_ms: number;
    /** How many devices lost their connection. */
    devices_lost: number;
    /** From then on to the connection of each device that had lost it. */
    recovery: Spread;
    reconnects: Wave;
    /** Attempts that failed, by seconds since the crash. */
    failed_attempts_per_second: number[];
    /** What the broker got between its return and a second after the last device's. */
    packets_in: number | null;
    bytes_in: number | null;
    /** Above what it gets in such a time anyway: what the coming back of a device costs. */
    extra_packets_per_device: number | null;
    extra_bytes_per_device: number | null;
    broker_cpu_percent: number;
    /** Time that the broker, or its node, needed to load its data and take connections. */
    start_ms: number;
    /** The longest time in which the consumer got nothing, from the crash to the return of the last device. */
    consumer_silence_ms: number;
  };
  events: EventReport & { dropped: number };
  /** By the retained `status` topics. */
  statuses: { online_after_restart: number; offline_after_stop: number };
  memory: { device_bytes: number; broker_bytes: number | null; broker_data_bytes: number | null };
  /** The worst delay of an event loop of the devices: what lies above it is the broker's, or the network's. */
  event_loop_max_ms: number;
  abilities: BrokerFeatures & CrashFeatures;
  /** Empty where all is as promised. */
  failures: string[];
}

export function spreadOf(values: readonly number[]): Spread {
  const some = (value: number): number | null => (Number.isFinite(value) ? Math.round(value) : null);
  return {
    count: values.length,
    p50_ms: some(percentile(values, 50)),
    p95_ms: some(percentile(values, 95)),
    max_ms: some(Math.max(...values)),
  };
}

/** `times` in ms since the beginning of the wave. */
export function waveOf(times: readonly number[]): Wave {
  const countBy = (width: number): number[] => {
    const counts: number[] = [];
    for (const time of times) {
      const place = Math.max(0, Math.floor(time / width));
      while (counts.length <= place) counts.push(0);
      counts[place]! += 1;
    }
    return counts;
  };
  return { per_second: countBy(1000), most_in_100_ms: Math.max(0, ...countBy(100)) };
}

/** What was promised and not kept, one sentence each. */
export function failuresOf(report: Omit<FleetReport, 'failures'>): string[] {
  const { options, connect, operator, restart, events, statuses } = report;
  const { devices } = options;
  const failures: string[] = [];
  const expect = (fine: boolean, sentence: string): void => {
    if (!fine) failures.push(sentence);
  };
  expect(connect.count === devices, `${devices - connect.count} of ${devices} devices never connected.`);
  expect(
    operator.answered === devices,
    `${devices - operator.answered} of ${devices} devices did not switch their model: ${operator.failed} of them refused or said nothing.`,
  );
  expect(
    restart.recovery.count === restart.devices_lost,
    `${restart.devices_lost - restart.recovery.count} of ${restart.devices_lost} devices did not come back after the restart.`,
  );
  expect(events.published > 0, 'No event was published: run it for longer.');
  expect(events.lost === 0, `${events.lost} of ${events.published} events were lost.`);
  expect(events.dropped === 0, `${events.dropped} events were given up by the outboxes.`);
  expect(events.out_of_order === 0, `${events.out_of_order} events came out of order.`);
  expect(events.unknown === 0, `${events.unknown} events arrived that nobody had published.`);
  expect(
    statuses.online_after_restart === devices,
    `After the restart ${devices - statuses.online_after_restart} of ${devices} devices were not shown as online.`,
  );
  expect(
    statuses.offline_after_stop === devices,
    `After the end ${devices - statuses.offline_after_stop} of ${devices} devices were not shown as offline.`,
  );
  return failures;
}

/** For people, as text. */
export function formatFleetReport(report: FleetReport): string {
  const { machine, options, connect, traffic, operator, restart, events, statuses, memory } = report;
  const ms = (value: number | null): string => {
    if (value === null) return '–';
    return value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
  };
  const spread = (s: Spread): string => `p50 ${ms(s.p50_ms)}, p95 ${ms(s.p95_ms)}, last ${ms(s.max_ms)}`;
  const whole = (value: number | null): string => (value === null ? '–' : String(Math.round(value)));
  const kb = (bytes: number | null): string => (bytes === null ? '–' : `${(bytes / 1000).toFixed(1)} kB`);
  const isOnly = options.nodes === 1;
  const rows: [string, string][] = [
    [
      'machine',
      `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}, ${machine.broker}${isOnly ? '' : ` in ${options.nodes} nodes`}, load ${machine.load.toFixed(1)}`,
    ],
    [
      'fleet',
      `${options.devices} devices in ${options.processes} processes; tags at ${options.rate_hz} Hz, a sound every ${options.event_seconds} s, telemetry every ${options.telemetry_seconds} s; outboxes in ${options.outbox_folder}`,
    ],
    [
      'connecting',
      `${spread(connect)}; at most ${Math.max(0, ...connect.wave.per_second)} in a second, ${connect.wave.most_in_100_ms} in 100 ms`,
    ],
    [
      'messages',
      `${whole(traffic.messages_published_per_s)} published a second, ${whole(traffic.events_received_per_s)} events received; ${whole(traffic.packets_in_per_s)} packets in, ${whole(traffic.packets_out_per_s)} out`,
    ],
    [
      'bytes',
      `${kb(traffic.bytes_in_per_s)} a second in, ${kb(traffic.bytes_out_per_s)} out; ${whole(traffic.bytes_per_device_per_s)} a second for each device`,
    ],
    [
      'CPU, of one core',
      `broker ${traffic.broker_cpu_percent.toFixed(1)} %, devices ${traffic.devices_cpu_percent.toFixed(1)} %`,
    ],
    [
      'switching models',
      `${operator.answered} of ${options.devices} answered; ${spread(operator)}; all in ${ms(operator.all_ms)}`,
    ],
    [
      'restart',
      isOnly
        ? `killed, away for ${ms(restart.down_ms)} (${ms(restart.start_ms)} of it to start)`
        : `one node killed: ${restart.devices_lost} devices lost their connection; it needs ${ms(restart.start_ms)} to come back`,
    ],
    ['coming back', `${spread(restart.recovery)}; at most ${restart.reconnects.most_in_100_ms} in 100 ms`],
    ['  the consumer', `at most ${ms(restart.consumer_silence_ms)} without an event`],
    ['  by seconds', restart.reconnects.per_second.join(' ')],
    ['  failed attempts', restart.failed_attempts_per_second.join(' ') || 'none'],
    [
      '  its cost',
      `${restart.extra_packets_per_device?.toFixed(1) ?? '–'} packets and ${kb(restart.extra_bytes_per_device)} for each device; broker at ${restart.broker_cpu_percent.toFixed(0)} % of a core`,
    ],
    [
      'events',
      `${events.published} published, ${events.lost} lost, ${events.duplicates} twice, ${events.out_of_order} out of order, ${events.late} late`,
    ],
    [
      'statuses',
      `${statuses.online_after_restart} online after the restart, ${statuses.offline_after_stop} offline at the end`,
    ],
    [
      'memory',
      `${kb(memory.device_bytes)} for each device; broker ${kb(memory.broker_bytes)}, its file ${kb(memory.broker_data_bytes)}`,
    ],
    ['event loops', `at most ${ms(report.event_loop_max_ms)} late`],
    ...Object.entries(report.abilities).map(([name, value]): [string, string] => [
      name.replaceAll('_', ' '),
      value === null
        ? '–'
        : String(value)
            .replace(/^true$/, 'yes')
            .replace(/^false$/, 'NO'),
    ]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const lines = rows.map(([name, text]) => `${name.padEnd(width)}${text}`);
  const verdict =
    report.failures.length === 0 ? ['All as promised.'] : report.failures.map((text) => `FAILED: ${text}`);
  return `${[...lines, '', ...verdict].join('\n')}\n`;
}
