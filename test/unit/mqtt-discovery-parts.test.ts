import fc from 'fast-check';
import t from 'tap';
import type { Platform } from '../../src/home-assistant/entities.js';
import { splitDiscovery, USUAL_LIMIT_BYTES } from '../../src/home-assistant/parts.js';
import {
  buildDiscovery,
  discoveryTopic,
  platformsOf,
  removals,
  type DiscoveryPayload,
} from '../../src/home-assistant/payload.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { discover } from '../support/home-assistant-schema.js';

const device = (labels: readonly string[]): DiscoveryPayload =>
  buildDiscovery(
    {
      device: { id: 'attic', name: 'Attic' },
      version: '1.2.3',
      topics: createTopics('soundpost', 'attic'),
      models: ['soundpost-mini'],
      installs: [{ id: 'mn10_as', title: 'mn10_as', shown: true }],
    },
    {
      watched: labels.map((name) => ({ name, slug: name.toLowerCase(), known: true })),
      calibrated: false,
      remembers: true,
    },
  );
const bytesOf = (payload: object) => Buffer.byteLength(JSON.stringify(payload));
const described = ({ components }: DiscoveryPayload) =>
  Object.keys(components).filter((id) => 'unique_id' in components[id]!);

/** Home Assistant's memory and ours, over what is said in the course of time. */
function life() {
  const announced: Record<string, Platform>[] = [];
  return {
    announced,
    /** One description, taken, and the removals forgotten after a while. */
    say: (whole: DiscoveryPayload, limitBytes: number) => {
      const { parts, tooLarge } = splitDiscovery(whole, announced, { limitBytes, keepsGone: false });
      parts.forEach((part, index) => {
        const said = Object.entries({ ...announced[index], ...platformsOf(part) });
        announced[index] = Object.fromEntries(said.filter(([id]) => !removals(part).includes(id)));
      });
      return { parts, tooLarge };
    },
  };
}

t.test('topics of parts', (t) => {
  t.equal(
    discoveryTopic('homeassistant', 'attic', { part: 1 }),
    'homeassistant/device/soundpost_attic/config',
  );
  t.equal(
    discoveryTopic('homeassistant', 'attic', { part: 2 }),
    'homeassistant/device/soundpost_attic/part_2/config',
  );
  t.end();
});

t.test('what fits into one message is one message, as ever', (t) => {
  const whole = device(['Dog', 'Cat']);
  t.same(splitDiscovery(whole, [{}], { limitBytes: USUAL_LIMIT_BYTES, keepsGone: false }), {
    parts: [whole],
    tooLarge: [],
  });
  const known = { ...platformsOf(whole), label_bark: 'binary_sensor' as const };
  const { parts } = splitDiscovery(whole, [known], { limitBytes: Infinity, keepsGone: false });
  t.same(removals(parts[0]!), ['label_bark']);
  t.equal(Object.keys(parts[0]!.components)[0], 'label_bark', 'what goes comes first');
  const kept = splitDiscovery(whole, [known], { limitBytes: Infinity, keepsGone: true });
  t.same(removals(kept.parts[0]!), []);
  t.end();
});

t.test('no message is too large, nothing is described twice, and all of it is in the end', (t) => {
  const names = Array.from({ length: 60 }, (_, n) => `L${n}${'x'.repeat(n)}`);
  const step = fc.record({
    labels: fc.subarray(names),
    limitBytes: fc.oneof(fc.integer({ min: 1700, max: 30_000 }), fc.constant(USUAL_LIMIT_BYTES)),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
      const { say, announced } = life();
      for (const { labels, limitBytes } of steps) {
        const whole = device(labels);
        const before = announced.map((part) => ({ ...part }));
        const { parts } = say(whole, limitBytes);
        for (const part of parts) if (bytesOf(part) > limitBytes) throw new Error(`${bytesOf(part)} bytes`);
        const all = parts.flatMap(described);
        if (new Set(all).size !== all.length) throw new Error('described twice');
        for (const [index, part] of parts.entries()) {
          for (const id of described(part)) {
            const elsewhere = before.some((known, other) => other !== index && id in known);
            if (elsewhere) throw new Error(`${id} is described before it is taken away elsewhere`);
          }
          const { faults } = discover(JSON.stringify(part));
          if (faults.length > 0 && Object.keys(part.components).length > 0)
            throw new Error(faults.join('; '));
        }
      }
      // The same wish again and again: what has to move has moved in the end.
      const { labels, limitBytes } = steps.at(-1)!;
      const whole = device(labels);
      let last: ReturnType<typeof say> | null = null;
      for (let n = 0; n < 40; n += 1) last = say(whole, limitBytes);
      const all = [...last!.parts.flatMap(described), ...last!.tooLarge];
      if (all.length !== Object.keys(whole.components).length) throw new Error('something is missing');
      if (last!.parts.some((part) => removals(part).length > 0)) throw new Error('something is still going');
      return JSON.stringify(say(whole, limitBytes)) === JSON.stringify(last);
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('what is there stays where it is while it fits', (t) => {
  const { say } = life();
  const few = device(['Dog', 'Cat']);
  say(few, USUAL_LIMIT_BYTES);
  const { parts } = say(device(['Bark', 'Dog', 'Cat', 'Siren']), bytesOf(few) + 100);
  t.same(removals(parts[0]!), []);
  t.same(described(parts[1]!), ['label_bark', 'label_siren']);
  const later = say(device(['Bark', 'Dog', 'Cat', 'Siren']), Infinity);
  t.same(later.parts, parts, 'also when there is room again');
  t.end();
});

t.test('a component that is too large by itself is named', (t) => {
  const { parts, tooLarge } = splitDiscovery(device(['Dog', 'x'.repeat(3000)]), [{}], {
    limitBytes: 2500,
    keepsGone: false,
  });
  t.same(tooLarge, [`label_${'x'.repeat(3000)}`]);
  t.ok(parts.flatMap(described).includes('label_dog'));
  t.end();
});
