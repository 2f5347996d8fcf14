import fc from 'fast-check';
import t from 'tap';
import type { Hop } from '../../src/tagging/hop.js';
import { createRow } from '../../src/tagging/row.js';

const hopAt = (startMs: number, frames: number, frameMs: number, before = 0): Hop => ({
  startMs,
  endMs: startMs + frames * frameMs,
  frameMs,
  frames,
  before,
  windowEndMs: startMs + frames * frameMs,
  values: [],
  spreadMs: 0,
  role: 'scores',
  scores: [],
});

t.test('the times of frames never run back, within a hop and within a row', (t) => {
  const step = fc.record({
    jumpMs: fc.constantFrom(0, 0, 0, 40, 900, -300, -1500),
    frames: fc.integer({ min: 0, max: 70 }),
    frameMs: fc.constantFrom(40, 160, 320),
    before: fc.integer({ min: 0, max: 9 }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 20 }), (steps) => {
      const row = createRow();
      let atMs = 1e12;
      for (const { jumpMs, frames, frameMs, before } of steps) {
        const hop = hopAt(atMs + jumpMs, frames, frameMs, before);
        if (!row.fits(hop)) throw new Error('a small jump breaks the row');
        const was = row.nowMs;
        const unseenMs = row.take(hop);
        if (frames === 0) continue;
        const { starts, ends, count } = row.frames;
        if (count !== before + frames) throw new Error(`${count} frames`);
        for (let frame = 0; frame < count; frame += 1) {
          if (ends[frame]! < starts[frame]!) throw new Error(`frame ${frame} ends before it begins`);
          if (frame > 0 && frame !== before && starts[frame]! < ends[frame - 1]!) {
            throw new Error(`frame ${frame} runs back`);
          }
          if (frame >= before && row.hopOf(frame).endMs < starts[frame]!) throw new Error('in a hop before');
        }
        if (was !== null && starts[before]! < was) throw new Error('sound is told of twice');
        if (was !== null && starts[before]! - was !== unseenMs) throw new Error(`${unseenMs} ms unseen`);
        if (row.nowMs !== ends[count - 1]) throw new Error('the row does not end with its last frame');
        atMs = row.nowMs!;
      }
    }),
  );
  t.end();
});

t.test('a frame that is looked at once more belongs to the hop that it was new in', (t) => {
  const row = createRow();
  row.take(hopAt(0, 10, 100));
  row.take(hopAt(1000, 10, 100, 10));
  const first = row.oldest;
  t.strictSame(
    [0, 9, 10, 19].map((frame) => row.hopOf(frame).sequence),
    [first.sequence, first.sequence, first.sequence + 1, first.sequence + 1],
  );
  row.take(hopAt(2000, 10, 100));
  t.equal(row.oldest.sequence, first.sequence + 1, 'hops that nobody looks at any more are forgotten');
  t.end();
});

t.test('a row breaks where the clock was set, and a new one knows no time before it', (t) => {
  const row = createRow();
  t.ok(row.fits(hopAt(-1e9, 1, 100)), 'anything fits at the beginning');
  row.take(hopAt(10_000, 10, 100));
  t.ok(row.fits(hopAt(9_000, 10, 100)), 'a little back');
  t.notOk(row.fits(hopAt(7_000, 10, 100)), 'back');
  t.notOk(row.fits(hopAt(700_000, 10, 100)), 'far ahead');
  row.breakOff();
  t.equal(row.nowMs, null);
  t.equal(row.take(hopAt(7_000, 10, 100)), 0);
  t.equal(row.nowMs, 8_000);
  t.end();
});
