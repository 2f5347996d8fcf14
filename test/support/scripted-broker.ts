import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { generate, parser, type IConnackPacket, type IConnectPacket, type Packet } from 'mqtt-packet';
import { createWaiting } from './waiting.js';

/** What a broker may answer where no real one does so at will. Every answer that is left out is the friendly one. */
export interface Script {
  /** `null` closes the connection without an answer. */
  connect?: (packet: IConnectPacket) => Partial<IConnackPacket> | null;
  /** `false` closes the connection; a number is the reason code of a DISCONNECT before that. */
  publish?: (topic: string, payload: Buffer) => boolean | number;
  subscribe?: (filter: string) => boolean | number;
}

export interface ScriptedBroker {
  readonly url: string;
  readonly port: number;
  readonly connects: readonly IConnectPacket[];
  readonly taken: readonly { topic: string; text: string; retain: boolean; qos: number }[];
  readonly subscribed: readonly string[];
  /** Ends all connections, with this reason code where one is given. */
  disconnect(reasonCode?: number): void;
  /** Resolves once `fits` holds; looked at after every packet. */
  until(fits: () => boolean, what: string): Promise<void>;
}

/**
 * A broker that does what a test says. `server` may be another one, such as a TLS server; by default it listens on a
 * free port of the loopback address.
 */
export async function scriptedBroker(
  t: { teardown(handler: () => unknown): void },
  script: Script,
  server: Pick<Server, 'on' | 'listen' | 'close' | 'address'> = createServer(),
  event = 'connection',
): Promise<ScriptedBroker> {
  const connects: IConnectPacket[] = [];
  const taken: { topic: string; text: string; retain: boolean; qos: number }[] = [];
  const subscribed: string[] = [];
  const open = new Map<Socket, 4 | 5>();
  const { wake, until } = createWaiting();
  server.on(event as 'connection', (socket: Socket) => {
    let version: 4 | 5 = 4;
    const say = (packet: Packet) => socket.write(generate(packet, { protocolVersion: version }));
    const leave = (answer: boolean | number) => {
      if (typeof answer === 'number') say({ cmd: 'disconnect', reasonCode: answer });
      socket.end();
    };
    const incoming = parser();
    incoming.on('packet', (packet: Packet) => {
      if (socket.writableEnded) return;
      if (packet.cmd === 'connect') {
        version = packet.protocolVersion === 5 ? 5 : 4;
        open.set(socket, version);
        connects.push(packet);
        const answer = script.connect === undefined ? {} : script.connect(packet);
        if (answer === null) socket.end();
        else say({ cmd: 'connack', sessionPresent: false, returnCode: 0, reasonCode: 0, ...answer });
      } else if (packet.cmd === 'subscribe') {
        const filters = packet.subscriptions.map(({ topic }) => topic);
        const bad = filters.map((filter) => script.subscribe?.(filter) ?? true).find((fine) => fine !== true);
        if (bad === undefined) {
          subscribed.push(...filters);
          say({ cmd: 'suback', messageId: packet.messageId!, granted: filters.map(() => 1) });
        } else leave(bad);
      } else if (packet.cmd === 'publish') {
        const { topic, retain, qos } = packet;
        const payload = Buffer.from(packet.payload);
        const answer = script.publish?.(topic, payload) ?? true;
        if (answer === true) {
          taken.push({ topic, text: payload.toString(), retain, qos });
          if (qos > 0) say({ cmd: 'puback', messageId: packet.messageId!, reasonCode: 0 });
        } else leave(answer);
      } else if (packet.cmd === 'pingreq') say({ cmd: 'pingresp' });
      wake();
    });
    socket.on('data', (bytes: Buffer) => incoming.parse(bytes)).on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    t.teardown(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server as Server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return {
    url: `mqtt://127.0.0.1:${port}`,
    port,
    connects,
    taken,
    subscribed,
    disconnect(reasonCode) {
      for (const [socket, protocolVersion] of open) {
        if (reasonCode !== undefined)
          socket.write(generate({ cmd: 'disconnect', reasonCode }, { protocolVersion }));
        socket.end();
      }
    },
    until: (fits, what) =>
      until(
        fits,
        () => {
          const topics = taken.map(({ topic }) => topic).slice(-20);
          return `${what}; taken: ${topics.join(', ')}; ${connects.length} connects`;
        },
        20,
      ),
  };
}
