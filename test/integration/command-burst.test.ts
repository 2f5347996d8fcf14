import mqtt from 'mqtt';
import t from 'tap';
import type { TagsPayload, TelemetryPayload } from '../../src/mqtt/contract.js';
import { startMosquitto } from '../support/broker.js';
import { looped, sound, beep, start } from '../support/service-rig.js';
import { skipWithout } from '../support/tools.js';

const REQUESTS = 4000;

t.test(
  'every request of a burst is answered once, and tags go on',
  {
    skip: skipWithout('mosquitto'),
  },
  async (t) => {
    const broker = await startMosquitto({ config: ['set_tcp_nodelay true', 'max_queued_messages 0'] });
    t.teardown(() => broker.stop());
    const { console, service } = await start(
      t,
      broker.url,
      { ...looped, INFERENCE_RATE_HZ: '4', TELEMETRY_INTERVAL_SECONDS: '1' },
      sound(beep(5, 0.2)),
    );
    await console.on<TagsPayload>('tags');
    const asker = await mqtt.connectAsync(broker.url);
    t.teardown(() => asker.endAsync());
    const begun = Date.now();
    for (let n = 0; n < REQUESTS; n += 1) {
      const command = n % 2 === 0 ? 'health' : 'model/list';
      asker.publish(`${console.base}/request/${command}`, JSON.stringify({ transaction: n }));
    }
    // The last of all, so that every answer that comes at all has come before it.
    const last = JSON.stringify({ transaction: 'last' });
    asker.publish(`${console.base}/request/pause/no-such-command`, last);
    await console
      .on(
        'response/pause/no-such-command',
        ({ transaction }: { transaction?: unknown }) => transaction === 'last',
        60_000,
      )
      .catch((error: unknown) => t.comment(String(error).slice(0, 300)));
    const answeredAfter = Date.now() - begun;
    const deadline = Date.now() + 20_000;
    const replies = () =>
      [...console.texts('response/health'), ...console.texts('response/model/list')].map(
        (text) => JSON.parse(text) as { transaction: number; status: string; error?: { code: string } },
      );
    while (replies().length < REQUESTS && Date.now() < deadline) await console.on('tags');
    const answers = replies();
    const codes = new Map<string, number>();
    for (const { status, error } of answers) {
      const code = error?.code ?? status;
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    const times = console.all<TagsPayload>('tags').map(({ ts }) => Date.parse(ts));
    const stall = Math.max(...times.slice(1).map((time, n) => time - times[n]!));
    t.comment(
      `${answers.length} answers of ${REQUESTS} (${JSON.stringify([...codes])}), the last after ${answeredAfter} ms; longest time between two tags ${stall} ms`,
    );
    t.equal(answers.length, REQUESTS);
    t.equal(new Set(answers.map(({ transaction }) => transaction)).size, REQUESTS, 'each once');
    t.same([...codes.keys()].sort(), ['busy', 'ok']);
    const refused = codes.get('busy') ?? 0;
    await console.on<TelemetryPayload>('telemetry', ({ commands }) => commands?.refused === refused);
    t.ok(service.lines.length < 500, `${service.lines.length} lines in the log`);
  },
);
