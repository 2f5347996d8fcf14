import { createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { Aedes, type Client } from 'aedes';
import { createBucket } from '../common/bucket.js';
import { listen, localUrl } from '../common/listen.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { isLoopback } from '../common/loopback.js';
import { createSuppressor } from '../common/suppress.js';
import { listenError, unprotected } from './broker-address.js';
import { createEntry } from './broker-entry.js';
import { BROKER_LIMITS, createAccounts } from './broker-limits.js';
import { createRules } from './broker-rules.js';
import { createVisitors, type Visitor } from './broker-visitors.js';
import { createPacedReader } from './paced-reader.js';
import { streamPair } from './stream-pair.js';

export interface EmbeddedBroker {
  /** For clients on this machine. */
  readonly url: string;
  readonly port: number;
  /** How many clients are connected. */
  clients(): number;
  /**
   * A connection for the service's own link. It does not come in by the door: it needs no password, no place among
   * those of the clients, and nobody else can have one.
   */
  connect(): Duplex;
  /** Closes every connection and the port. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts the broker that is used where no other is configured: MQTT 3.1.1 over TCP, nothing kept on disk. What its
 * clients may take is bounded, for each and in all (broker-limits.ts): who is let in (broker-entry.ts), how many come
 * (broker-visitors.ts), what they may do (broker-rules.ts), how fast they send (paced-reader.ts). Port 0 takes a free one. Throws SoundpostError
 * `broker_unprotected` (others reach it and there is no password), `port_in_use` or `broker_failed`.
 */
export async function startEmbeddedBroker(options: {
  host: string;
  port: number;
  /** What clients have to give; an empty password lets everybody in, which is for this machine alone. */
  username?: string;
  password?: string;
  /** The id of the service's own link, which nobody else may have. */
  ownClientId?: string;
  log: Logger;
}): Promise<EmbeddedBroker> {
  const { host, log, username = '', password = '', ownClientId } = options;
  if (password === '' && !isLoopback(host)) throw unprotected(host);
  const own = new WeakSet<Client>();
  const visitorOf = new WeakMap<Client, Visitor>();
  const isOwn = (client: Client | null): boolean => client === null || own.has(client);
  const keyOf = (client: Client): object => visitorOf.get(client) ?? client;
  const complain = createComplaints(log);
  const accounts = createAccounts();
  const visitors = createVisitors({ onGone: (visitor) => accounts.gone(visitor) });
  const entry = createEntry({ username, password, ownClientId, isOwn });

  const aedes = await Aedes.createBroker({
    connectTimeout: 10_000,
    maxInflightInbound: BROKER_LIMITS.exactlyOnceMessages,
    preConnect: (_client, packet, callback) => {
      // A kept session would queue messages in memory without bound for a subscriber that never comes back.
      packet.clean = true;
      callback(null, true);
    },
    authenticate: entry.authenticate,
    ...createRules({ isOwn, keyOf, accounts, queuedBytes: () => visitors.queuedBytes(), complain }),
  });
  aedes.on('unsubscribe', (filters, client) => accounts.unsubscribe(keyOf(client), filters));
  logFaults(aedes, log);

  const shared = {
    packets: createBucket(BROKER_LIMITS.packetsPerSecondInAll, BROKER_LIMITS.packetsBurstInAll),
    bytes: createBucket(BROKER_LIMITS.bytesPerSecondInAll, BROKER_LIMITS.bytesBurstInAll),
  };
  const onTooLarge = (): void =>
    complain(
      'packet_too_large',
      `A client of the embedded broker sent a packet of more than ${BROKER_LIMITS.packetBytes} bytes and was disconnected.`,
    );
  const server = createServer((socket) => {
    const visitor = visitors.admit(socket);
    if (visitor === null) {
      complain(
        'broker_full',
        'The embedded broker has as many connections as it takes; a further one was closed.',
      );
      socket.destroy();
      return;
    }
    createPacedReader(socket, { shared, onTooLarge });
    const client = aedes.handle(socket);
    visitorOf.set(client, visitor);
    doNotWait(client);
  });
  const closeAedes = (): Promise<void> => new Promise((resolve) => aedes.close(resolve));
  try {
    await listen(server, host, options.port);
  } catch (error) {
    await closeAedes();
    throw listenError(error, host, options.port);
  }
  server.on('error', (error) =>
    log.error({ code: 'broker_failed', err: error }, `The embedded broker failed: ${error.message}`),
  );

  let stopped: Promise<void> | null = null;
  async function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await closeAedes();
    entry.close();
    // Connections that never became clients.
    visitors.destroyAll();
    await closed;
  }

  return {
    ...localUrl('mqtt', server, host),
    clients: () => aedes.connectedClients,
    connect() {
      const [ours, theirs] = streamPair();
      if (aedes.closed) {
        setImmediate(() => ours.destroy());
        return ours;
      }
      const client = aedes.handle(theirs);
      own.add(client);
      doNotWait(client);
      return ours;
    },
    stop: () => (stopped ??= close()),
  };
}

/** What clients do wrong is told once in a minute: they may do it a thousand times a second. */
function createComplaints(log: Logger): (code: string, message: string) => void {
  const said = createSuppressor();
  return (code, message) => {
    if (said.offer(message, performance.now()).pass) log.warn({ code }, message);
  };
}

function logFaults(aedes: Aedes, log: Logger): void {
  // Faults of single clients (another MQTT version, a reset) are theirs.
  const clientFault = (_client: unknown, error: Error): void =>
    log.debug({ err: error }, `A client of the embedded broker failed: ${error.message}`);
  aedes.on('clientError', clientFault);
  aedes.on('connectionError', clientFault);
  (aedes as NodeJS.EventEmitter).on('error', (error: unknown) =>
    log.error({ code: 'broker_failed', err: error }, `The embedded broker failed: ${messageOf(error)}`),
  );
}

/**
 * aedes lets whoever publishes wait for every subscriber that does not read, and so one of them stops all: tags stood
 * still for seconds. What waits for a subscriber is bounded by `reads` instead, so that nobody has to.
 */
function doNotWait(client: Client): void {
  const waiting = client as unknown as {
    waitForDrain: (done: (error: Error | null, client: Client) => void) => void;
  };
  waiting.waitForDrain = (done) => void setImmediate(done, null, client);
}
