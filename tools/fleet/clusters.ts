import { spawnSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SoundpostError } from '../../src/common/errors.js';
import type { FleetBroker } from './broker.js';
import { attempt, open } from './subscriber.js';
import { createNode, lastingPorts, type BrokerNode } from './node.js';

/* Brokers of several nodes, all on the loopback address, in the versions of Debian's packages. */

const START_LIMIT_MS = 120_000;
/** For all nodes to have found each other, and to have agreed who keeps what. */
const TOGETHER_LIMIT_MS = 120_000;
const ATTEMPT_LIMIT_MS = 10_000;

export interface ClusterOptions {
  nodes: number;
  folder: string;
  /** Ends the waiting for the nodes. */
  signal: AbortSignal;
}

/**
 * What a subscription may have on its way without an answer; the default is 100. Those of one client may have 65,535
 * in all, and one with "#" counts twice: a subscription above that is denied. A device has six of them.
 */
const NATS_ACK_PENDING = 8000;

/**
 * The configuration of one node. Sessions, retained messages and what waits for consumers are in streams, each of them
 * kept by three nodes.
 */
export function natsConfiguration(options: {
  name: string;
  folder: string;
  client: number;
  mqtt: number;
  cluster: number;
  routes: readonly number[];
}): string {
  const { name, folder, client, mqtt, cluster, routes } = options;
  const replicas = Math.min(3, routes.length);
  return [
    `server_name: ${name}`,
    `listen: "127.0.0.1:${client}"`,
    `jetstream { store_dir: ${JSON.stringify(folder)}, max_memory_store: 512MB, max_file_store: 4GB }`,
    `mqtt { listen: "127.0.0.1:${mqtt}", max_ack_pending: ${NATS_ACK_PENDING}, stream_replicas: ${replicas}, consumer_replicas: ${replicas} }`,
    ...(routes.length === 1
      ? []
      : [
          'cluster {',
          '  name: fleet',
          `  listen: "127.0.0.1:${cluster}"`,
          `  routes: [${routes.map((port) => `"nats-route://127.0.0.1:${port}"`).join(', ')}]`,
          '}',
        ]),
    '',
  ].join('\n');
}

export async function startNats({ nodes: count, folder, signal }: ClusterOptions): Promise<FleetBroker> {
  const all = await lastingPorts(count * 3);
  const [clients, mqtts, routes] = [0, 1, 2].map((part) => all.slice(part * count, (part + 1) * count));
  const nodes: BrokerNode[] = [];
  for (let number = 0; number < count; number += 1) {
    const name = `node${number + 1}`;
    const file = join(folder, `${name}.conf`);
    const [client, mqtt, cluster] = [clients![number]!, mqtts![number]!, routes![number]!];
    await writeFile(
      file,
      natsConfiguration({ name, folder: join(folder, name), client, mqtt, cluster, routes: routes! }),
    );
    nodes.push(
      createNode({
        name: 'nats-server',
        debianPackage: 'nats-server',
        command: ['nats-server', '-c', file],
        port: mqtt,
        startLimitMs: START_LIMIT_MS,
      }),
    );
  }
  const said = spawnSync('nats-server', ['--version'], { encoding: 'utf8' }).stdout as string | null;
  return together(
    nodes,
    `nats-server ${/v(\d\S*)/.exec(said ?? '')?.[1] ?? '(version unknown)'}`,
    signal,
    () => Promise.resolve(),
  );
}

/** Where Debian keeps it. The program on the path changes to a user and a folder of its own. */
const RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server';
const COOKIE = 'fleet';

/**
 * The configuration of one node. `durable_queue_type = quorum`: what waits for a consumer is kept by three nodes; by
 * default it is on the one that the consumer was connected to. `prefetch` is what a consumer may have on its way.
 */
export function rabbitmqConfiguration(options: {
  amqp: number;
  mqtt: number;
  names: readonly string[];
}): string {
  const { amqp, mqtt, names } = options;
  return [
    `listeners.tcp.1 = 127.0.0.1:${amqp}`,
    `mqtt.listeners.tcp.1 = 127.0.0.1:${mqtt}`,
    'mqtt.allow_anonymous = true',
    'mqtt.subscription_ttl = 86400000',
    'mqtt.prefetch = 65535',
    'mqtt.durable_queue_type = quorum',
    'cluster_formation.peer_discovery_backend = classic_config',
    ...names.map((name, index) => `cluster_formation.classic_config.nodes.${index + 1} = ${name}`),
    'cluster_partition_handling = pause_minority',
    'log.console = true',
    'log.console.level = error',
    'log.file = false',
    '',
  ].join('\n');
}

export async function startRabbitmq({ nodes: count, folder, signal }: ClusterOptions): Promise<FleetBroker> {
  const [epmdPort, ...all] = await lastingPorts(1 + count * 3);
  const [amqps, mqtts, links] = [0, 1, 2].map((part) => all.slice(part * count, (part + 1) * count));
  const names = amqps!.map((_, index) => `fleet${index + 1}@localhost`);
  const plugins = join(folder, 'enabled_plugins');
  await writeFile(plugins, '[rabbitmq_mqtt].\n');
  const shared = {
    HOME: folder,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-setcookie ${COOKIE} -kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none`,
  };
  // The nodes find each other by it; one that a node starts itself would outlive us.
  const directory = createNode({
    name: 'epmd',
    debianPackage: 'rabbitmq-server',
    command: ['epmd', '-port', String(epmdPort), '-address', '127.0.0.1'],
    port: epmdPort!,
    startLimitMs: START_LIMIT_MS,
  });
  const nodes: BrokerNode[] = [];
  for (const [index, name] of names.entries()) {
    const own = join(folder, name);
    await mkdir(own);
    const file = join(own, 'rabbitmq.conf');
    await writeFile(file, rabbitmqConfiguration({ amqp: amqps![index]!, mqtt: mqtts![index]!, names }));
    nodes.push(
      createNode({
        name: 'rabbitmq-server',
        debianPackage: 'rabbitmq-server',
        command: [RABBITMQ],
        env: {
          ...shared,
          RABBITMQ_NODENAME: name,
          RABBITMQ_DIST_PORT: String(links![index]!),
          RABBITMQ_MNESIA_BASE: join(own, 'mnesia'),
          RABBITMQ_LOG_BASE: join(own, 'log'),
          RABBITMQ_CONFIG_FILE: file,
          RABBITMQ_FEATURE_FLAGS_FILE: join(own, 'feature_flags'),
          RABBITMQ_PID_FILE: join(own, 'pid'),
          RABBITMQ_GENERATED_CONFIG_DIR: join(own, 'generated'),
        },
        port: mqtts![index]!,
        startLimitMs: START_LIMIT_MS,
      }),
    );
  }
  await directory.start();
  const query = spawnSync('dpkg-query', ['-W', '-f', '${Version}', 'rabbitmq-server'], { encoding: 'utf8' });
  const version = (query.stdout as string | null) ?? '';
  return together(nodes, `rabbitmq-server ${version || '(version unknown)'}`, signal, () =>
    directory.end('SIGKILL'),
  );
}

/** Starts all nodes at once and waits until they are one broker. Leaves nothing behind where it throws. */
async function together(
  nodes: readonly BrokerNode[],
  version: string,
  signal: AbortSignal,
  endOthers: () => Promise<void>,
): Promise<FleetBroker> {
  const [first, ...rest] = nodes.map(({ port }) => `mqtt://127.0.0.1:${port}`);
  const stop = async (): Promise<void> => {
    // What they know is of no use any more, and a polite end of a cluster takes its time.
    await Promise.all(nodes.map((node) => node.end('SIGKILL')));
    await endOthers();
  };
  try {
    await Promise.all(nodes.map((node) => node.start()));
    for (const url of [first!, ...rest]) await takesSessions(url, signal);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    version,
    urls: [first!, ...rest],
    counts: false,
    pids: () => nodes.flatMap((node) => node.pids()),
    crash: () => nodes[0]!.end('SIGKILL'),
    async revive() {
      await nodes[0]!.start();
      await takesSessions(first!, signal);
    },
    stop,
    dataBytes: () => Promise.resolve(null),
  };
}

/** Resolves when a session that lasts can be had there: before that the nodes are still about to become one. */
async function takesSessions(url: string, signal: AbortSignal): Promise<void> {
  const until = performance.now() + TOGETHER_LIMIT_MS;
  while (!(await attempt(triesSession(url), false, ATTEMPT_LIMIT_MS))) {
    signal.throwIfAborted();
    if (performance.now() > until) {
      throw new SoundpostError(
        'bench_failed',
        'The nodes did not become one broker: sessions cannot be had there.',
      );
    }
    await delay(250);
  }
}

async function triesSession(url: string): Promise<true> {
  const topic = `fleet-bench/first/${new URL(url).port}`;
  const session = { clientId: `fleet-bench-first-${new URL(url).port}`, clean: false };
  const { client } = await open(url, session);
  try {
    await client.subscribeAsync(topic, { qos: 1 });
    await client.publishAsync(topic, 'x', { qos: 1 });
    await client.unsubscribeAsync(topic);
    await client.endAsync();
    // Once more without the session, so that nothing of it stays.
    const last = await open(url, { ...session, clean: true });
    await last.client.endAsync();
    return true;
  } finally {
    client.stream.destroy();
  }
}
