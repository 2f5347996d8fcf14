import fc from 'fast-check';
import t from 'tap';
import { linesOf } from '../../src/mqtt/outbox-lines.js';
import type { OutboxRecord } from '../../src/mqtt/outbox-record.js';
import { createReplay, emptyState, type Segment } from '../../src/mqtt/outbox-replay.js';
import { bytesOf } from '../../src/mqtt/outbox-store.js';
import { createWaitingIndex } from '../../src/mqtt/waiting-index.js';

/* What is written to the files of the outbox, and the index of it in memory, without a disk. */

const segmentOf = (place: number): Segment => ({
  name: `events-${place}.log`,
  place,
  bytes: 0,
  keys: new Set(),
  begun: new Set(),
});

type Step = { kind: 'event'; text: string } | { kind: 'removed' | 'moved' | 'begun' | 'over'; which: number };

const text = fc.string({ maxLength: 30, unit: 'grapheme' }).map((each) => JSON.stringify(each));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('event' as const), text }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('removed' as const, 'moved' as const, 'begun' as const, 'over' as const),
      which: fc.nat(9),
    }),
  },
);
/** Several writes, and after which of them another file begins. */
const writes = fc.array(fc.record({ steps: fc.array(step, { maxLength: 6 }), another: fc.boolean() }), {
  maxLength: 12,
});

t.test('what is written is found through the index, and again by the next start', (t) => {
  fc.assert(
    fc.property(
      writes,
      fc.integer({ min: -1, max: 30 }),
      fc.integer({ min: 1, max: 8 }),
      (all, after, limit) => {
        const state = emptyState();
        const index = createWaitingIndex(state);
        const files: { segment: Segment; buffers: Buffer[] }[] = [{ segment: segmentOf(1), buffers: [] }];
        const waiting = new Map<number, string>();
        let key = 0;
        for (const { steps, another } of all) {
          if (another) files.push({ segment: segmentOf(files.length + 1), buffers: [] });
          const { segment, buffers } = files.at(-1)!;
          const records = steps.flatMap((each): OutboxRecord[] => {
            if (each.kind === 'event') {
              key += 1;
              waiting.set(key, each.text);
              return [{ kind: 'event', key, text: each.text }];
            }
            const id = `sound ${each.which}`;
            if (each.kind === 'begun') return [{ kind: 'begun', id, text: '{}' }];
            if (each.kind === 'over') return [{ kind: 'over', id }];
            const known = [...waiting][each.which];
            if (known === undefined) return [];
            if (each.kind === 'moved') return [{ kind: 'moved', key: known[0], text: known[1] }];
            waiting.delete(known[0]);
            return [{ kind: 'removed', key: known[0] }];
          });
          const lines = linesOf(state, records, segment.bytes);
          for (const written of lines.records) index.take(segment, written);
          segment.bytes += lines.buffer.length;
          buffers.push(lines.buffer);
          index.tidy();
        }

        const inOrder = [...waiting.keys()].sort((one, other) => one - other);
        t.same(index.after(after, limit), inOrder.filter((each) => each > after).slice(0, limit));
        t.equal(
          index.bytes,
          [...waiting.values()].reduce((sum, each) => sum + bytesOf(each), 0),
        );
        for (const [each, wanted] of waiting) {
          const { segment, offset, bytes } = state.events.get(each)!;
          const whole = Buffer.concat(files.find((file) => file.segment === segment)!.buffers);
          t.equal(whole.subarray(offset, offset + bytes).toString(), wanted);
        }

        const replay = createReplay();
        for (const { segment, buffers } of files) {
          replay.read(segmentOf(segment.place), Buffer.concat(buffers));
        }
        const { state: found, damage } = replay.end();
        t.equal(damage, null);
        t.same([...found.events.keys()], [...state.events.keys()]);
        t.same([...found.begun.keys()], [...state.begun.keys()]);
        t.same([found.number, found.written, found.lastKey], [state.number, state.written, state.lastKey]);
      },
    ),
  );
  t.end();
});

t.test('a key that comes late has its place in the order', (t) => {
  const state = emptyState();
  const index = createWaitingIndex(state);
  for (const key of [5, 9, 2, 7]) {
    const { records } = linesOf(state, [{ kind: 'event', key, text: '{}' }], 0);
    for (const written of records) index.take(segmentOf(1), written);
  }
  t.same(index.after(-Infinity, 9), [2, 5, 7, 9]);
  t.same(index.after(5, 1), [7]);
  // A write that failed may have reached the disk: its key is taken away, and comes again.
  const again = linesOf(
    state,
    [
      { kind: 'removed', key: 9 },
      { kind: 'event', key: 9, text: '{}' },
    ],
    0,
  );
  for (const written of again.records) index.take(segmentOf(1), written);
  t.same(index.after(-Infinity, 9), [2, 5, 7, 9]);
  t.end();
});
