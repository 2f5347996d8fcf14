import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { Components } from '../../src/home-assistant/discovery-memory.js';
import { createRemovalHold } from '../../src/home-assistant/removal-hold.js';

function rig(holdMs: number) {
  const announced = new Map<string, Components>([
    ['one', { dog: 'sensor', cat: 'sensor', level: 'sensor' }],
    ['two', { install_a: 'update', install_b: 'update' }],
  ]);
  const memory = {
    components: (topic: string) => announced.get(topic) ?? {},
    set(topic: string, components: Components | null) {
      announced.set(topic, components ?? {});
      return null;
    },
  };
  let overs = 0;
  const hold = createRemovalHold({ memory, holdMs, onOver: () => (overs += 1) });
  return { hold, left: () => [...announced.values()].flatMap(Object.keys).sort(), overs: () => overs };
}

t.test('what is taken away is remembered until its removals have lain long enough', async (t) => {
  const { hold, left, overs } = rig(30);
  hold.hold('one', ['dog']);
  hold.hold('two', ['install_b']);
  t.strictSame(left(), ['cat', 'dog', 'install_a', 'install_b', 'level']);
  await delay(80);
  t.strictSame(left(), ['cat', 'install_a', 'level'], 'of both topics, and nothing else');
  t.equal(overs(), 1);
  hold.beginAnew();
  await delay(80);
  t.equal(overs(), 1, 'nothing is held any more');
});

t.test('another description on its way forgets nothing', async (t) => {
  const { hold, left, overs } = rig(10);
  hold.hold('one', ['dog']);
  hold.end();
  await delay(40);
  t.strictSame(left(), ['cat', 'dog', 'install_a', 'install_b', 'level']);
  t.equal(overs(), 0);
});
