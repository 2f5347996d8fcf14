import fc from 'fast-check';
import t from 'tap';
import { natsConfiguration, rabbitmqConfiguration } from '../../tools/fleet/clusters.js';
import { createSimulatedScores } from '../../tools/fleet/simulated-scores.js';
import { createLedger } from '../../tools/fleet/ledger.js';
import { deviceId, deviceNumber } from '../../tools/fleet/messages.js';
import { failuresOf, spreadOf, waveOf, type FleetReport } from '../../tools/fleet/fleet-report.js';
import { percentile } from '../../src/bench/statistics.js';

t.test('the ledger of events', (t) => {
  t.test('finds what is lost, doubled, out of order and late', (t) => {
    const ledger = createLedger(2);
    for (const key of ['a', 'b', 'c', 'd']) ledger.published(0, key);
    ledger.published(1, 'a');
    t.equal(ledger.outstanding(), 5);
    ledger.received(0, 'a', false);
    ledger.received(0, 'c', true);
    ledger.received(0, 'b', true);
    ledger.received(0, 'c', true);
    ledger.received(1, 'z', false);
    t.same(ledger.report(), {
      published: 5,
      received: 3,
      lost: 2,
      duplicates: 1,
      out_of_order: 1,
      late: 3,
      unknown: 1,
    });
    t.end();
  });

  t.test('counts nothing against deliveries in order, repeats included, told before or after', (t) => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 50 }), fc.boolean(), (repeats, toldLate) => {
        const ledger = createLedger(1);
        const tell = (): void => repeats.forEach((_, n) => ledger.published(0, `e${n}`));
        if (!toldLate) tell();
        repeats.forEach((times, n) => {
          for (let delivery = 0; delivery <= times; delivery += 1) ledger.received(0, `e${n}`, false);
        });
        if (toldLate) tell();
        const { lost, out_of_order: outOfOrder, unknown, duplicates } = ledger.report();
        return (
          lost === 0 &&
          outOfOrder === 0 &&
          unknown === 0 &&
          duplicates === repeats.reduce((sum, times) => sum + times, 0)
        );
      }),
    );
    t.end();
  });
  t.end();
});

t.test('every node of a cluster listens on the loopback address only, and knows all of them', (t) => {
  const nats = natsConfiguration({
    name: 'a',
    folder: '/x',
    client: 1,
    mqtt: 2,
    cluster: 3,
    routes: [3, 4, 5],
  });
  t.match(nats, /stream_replicas: 3, consumer_replicas: 3/);
  for (const port of [3, 4, 5]) t.match(nats, `nats-route://127.0.0.1:${port}`);
  t.equal(nats.match(/listen: "127\.0\.0\.1:/g)?.length, 3);
  t.notMatch(
    natsConfiguration({ name: 'a', folder: '/x', client: 1, mqtt: 2, cluster: 3, routes: [3] }),
    /cluster/,
  );
  const rabbitmq = rabbitmqConfiguration({ amqp: 1, mqtt: 2, names: ['a@localhost', 'b@localhost'] });
  t.equal(rabbitmq.match(/tcp\.1 = 127\.0\.0\.1:/g)?.length, 2);
  t.match(rabbitmq, 'classic_config.nodes.2 = b@localhost');
  t.match(rabbitmq, 'mqtt.durable_queue_type = quorum');
  t.end();
});

t.test('what is told of many devices', (t) => {
  t.same(spreadOf([30, 10, 20]), { count: 3, p50_ms: 20, p95_ms: 30, max_ms: 30 });
  t.same(spreadOf([]), { count: 0, p50_ms: null, p95_ms: null, max_ms: null });
  t.same(waveOf([0, 50, 99, 100, 2500]), { per_second: [4, 0, 1], most_in_100_ms: 3 });
  t.same(waveOf([]), { per_second: [], most_in_100_ms: 0 });
  t.equal(percentile([5, 1, 4, 2, 3], 100), 5);
  t.equal(percentile([5, 1, 4, 2, 3], 20), 1);
  t.equal(deviceNumber(deviceId(17)), 17);
  t.ok(Number.isNaN(deviceNumber('owl')));
  t.end();
});

t.test('what was promised and not kept is said', (t) => {
  // Only what is judged; the rest of the report is of no matter here.
  const good = {
    options: { devices: 3 },
    connect: { count: 3 },
    operator: { answered: 3, failed: 0 },
    restart: { devices_lost: 3, recovery: { count: 3 } },
    events: { published: 9, received: 9, lost: 0, out_of_order: 0, unknown: 0, dropped: 0 },
    statuses: { online_after_restart: 3, offline_after_stop: 3 },
  };
  const judge = (change: object): string[] => failuresOf({ ...good, ...change } as unknown as FleetReport);
  t.same(judge({}), []);
  t.match(judge({ connect: { count: 2 } }), [/1 of 3 devices never connected/]);
  t.match(judge({ operator: { answered: 1, failed: 2 } }), [/2 of 3 devices did not switch/]);
  t.match(judge({ restart: { devices_lost: 3, recovery: { count: 0 } } }), [
    /3 of 3 devices did not come back/,
  ]);
  t.match(judge({ events: { ...good.events, lost: 2 } }), [/2 of 9 events were lost/]);
  t.match(judge({ events: { ...good.events, out_of_order: 1 } }), [/out of order/]);
  t.match(judge({ events: { ...good.events, published: 0 } }), [/No event was published/]);
  t.match(judge({ statuses: { online_after_restart: 2, offline_after_stop: 1 } }), [/online/, /offline/]);
  t.end();
});

t.test('a simulated device hears one sound at a time, about as often as it should', (t) => {
  const labels = ['Dog', 'Cat', 'Rain'].map((name, index) => ({
    index,
    name,
    mid: null,
    threshold: null,
    thresholdFrom: null,
  }));
  const simulated = createSimulatedScores({ labels, watched: 2, everySeconds: 5, startMs: 0 });
  let onsets = 0;
  let before = false;
  for (let second = 1; second <= 10_000; second += 1) {
    const loud = [...simulated.window(second * 1000)].filter((score) => score >= 0.5);
    if (loud.length > 1) t.fail('two sounds at once');
    if (loud.length > 0 && !before) onsets += 1;
    before = loud.length > 0;
  }
  // 2,000 are due; two that touch count as one here.
  t.ok(onsets > 1500 && onsets < 2500, `${onsets} sounds`);
  t.end();
});
