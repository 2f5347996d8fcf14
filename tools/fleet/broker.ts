import { spawnSync } from 'node:child_process';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startNats, startRabbitmq } from './clusters.js';
import { createNode, lastingPorts } from './node.js';

export type BrokerKind = 'mosquitto' | 'nats' | 'rabbitmq';

/** A broker of one or more nodes, set up as an operator of a fleet would. Ports and data stay through a crash. */
export interface FleetBroker {
  /** Its name and its version. */
  readonly version: string;
  /** One address for each node; the first node is the one that crashes. */
  readonly urls: readonly [string, ...string[]];
  /** Whether it publishes what it counts below `$SYS`, as mosquitto does. */
  readonly counts: boolean;
  /** Of all processes that run now. */
  pids(): number[];
  /** Ends the first node without a goodbye. */
  crash(): Promise<void>;
  /** Starts it again; resolves when it takes connections. */
  revive(): Promise<void>;
  stop(): Promise<void>;
  /** What it keeps on the disk, in bytes; null where that is not one file. */
  dataBytes(): Promise<number | null>;
}

/** Throws SoundpostError `no_broker` where it is not installed or does not start. */
export function startFleetBroker(options: {
  kind: BrokerKind;
  nodes: number;
  /** An empty one. */
  folder: string;
  autosaveSeconds: number;
  signal: AbortSignal;
}): Promise<FleetBroker> {
  switch (options.kind) {
    case 'mosquitto':
      return startMosquitto(options);
    case 'nats':
      return startNats(options);
    case 'rabbitmq':
      return startRabbitmq(options);
  }
}

const START_LIMIT_MS = 30_000;

/**
 * The configuration.
 * - `persistence` and a short `autosave_interval`: with the default of 30 minutes a crash takes the sessions of the
 *   consumers along, and with them what waits there.
 * - `max_queued_messages`: what a consumer may leave waiting while it is away; the default of 1000 is soon full.
 * - `max_inflight_messages 0`: the receive maximum of each client decides (the devices keep to 16).
 */
export function brokerConfiguration(options: {
  port: number;
  folder: string;
  autosaveSeconds: number;
}): string {
  return [
    `listener ${options.port} 127.0.0.1`,
    'allow_anonymous true',
    'max_connections -1',
    'persistence true',
    `persistence_location ${options.folder}/`,
    `autosave_interval ${options.autosaveSeconds}`,
    'max_queued_messages 1000000',
    'max_inflight_messages 0',
    'sys_interval 1',
    'log_dest stderr',
    'log_type error',
    'log_type warning',
    // Otherwise it leaves the rights it was started with, and cannot write its own files.
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    '',
  ].join('\n');
}

async function startMosquitto(options: { folder: string; autosaveSeconds: number }): Promise<FleetBroker> {
  const [port = 0] = await lastingPorts(1);
  const file = join(options.folder, 'mosquitto.conf');
  await writeFile(file, brokerConfiguration({ ...options, port }));
  const node = createNode({
    name: 'mosquitto',
    debianPackage: 'mosquitto',
    command: ['mosquitto', '-c', file],
    port,
    startLimitMs: START_LIMIT_MS,
  });
  await node.start();
  const said = spawnSync('mosquitto', ['-h'], { encoding: 'utf8' }).stdout;
  return {
    version: `mosquitto ${/version (\S+)/.exec(said)?.[1] ?? '(version unknown)'}`,
    urls: [`mqtt://127.0.0.1:${port}`],
    counts: true,
    pids: () => node.pids(),
    crash: () => node.end('SIGKILL'),
    revive: () => node.start(),
    stop: () => node.end('SIGTERM'),
    dataBytes: () =>
      stat(join(options.folder, 'mosquitto.db')).then(
        ({ size }) => size,
        () => 0,
      ),
  };
}
