import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, isIP, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Aedes, type AuthenticateError, type Client } from 'aedes';
import { SoundpostError, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { isLoopback } from '../common/loopback.js';
import { createSuppressor } from '../common/suppress.js';
import { BROKER_LIMITS, createAccounts, createBucket } from './broker-limits.js';
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

/** Whoever gives a wrong password waits so long for the answer. */
const WRONG_PASSWORD_DELAY_MS = 1000;

/** Reason codes of a CONNACK (MQTT 3.1.1 section 3.2.2.3). */
const IDENTIFIER_REJECTED = 2;
const WRONG_ACCOUNT = 4;

/** What is known of a connection from outside. */
interface Visitor {
  readonly address: string;
}

/**
 * Starts the broker that is used where no other is configured: MQTT 3.1.1 over TCP, nothing kept on disk. What its
 * clients may take is bounded, for each and in all (broker-limits.ts). Port 0 takes a free one. Throws SoundpostError
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
  const isRight = accountCheck(username, password);
  const own = new WeakSet<Client>();
  const visitors = new WeakMap<Client, Visitor>();
  const sockets = new Map<Socket, Visitor>();
  const accounts = createAccounts();
  const delays = new Set<NodeJS.Timeout>();
  const said = createSuppressor();
  /** What clients do wrong is told once in a minute: they may do it a thousand times a second. */
  const complain = (code: string, message: string): void => {
    if (said.offer(message, performance.now()).pass) log.warn({ code }, message);
  };
  const isOwn = (client: Client | null) => client === null || own.has(client);
  const keyOf = (client: Client): object => visitors.get(client) ?? client;

  const aedes = await Aedes.createBroker({
    connectTimeout: 10_000,
    maxInflightInbound: BROKER_LIMITS.exactlyOnceMessages,
    preConnect: (_client, packet, callback) => {
      // A kept session would queue messages in memory without bound for a subscriber that never comes back.
      packet.clean = true;
      callback(null, true);
    },
    authenticate: (client, name, secret, callback) => {
      if (own.has(client)) {
        callback(null, true);
        return;
      }
      if (isRight(name, secret)) {
        if (client.id !== ownClientId) {
          callback(null, true);
          return;
        }
        // The link of the service would lose its connection to whoever comes with its id.
        callback(refusal(IDENTIFIER_REJECTED, 'this id is taken by the service itself'), false);
        return;
      }
      const timer = setTimeout(() => {
        delays.delete(timer);
        callback(refusal(WRONG_ACCOUNT, 'bad user name or password'), false);
      }, WRONG_PASSWORD_DELAY_MS);
      delays.add(timer);
    },
    authorizePublish: (client, packet, callback) => {
      if (packet.topic.startsWith('$SYS/')) {
        callback(new Error('$SYS/ topics are reserved'));
        return;
      }
      const bytes = packet.payload.length;
      if (!isOwn(client) && packet.qos === 2 && bytes > BROKER_LIMITS.exactlyOnceBytes) {
        callback(new Error(`QoS 2 is for messages of at most ${BROKER_LIMITS.exactlyOnceBytes} bytes here`));
        return;
      }
      if (packet.retain) {
        const kept = bytes === 0 ? 0 : bytes + Buffer.byteLength(packet.topic);
        const key = isOwn(client) || client === null ? null : keyOf(client);
        if (!accounts.retain(key, packet.topic, kept)) {
          // MQTT 3.1.1 has no word for it: the message goes to whoever listens now.
          packet.retain = false;
          complain(
            'broker_full',
            'A client of the embedded broker wants more retained messages than it may have; they are passed on and not kept.',
          );
        }
      }
      callback(null);
    },
    authorizeSubscribe: (client, subscription, callback) => {
      if (isOwn(client) || accounts.subscribe(keyOf(client), subscription.topic)) {
        callback(null, subscription);
        return;
      }
      complain(
        'broker_full',
        'A client of the embedded broker wants more subscriptions than it may have; they are refused.',
      );
      // A SUBACK that says no.
      callback(null, null);
    },
    authorizeForward: (client, packet) => (isOwn(client) || reads(client) ? packet : null),
  });
  aedes.on('unsubscribe', (filters, client) => accounts.unsubscribe(keyOf(client), filters));
  // Faults of single clients (another MQTT version, a reset) are theirs.
  const clientFault = (_client: unknown, error: Error): void =>
    log.debug({ err: error }, `A client of the embedded broker failed: ${error.message}`);
  aedes.on('clientError', clientFault);
  aedes.on('connectionError', clientFault);
  (aedes as NodeJS.EventEmitter).on('error', (error: unknown) =>
    log.error({ code: 'broker_failed', err: error }, `The embedded broker failed: ${messageOf(error)}`),
  );

  /** Whether a subscriber still reads what it is sent; one that does not is disconnected. */
  function reads({ conn }: Client): boolean {
    if (conn.destroyed) return false;
    const waiting = conn.writableLength;
    if (waiting < BROKER_LIMITS.queuedBytes) {
      if (waiting < BROKER_LIMITS.queuedBytes / 16) return true;
      let all = 0;
      for (const socket of sockets.keys()) all += socket.writableLength;
      if (all < BROKER_LIMITS.queuedBytesInAll) return true;
    }
    conn.destroy();
    complain(
      'slow_client',
      'A client of the embedded broker did not read what it has subscribed to and was disconnected.',
    );
    return false;
  }

  const arrivals = createBucket(BROKER_LIMITS.connectionsPerSecond, BROKER_LIMITS.connectionsBurst);
  const shared = {
    packets: createBucket(BROKER_LIMITS.packetsPerSecondInAll, BROKER_LIMITS.packetsBurstInAll),
    bytes: createBucket(BROKER_LIMITS.bytesPerSecondInAll, BROKER_LIMITS.bytesBurstInAll),
  };

  function mayCome(address: string): boolean {
    if (sockets.size >= BROKER_LIMITS.connections || arrivals.waitMs() > 0) return false;
    if (isLoopback(address)) return true;
    let same = 0;
    for (const visitor of sockets.values()) if (visitor.address === address) same += 1;
    return same < BROKER_LIMITS.connectionsPerAddress;
  }

  const server = createServer((socket) => {
    const visitor = { address: (socket.remoteAddress ?? '').replace(/^::ffff:/, '') };
    if (!mayCome(visitor.address)) {
      complain(
        'broker_full',
        'The embedded broker has as many connections as it takes; a further one was closed.',
      );
      socket.destroy();
      return;
    }
    arrivals.take(1);
    sockets.set(socket, visitor);
    socket.on('close', () => {
      sockets.delete(socket);
      accounts.gone(visitor);
    });
    createPacedReader(socket, {
      shared,
      onTooLarge: () =>
        complain(
          'packet_too_large',
          `A client of the embedded broker sent a packet of more than ${BROKER_LIMITS.packetBytes} bytes and was disconnected.`,
        ),
    });
    const client = aedes.handle(socket);
    visitors.set(client, visitor);
    doNotWait(client);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port: options.port }, resolve);
    });
  } catch (error) {
    await new Promise<void>((resolve) => aedes.close(resolve));
    throw listenError(error, host, options.port);
  }
  server.on('error', (error) =>
    log.error({ code: 'broker_failed', err: error }, `The embedded broker failed: ${error.message}`),
  );

  const { port } = server.address() as AddressInfo;
  const local = localAddress(host);
  const url = `mqtt://${isIP(local) === 6 ? `[${local}]` : local}:${port}`;

  let stopped: Promise<void> | null = null;
  async function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await new Promise<void>((resolve) => aedes.close(resolve));
    for (const timer of delays) clearTimeout(timer);
    // Connections that never became clients.
    for (const socket of sockets.keys()) socket.destroy();
    await closed;
  }

  return {
    url,
    port,
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

/** Compares what a client gives with the account, in a time that says nothing about it. */
function accountCheck(username: string, password: string) {
  if (password === '') return () => true;
  const digest = (text: string | Buffer) => createHash('sha256').update(text).digest();
  const [wantedName, wantedSecret] = [digest(username), digest(password)];
  return (name: string | undefined, secret: Buffer | undefined): boolean => {
    const nameIsRight = timingSafeEqual(digest(name ?? ''), wantedName);
    const secretIsRight = timingSafeEqual(digest(secret ?? ''), wantedSecret);
    return nameIsRight && secretIsRight;
  };
}

function refusal(returnCode: number, message: string): AuthenticateError {
  // The type of the code is an enum that exists at compile time only.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
  return Object.assign(new Error(message), { returnCode });
}

function unprotected(host: string): SoundpostError {
  return new SoundpostError(
    'broker_unprotected',
    `The embedded broker does not open to the network (broker.host=${host}) without a password: everybody there could listen and command. Set broker.password, use a broker of your own (mqtt.url), or set broker.host to 127.0.0.1.`,
  );
}

/** Where clients on this machine find a server that is bound to `host`. */
function localAddress(host: string): string {
  if (host === '' || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

function listenError(error: unknown, host: string, port: number): SoundpostError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EADDRINUSE') {
    return new SoundpostError(
      'port_in_use',
      `The embedded broker cannot listen on ${host}:${port}: something does already, probably another MQTT broker. Use that one (mqtt.url=mqtt://127.0.0.1:${port}), or give the embedded one another port (broker.port).`,
      { cause: error },
    );
  }
  if (code === 'EACCES') {
    return new SoundpostError(
      'broker_failed',
      `The embedded broker may not listen on port ${port}: ports below 1024 need special rights. Set broker.port to 1883 or another one above 1023.`,
      { cause: error },
    );
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new SoundpostError(
      'broker_failed',
      `The embedded broker cannot listen on ${host}: this machine does not have that address. Set broker.host to 127.0.0.1 or to an address of this machine.`,
      { cause: error },
    );
  }
  return new SoundpostError('broker_failed', `The embedded broker cannot start: ${messageOf(error)}`, {
    cause: error,
  });
}
