import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Client } from 'aedes';
import t from 'tap';
import { createEntry } from '../../src/mqtt/broker-entry.js';
import { BROKER_LIMITS, createAccounts } from '../../src/mqtt/broker-limits.js';
import { createRules } from '../../src/mqtt/broker-rules.js';
import { createVisitors } from '../../src/mqtt/broker-visitors.js';

/* The parts of the embedded broker, each for itself. */

function socketFrom(remoteAddress: string, writableLength = 0) {
  const socket = Object.assign(new EventEmitter(), { remoteAddress, writableLength });
  return { socket: socket as unknown as Socket, close: () => socket.emit('close') };
}

const clientOf = (id: string, conn: object = {}) => ({ id, conn }) as unknown as Client;

t.test('only whoever gives the account comes in, and nobody with the id of the service', async (t) => {
  const own = clientOf('soundpost_mine');
  const entry = createEntry({
    username: 'me',
    password: 'secret',
    ownClientId: 'soundpost_mine',
    isOwn: (client) => client === own,
  });
  const ask = (client: Client, name?: string, secret?: string) =>
    new Promise<unknown>((resolve) => {
      entry.authenticate(client, name, secret === undefined ? undefined : Buffer.from(secret), (error, is) =>
        resolve(is === true ? 'in' : error?.returnCode),
      );
    });
  t.equal(await ask(own), 'in');
  t.equal(await ask(clientOf('other'), 'me', 'secret'), 'in');
  t.equal(await ask(clientOf('soundpost_mine'), 'me', 'secret'), 2);
  const begun = performance.now();
  const wrong = [
    ask(clientOf('other')),
    ask(clientOf('other'), 'me', 'guess'),
    ask(clientOf('soundpost_mine')),
  ];
  t.same(await Promise.all(wrong), [4, 4, 4]);
  t.ok(performance.now() - begun > 900, 'a guess costs time');
  let answered = false;
  void ask(clientOf('other')).then(() => (answered = true));
  entry.close();
  await new Promise((resolve) => setTimeout(resolve, 1200));
  t.notOk(answered);
});

t.test('one address takes so many places and no more, and gives them back', (t) => {
  const gone: string[] = [];
  const visitors = createVisitors({ onGone: ({ address }) => gone.push(address) });
  const sockets = Array.from({ length: BROKER_LIMITS.connectionsPerAddress }, () =>
    socketFrom('::ffff:10.0.0.1', 100),
  );
  for (const { socket } of sockets) t.same(visitors.admit(socket), { address: '10.0.0.1' });
  t.equal(visitors.admit(socketFrom('10.0.0.1').socket), null);
  t.ok(visitors.admit(socketFrom('10.0.0.2', 5).socket));
  t.ok(visitors.admit(socketFrom('127.0.0.1').socket));
  t.equal(visitors.queuedBytes(), 100 * sockets.length + 5);
  sockets[0]!.close();
  t.same(gone, ['10.0.0.1']);
  t.ok(visitors.admit(socketFrom('10.0.0.1').socket));
  t.end();
});

t.test('what a client may do ends where its bounds are, and the service has none', (t) => {
  const own = clientOf('own');
  const complaints: string[] = [];
  let all = 0;
  const rules = createRules({
    isOwn: (client) => client === null || client === own,
    keyOf: (client) => client,
    accounts: createAccounts({
      ...BROKER_LIMITS,
      ...({ retainedTopics: 1, subscriptions: 1 } as object),
    }),
    queuedBytes: () => all,
    complain: (code) => complaints.push(code),
  });
  const packetOf = (topic: string, more: object = {}) => ({
    ...{
      cmd: 'publish' as const,
      topic,
      payload: Buffer.from('1'),
      qos: 0 as const,
      retain: false,
      dup: false,
    },
    ...more,
  });
  const publish = (client: Client | null, packet: ReturnType<typeof packetOf>) => {
    let said: unknown;
    rules.authorizePublish(client, packet, (error) => (said = error?.message ?? 'taken'));
    return [said, packet.retain];
  };
  const guest = clientOf('guest');
  t.match(publish(own, packetOf('$SYS/x')), [/reserved/, false]);
  const large = { qos: 2 as const, payload: Buffer.alloc(BROKER_LIMITS.exactlyOnceBytes + 1) };
  t.match(publish(guest, packetOf('a', large)), [/QoS 2/, false]);
  t.same(publish(own, packetOf('a', large)), ['taken', false]);
  t.same(publish(guest, packetOf('a', { retain: true })), ['taken', true]);
  t.same(publish(guest, packetOf('b', { retain: true })), ['taken', false], 'passed on and not kept');
  t.same(publish(own, packetOf('b', { retain: true })), ['taken', true]);

  const subscribe = (client: Client, topic: string) => {
    let granted = false;
    rules.authorizeSubscribe(client, { topic, qos: 0 }, (_error, is) => (granted = is != null));
    return granted;
  };
  t.same(
    [subscribe(guest, 'a'), subscribe(guest, 'b'), subscribe(own, 'a'), subscribe(own, 'b')],
    [true, false, true, true],
  );

  let destroyed = false;
  const slow = (writableLength: number) =>
    clientOf('slow', { destroyed: false, writableLength, destroy: () => (destroyed = true) });
  const forward = (client: Client) => rules.authorizeForward(client, packetOf('a') as never) !== null;
  const { queuedBytes, queuedBytesInAll } = BROKER_LIMITS;
  t.ok(forward(slow(queuedBytes - 1)));
  all = queuedBytesInAll;
  t.ok(forward(slow(queuedBytes / 16 - 1)), 'whoever reads is not blamed for others');
  t.notOk(destroyed);
  t.notOk(forward(slow(queuedBytes / 16)));
  t.ok(destroyed);
  t.same(complaints, ['broker_full', 'broker_full', 'slow_client']);
  t.end();
});
