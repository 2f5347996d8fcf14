import fc from 'fast-check';
import t from 'tap';
import { createSlidingRows } from '../../src/inference/sliding-rows.js';

t.test('rows are those that were written last, in their order, in one piece', (t) => {
  const hop = fc.record({ rows: fc.integer({ min: 0, max: 5 }), keep: fc.integer({ min: 0, max: 8 }) });
  fc.assert(
    fc.property(fc.array(hop, { maxLength: 40 }), (hops) => {
      const table = createSlidingRows(2, 13);
      let expected: number[] = [];
      let next = 0;
      for (const { rows, keep } of hops) {
        const written = table.reserve(rows);
        for (let i = 0; i < rows; i += 1) {
          written.set([next, -next], 2 * i);
          expected.push(next);
          next += 1;
        }
        table.commit(rows, keep);
        expected = keep === 0 ? [] : expected.slice(-keep);
        const found = Array.from(table.view(table.count, 0)).filter((_, i) => i % 2 === 0);
        if (found.join() !== expected.join()) return false;
        if (expected.length > 1 && table.view(1, 1)[0] !== expected.at(-2)) return false;
      }
      return true;
    }),
  );
  t.end();
});

t.test('what is written never touches what can be read', (t) => {
  const table = createSlidingRows(1, 6);
  table.reserve(3).set([1, 2, 3]);
  table.commit(3, 3);
  table.reserve(3).fill(9);
  t.same(Array.from(table.view(3, 0)), [1, 2, 3]);
  table.commit(3, 3);
  t.same(Array.from(table.view(2, 1)), [9, 9]);
  t.end();
});

t.test('rows that are not there are refused, and more than there is room for get room', (t) => {
  const table = createSlidingRows(1, 4);
  table.replace(Float32Array.of(1, 2, 3), 2);
  t.same(Array.from(table.view(2, 0)), [2, 3]);
  t.throws(() => table.view(3, 0), RangeError);
  t.equal(table.bytes, 16);
  table.reserve(3).set([4, 5, 6]);
  table.commit(3, 5);
  t.same(Array.from(table.view(5, 0)), [2, 3, 4, 5, 6]);
  t.equal(table.bytes, 20, 'as much as that took');
  t.end();
});
