import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import type { ResponsePayload, StatePayload } from '../../src/mqtt/contract.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { startMosquitto } from '../support/broker.js';
import { knock, type Knock } from '../support/command-fuzz.js';
import { createProbe } from '../support/mqtt-probe.js';
import { looped, sound, start } from '../support/service-rig.js';
import { tone, WAVEFORM_RATE } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

const KNOCKS = 150;

/** A topic that a broker takes; it would close the connection for any other. */
const isTopic = (text: string) => /^[^+#\p{Cc}\p{Cn}\p{Cs}]+$/u.test(text) && !text.startsWith('$');
/** These end the process, as they should. */
const endsIt = ({ path, payload, retain }: Knock) =>
  path === 'request/restart' && !retain && /^\s*(\{\s*\})?\s*$/.test(payload.toString());

t.test('anything at all, sent to the running service', { skip: skipWithout('mosquitto') }, async (t) => {
  const broker = await startMosquitto();
  t.teardown(() => broker.stop());
  // Models are looked for in a folder without any.
  const empty = 'mirror';
  const started = await start(
    t,
    broker.url,
    {
      ...looped,
      INFERENCE_RATE_HZ: '4',
      MODELS_MIRROR: empty,
      MODELS_ALLOWED_HOSTS: '["127.0.0.1"]',
      MODELS_REMOTE_PULL: 'any',
    },
    async (dataDir) => {
      await mkdir(join(dataDir, empty));
      await sound(tone(500, 4, WAVEFORM_RATE, 0.5))(dataDir);
    },
  );
  const { console, id, service } = started;
  const topics = createTopics('soundpost', id);
  await console.on('state', ({ model }: StatePayload) => model === 'tone-waveform');
  // States and replies by one connection, so that they come in the order in which they were sent.
  const answers = await createProbe(broker.url, [`${console.base}/state`, `${console.base}/response/#`], {
    protocolVersion: 5,
  });
  t.teardown(() => answers.close());
  await answers.next(`${console.base}/state`, ({ text }) => text.includes('tone-waveform'));

  let pausesEnd = false;
  const expected = new Map<string, Knock>();
  /** The newest state; without the pause where one is to end by itself. */
  const state = () => {
    const text = answers.messages.findLast(({ topic }) => topic === `${console.base}/state`)?.text;
    const { paused, ...rest } = JSON.parse(text ?? '{}') as StatePayload;
    return pausesEnd ? rest : { paused, ...rest };
  };
  const seed = Number(process.env['SOUNDPOST_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`SOUNDPOST_TEST_SEED=${seed} sends the same again`);
  const knocks = fc
    .sample(knock, { numRuns: 3 * KNOCKS, seed })
    .filter((one) => isTopic(`${console.base}/${one.path}`) && !endsIt(one))
    .filter(({ responseTopic }) => responseTopic === undefined || isTopic(responseTopic))
    .slice(0, KNOCKS);
  const retained = new Set<string>();
  for (const [index, one] of knocks.entries()) {
    const { path, payload, retain, responseTopic } = one;
    const topic = `${console.base}/${path}`;
    const tag = `knock-${index}`;
    const asked = topics.commandOf(topic) !== null;
    if (asked) expected.set(tag, one);
    if (retain) retained.add(topic);
    const before = state();
    await answers.publish(topic, payload, {
      retain,
      properties: {
        correlationData: Buffer.from(tag),
        ...(responseTopic !== undefined && { responseTopic }),
      },
    });
    if (!asked) continue;
    const { text } = await answers.next(
      `${console.base}/response/${path.replace(/^request\//, '')}`,
      ({ properties }) => properties.correlationData?.toString() === tag,
      30_000,
    );
    const reply = JSON.parse(text) as ResponsePayload;
    // A pause with an end ends at any time later.
    if (reply.status === 'ok' && 'seconds' in reply.data) pausesEnd = true;
    // States are published before the reply. What was refused has changed nothing when it is over.
    if (reply.status === 'error') {
      const after = state();
      const where = `${path} ${payload.toString()}: ${reply.error.code}`;
      if (!isDeepStrictEqual(after, before)) t.same(after, before, where);
    }
  }

  const tags = answers.messages
    .map(({ properties }) => properties.correlationData?.toString())
    .filter((tag) => tag !== undefined);
  t.same([...tags].sort(), [...expected.keys()].sort(), 'one reply to each request, and no other');
  t.ok(expected.size > KNOCKS / 2, `${expected.size} of them were requests`);
  for (const topic of retained) await answers.publish(topic, '', { retain: true });
  const correlationData = Buffer.from('the last one');
  await answers.publish(`${console.base}/request/resume`, '', { properties: { correlationData } });
  const last = await answers.next(
    `${console.base}/response/resume`,
    ({ properties }) => properties.correlationData?.equals(correlationData) === true,
  );
  t.match(JSON.parse(last.text), { status: 'ok' }, 'it answers still');
  t.notOk(
    service.lines.some(({ code }) => code === 'internal' || code === 'command_failed'),
    'and nothing inside it broke',
  );
  t.equal(await service.stop(), 0, 'it ends as it should');
});
