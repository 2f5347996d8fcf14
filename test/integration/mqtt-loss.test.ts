import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { EventPayload } from '../../src/mqtt/contract.js';
import { firsts, lastingBroker, nameOf, startConsumer, type Consumer } from '../support/consumer.js';
import { createDevice, type Device } from '../support/event-device.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { skipWithout } from '../support/tools.js';
import { seededRandom } from '../support/random.js';

/*
 * Nothing lost: real processes under load, with the broker, the network or the process itself going down. What the
 * outbox has accepted (the process prints it) has to arrive.
 */

const noMosquitto = skipWithout('mosquitto');

/** Waits until everything has arrived, and looks at it. */
async function nothingLost(t: Test, device: Device, consumer: Consumer): Promise<void> {
  device.quiet();
  await consumer.until(() => {
    const arrived = firsts(consumer.events);
    const begun = [...arrived.values()].filter(({ event_type }) => event_type === 'started');
    return (
      device.promised.every((event) => arrived.has(nameOf(event))) &&
      begun.every(({ id }) => arrived.has(`${id} ended`))
    );
  }, 'every promised event, and the end of every sound');
  const arrived = firsts(consumer.events);
  const begun = [...arrived.values()].filter(({ event_type }) => event_type === 'started');
  t.strictSame(
    begun.map(({ id }) => id),
    begun.map(({ id }) => id).sort(),
    'in order',
  );
  // The ids of one life begin alike. What a life has promised comes in the order of its promises.
  const lifeOf = ({ id }: EventPayload): string => id.slice(0, 3);
  for (const life of new Set(device.promised.map(lifeOf))) {
    const promised = device.promised.filter((event) => lifeOf(event) === life).map(nameOf);
    const known = new Set(promised);
    const came = [...arrived.values()].filter((event) => lifeOf(event) === life).map(nameOf);
    t.strictSame(
      came.filter((name) => known.has(name)),
      promised,
      `life ${life} in order`,
    );
  }
  const wrongTimes = device.promised.filter(
    (event) => arrived.get(nameOf(event))?.started_at !== event.started_at,
  );
  t.strictSame(wrongTimes, [], 'original times');
  t.strictSame([...new Set(consumer.events.map(nameOf))].length, arrived.size);
  t.comment(`${arrived.size} events, ${consumer.events.length - arrived.size} of them more than once`);
}

/** Events that were promised while nobody could take them have to say so, each time they are delivered. */
function allLate(t: Test, consumer: Consumer, waited: readonly EventPayload[]): void {
  const names = new Set(waited.map(nameOf));
  const delivered = consumer.events.filter((event) => names.has(nameOf(event)));
  t.ok(delivered.length >= names.size && names.size > 0, `${names.size} events waited`);
  t.strictSame(
    delivered.filter(({ late }) => !late),
    [],
    'what waited is late',
  );
}

t.test('nothing is lost', { skip: noMosquitto }, (t) => {
  t.test('when the broker is killed under load', async (t) => {
    const broker = await lastingBroker(t);
    const consumer = await startConsumer(t, broker.url, 'soundpost/a');
    const device = createDevice(t, broker.url, 'a');
    device.start();
    const waited: EventPayload[] = [];
    for (let round = 0; round < 3; round += 1) {
      await consumer.connected();
      await consumer.until(() => consumer.states.get('status') === 'online', 'online');
      await device.more(100);
      await broker.crash();
      consumer.states.clear();
      await device.more(1);
      const from = device.promised.length;
      await device.more(60);
      waited.push(...device.promised.slice(from));
      await broker.revive();
    }
    await nothingLost(t, device, consumer);
    allLate(t, consumer, waited);
    await consumer.until(() => consumer.states.get('label/dog') === 'OFF', 'the last state');
    await device.stop();
    await consumer.until(() => consumer.states.get('status') === 'offline', 'offline');
  });

  t.test('when the network breaks in the middle of packets', async (t) => {
    const broker = await lastingBroker(t);
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    const consumer = await startConsumer(t, broker.url, 'soundpost/b');
    const device = createDevice(t, `mqtt://127.0.0.1:${proxy.port}`, 'b');
    device.start();
    const faults: ((proxy: TcpProxy) => Promise<void>)[] = [
      (network) => network.resetAfter(4321),
      async (network) => {
        network.slice(7);
        await device.more(100);
      },
      (network) => network.resetAfter(1),
      async (network) => {
        network.pause();
        await device.more(200);
      },
      async (network) => {
        network.slice(3);
        await network.resetAfter(2500);
      },
      async (network) => {
        network.cut();
        await device.more(100);
      },
    ];
    for (const fault of faults) {
      await consumer.until(() => consumer.states.get('status') === 'online', 'online');
      await device.more(50);
      await fault(proxy);
      proxy.mend();
    }
    await nothingLost(t, device, consumer);
    await device.stop();
  });

  t.test('when the process is killed at any moment', async (t) => {
    const broker = await lastingBroker(t);
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    const consumer = await startConsumer(t, broker.url, 'soundpost/c');
    const device = createDevice(t, `mqtt://127.0.0.1:${proxy.port}`, 'c');
    const random = seededRandom(t);
    for (let life = 1; life <= 4; life += 1) {
      device.start();
      // Every other life passes without a network.
      if (life % 2 === 0) proxy.cut();
      await device.more(40);
      await delay(random() * 150);
      await device.kill();
      proxy.mend();
    }
    device.start();
    await device.more(20);
    await nothingLost(t, device, consumer);
    const cutOff = consumer.events.filter(
      ({ event_type, late, duration_s }) => event_type === 'ended' && late && duration_s !== 1,
    );
    t.ok(cutOff.length > 0, 'sounds that a kill broke off have their end');
    t.ok(cutOff.every(({ duration_s }) => duration_s !== null && duration_s >= 0 && duration_s < 30));
    await device.stop();
  });
  t.end();
});
