import t from 'tap';
import type { EventPayload } from '../../src/mqtt/contract.js';
import type { Link } from '../../src/mqtt/link.js';
import type { SourceLink } from '../../src/mqtt/source-link.js';
import { createEventTeller } from '../../src/service/event-teller.js';
import type { TagEvent } from '../../src/tagging/tag-event.js';
import { until } from '../support/waiting.js';

const bark: Omit<TagEvent, 'id'> = {
  event_type: 'started',
  slug: 'bark',
  label: 'Bark',
  mid: null,
  group: null,
  score: 0.8,
  peak: 0.8,
  started_at: 1000,
  ended_at: null,
  duration_s: null,
  detected_at: 1000,
};
const ended = { event_type: 'ended', ended_at: 2000, duration_s: 1, detected_at: 2000 } as const;

/** A teller of two sources, and what it has told. */
function makeTeller(windowMs: number) {
  const told: EventPayload[] = [];
  let count = 0;
  const teller = createEventTeller({
    link: { publish: (_key: string, payload: unknown) => void told.push(payload as EventPayload) } as Pick<
      Link,
      'publish'
    >,
    sourceCount: 2,
    windowMs,
    newId: () => `fused${(count += 1)}`,
  });
  const of = (source: string) => teller.of({ source, event: () => undefined } as unknown as SourceLink);
  return { teller, told, yard: of('yard'), hall: of('hall') };
}

t.test('what is told later than it was heard still says who heard it', async (t) => {
  const { teller, told, yard, hall } = makeTeller(50);
  yard({ ...bark, id: 'y1' }, 'first-model', -30);
  await until(() => told.length === 1, 'the first start', 10);
  // Another bark begins elsewhere, and the first one ends while that waits to be told.
  hall({ ...bark, id: 'h1', started_at: 1900 }, 'second-model', -20);
  yard({ ...bark, ...ended, id: 'y1' }, 'first-model', -30);
  await until(() => told.length === 3, 'the second start', 10);
  t.match(told, [
    { event_type: 'started', model: 'first-model', source: 'yard' },
    { event_type: 'ended', model: 'first-model', source: 'yard' },
    { event_type: 'started', model: 'second-model', source: 'hall' },
  ]);
  teller.stop();
  t.match(told[3], { event_type: 'ended', id: told[2]!.id, model: 'second-model' });
});

t.test('a stop tells what waits, and no timer is left', (t) => {
  const { teller, told, yard } = makeTeller(3_600_000);
  yard({ ...bark, id: 'y1' }, 'model', -30);
  t.same(told, []);
  teller.stop();
  t.match(told, [
    { event_type: 'started', model: 'model' },
    { event_type: 'ended', model: 'model' },
  ]);
  // A timer that went on would keep this file from ending.
  teller.stop();
  t.equal(told.length, 2);
  t.end();
});
