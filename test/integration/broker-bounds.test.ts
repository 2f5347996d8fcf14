import t, { type Test } from 'tap';
import { createBucket } from '../../src/common/bucket.js';
import { silentLogger } from '../../src/common/log.js';
import { startEmbeddedBroker } from '../../src/mqtt/broker.js';
import { BROKER_LIMITS, createAccounts } from '../../src/mqtt/broker-limits.js';
import { pour, publishPacket, rawClient, subscribePacket } from '../support/flood.js';
import { makeLink } from '../support/link.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createRecordingLog } from '../support/recording-log.js';
import { until } from '../support/waiting.js';

async function start(t: Test, options: { log?: typeof silentLogger } = {}) {
  const broker = await startEmbeddedBroker({
    host: '127.0.0.1',
    port: 0,
    ownClientId: 'soundpost_attic',
    log: options.log ?? silentLogger,
  });
  t.teardown(() => broker.stop());
  const probe = async (topics: string[], more: Parameters<typeof createProbe>[2] = {}) => {
    const made = await createProbe(broker.url, topics, more);
    t.teardown(() => made.close());
    return made;
  };
  return { broker, probe };
}

t.test('nobody takes the place of the service', async (t) => {
  const { broker, probe } = await start(t);
  const link = makeLink(t, {
    url: broker.url,
    openStream: () => broker.connect(),
    protocolVersion: 4,
    deviceId: 'attic',
    timing: { startSpreadMs: 0 },
  });
  await link.start();
  const other = await probe(['soundpost/attic/#']);
  await other.next('soundpost/attic/status', ({ text }) => text === 'online');
  await t.rejects(createProbe(broker.url, ['x'], { clientId: 'soundpost_attic' }), { code: 2 });

  await t.test('not even where every place is taken', async (t) => {
    const sockets = await Promise.all(
      Array.from({ length: BROKER_LIMITS.connections + 20 }, (_, n) => rawClient(broker.port, `many-${n}`)),
    );
    t.teardown(() => sockets.forEach((socket) => socket.destroy()));
    // Of the hundred places `other` has one.
    const closed = () => sockets.filter(({ destroyed }) => destroyed).length;
    await until(
      () => closed() >= 21,
      () => `21 closed connections; ${closed()} are`,
      30,
      10,
    );
    t.equal(closed(), 21);
    // The link comes back by itself, through a door of its own.
    const again = broker.connect();
    t.equal(again.destroyed, false);
    again.destroy();
    link.publish('audio/status', 'online');
    await other.next('soundpost/attic/audio/status', ({ text }) => text === 'online');
  });
});

t.test('what is retained is bounded, and the service’s own is not touched by that', async (t) => {
  const log = createRecordingLog();
  const { broker, probe } = await start(t, { log });
  const flooder = await rawClient(broker.port, 'flooder');
  t.teardown(() => flooder.destroy());
  await pour(flooder, BROKER_LIMITS.retainedTopics + 50, 5000, (n) =>
    publishPacket(`keep/${n}`, Buffer.from('x'), true),
  );
  const listener = await probe(['done']);
  await listener.publish('keep/0', '', { retain: true, qos: 1 });
  flooder.write(publishPacket('done', Buffer.from('1')));
  await listener.next('done');
  const late = await probe(['keep/#', 'late']);
  const count = () => late.messages.filter(({ topic }) => topic.startsWith('keep/')).length;
  const least = BROKER_LIMITS.retainedTopics - 1;
  await until(
    () => count() >= least,
    () => `${least} retained messages; ${count()} came`,
    30,
    10,
  );
  await late.publish('late', '1');
  await late.next('late');
  const kept = count();
  // Taking one away may have made room for another one that was still on its way.
  t.ok(
    kept === BROKER_LIMITS.retainedTopics || kept === BROKER_LIMITS.retainedTopics - 1,
    `${kept} are kept`,
  );
  t.notOk(late.messages.some(({ topic }) => topic === 'keep/0'));
  t.ok(log.lines.filter(({ fields }) => fields.code === 'broker_full').length === 1, 'said once');
});

t.test('a subscriber that reads nothing goes, and the others do not wait for it', async (t) => {
  const { broker, probe } = await start(t);
  const dead = await rawClient(broker.port, 'dead');
  dead.pause();
  dead.write(subscribePacket(1, ['#']));
  const alive = await probe(['x/#']);
  const big = Buffer.alloc(100_000, 'x');
  for (let n = 0; n < 12; n += 1) {
    await alive.publish(`x/${n}`, big);
    await alive.next(`x/${n}`);
  }
  t.equal(alive.messages.length, 12);
});

t.test('more subscriptions than allowed are refused, one by one', async (t) => {
  const { probe } = await start(t);
  const filters = Array.from({ length: BROKER_LIMITS.subscriptions }, (_, n) => `f/${n}`);
  const client = await probe(filters);
  await client.publish('f/0', 'yes');
  await client.next('f/0');
  const more = Array.from({ length: BROKER_LIMITS.subscriptions + 1 }, (_, n) => `g/${n}`);
  await t.rejects(probe(more), 'one of them is refused');
});

t.test('the accounts come out even', (t) => {
  const accounts = createAccounts({ ...BROKER_LIMITS, retainedTopics: 2, retainedTopicsInAll: 3 } as never);
  const [one, two] = [{}, {}];
  t.ok(accounts.retain(one, 'a', 10));
  t.ok(accounts.retain(one, 'b', 10));
  t.notOk(accounts.retain(one, 'c', 10), 'too many for one');
  t.ok(accounts.retain(one, 'a', 20), 'another message in place of the first');
  t.ok(accounts.retain(two, 'c', 10));
  t.notOk(accounts.retain(two, 'd', 10), 'too many in all');
  t.ok(accounts.retain(null, 'a', 1e9), 'the service takes its topic back');
  t.ok(accounts.retain(two, 'd', 10), 'which makes room');
  t.ok(accounts.retain(one, 'd', 0));
  t.ok(accounts.subscribe(one, 'x'));
  accounts.unsubscribe(one, ['x', 'never']);
  accounts.gone(one);
  t.end();
});

t.test('a bucket', (t) => {
  let now = 0;
  const bucket = createBucket(10, 20, () => now);
  t.equal(bucket.waitMs(), 0);
  bucket.take(25);
  t.equal(bucket.waitMs(), 600);
  now = 600;
  t.equal(bucket.waitMs(), 0);
  now = 60_000;
  t.equal(bucket.spent(), 0, 'no more than full');
  t.end();
});
