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

/**
 * A teller of two sources, and what it has told.
 * @param clips what is made of the sound of an event that ends, by the id of the event
 */
function makeTeller(windowMs: number, clips: Readonly<Record<string, string>> = {}) {
  const told: EventPayload[] = [];
  const remembered: EventPayload[] = [];
  const clipOf = ({ id, event_type: type }: TagEvent) => (type === 'ended' ? (clips[id] ?? null) : null);
  let count = 0;
  const teller = createEventTeller({
    link: { publish: (_key: string, payload: unknown) => void told.push(payload as EventPayload) } as Pick<
      Link,
      'publish'
    >,
    sourceCount: 2,
    windowMs,
    newId: () => `fused${(count += 1)}`,
    kept: { event: (payload) => void remembered.push(payload), of: () => ({ event: clipOf }) },
  });
  const of = (source: string) => teller.of({ source, event: () => undefined } as unknown as SourceLink);
  return { teller, told, remembered, yard: of('yard'), hall: of('hall') };
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

t.test('a sound that several hear has the clip of the loudest that makes one', (t) => {
  const clips = { y1: 'clip y1', h1: 'clip h1', y2: 'clip y2', h3: 'clip h3' };
  const { teller, told, remembered, yard, hall } = makeTeller(500, clips);
  const end = (id: string, startedMs: number) => ({ ...bark, ...ended, id, started_at: startedMs });
  yard({ ...bark, id: 'y1' }, 'model', -20);
  hall({ ...bark, id: 'h1' }, 'model', -40);
  yard(end('y1', 1000), 'model', -20);
  // The loudest hears another one, and that ends as well, while the first is still on elsewhere.
  yard({ ...bark, id: 'y2', started_at: 2500 }, 'model', -20);
  yard(end('y2', 2500), 'model', -20);
  hall(end('h1', 1000), 'model', -40);
  t.match(
    told.map(({ event_type: type, source, clip }) => ({ type, source, clip: clip ?? null })),
    [
      { type: 'started', source: 'yard', clip: null },
      { type: 'ended', source: 'yard', clip: 'clip y1' },
    ],
    'its own clip, not that of the next one',
  );
  teller.stop();
  t.match(told.slice(2), [{ event_type: 'started' }, { event_type: 'ended', clip: 'clip y2' }]);
  // Of a label that only one source keeps, or where the other has no sound of it.
  yard({ ...bark, id: 'y3', started_at: 9000 }, 'model', -20);
  hall({ ...bark, id: 'h3', started_at: 9000 }, 'model', -40);
  yard(end('y3', 9000), 'model', -20);
  hall(end('h3', 9000), 'model', -40);
  t.match(told.at(-1), { event_type: 'ended', source: 'yard', clip: 'clip h3' });
  t.same(remembered, told, 'what is remembered is what was told');
  teller.stop();
  t.end();
});
