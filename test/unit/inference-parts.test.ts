import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { createKeptSound } from '../../src/inference/kept-sound.js';
import { createWindowQueue, type DueWindow } from '../../src/inference/window-queue.js';
import { createEngines, fakeModel, ramp, stretchOf } from '../support/stream-engine.js';

t.test('a queue accounts for every window, whatever happens', (t) => {
  const event = fc.constantFrom('due', 'due', 'two due', 'take', 'answer', 'fail', 'gone', 'break');
  fc.assert(
    fc.property(fc.boolean(), fc.array(event, { maxLength: 60 }), (realTime, events) => {
      const queue = createWindowQueue();
      queue.begin(realTime);
      let due = 0;
      /** Windows of a row that was broken off, and those that an engine still works on. */
      let forgotten = 0;
      let atWork: DueWindow | null = null;
      let isStale = false;
      let lastSeq = 0;
      let lastPosition = 0;
      const push = (count: number) => {
        for (let n = 0; n < count; n += 1) {
          due += 1;
          queue.push(due * 100, due, due);
        }
        queue.trim(count);
      };
      const isAtWork = () => atWork !== null && !isStale;
      for (const event of events) {
        if (event === 'due') push(1);
        else if (event === 'two due') push(2);
        else if (event === 'break') {
          forgotten += queue.length + (isAtWork() ? 1 : 0);
          queue.breakOff();
          isStale = true;
        } else if (event === 'take') {
          if (atWork !== null) continue;
          atWork = queue.take() ?? null;
          isStale = false;
          if (atWork !== null && atWork.position < lastPosition) throw new Error('out of order');
          lastPosition = atWork?.position ?? lastPosition;
        } else if (atWork !== null) {
          if (event === 'answer') {
            const seq = queue.answered(atWork);
            if ((seq === null) !== isStale) throw new Error('told across a break, or not told');
            if (seq !== null && seq <= lastSeq) throw new Error(`${seq} after ${lastSeq}`);
            lastSeq = seq ?? lastSeq;
          } else if (event === 'fail') queue.failed(atWork);
          else if (isStale) continue;
          else queue.gone();
          queue.rest();
          atWork = null;
        }
        const open = queue.length + (isAtWork() ? 1 : 0);
        const told = queue.processed + queue.dropped + forgotten + open;
        if (told !== due) throw new Error(`${told} of ${due} after ${event}`);
        if (queue.hasRoom(due * 100, Infinity) !== (realTime || queue.length <= 1 || open === 0)) {
          throw new Error(`room with ${queue.length} waiting`);
        }
        if (realTime && !queue.hasRoom(Infinity, 0)) throw new Error('live sound was held back');
        if (queue.hasRoom(due * 100, 0) !== (realTime || open === 0 || (open === 1 && isNewest()))) {
          throw new Error(`room with ${open} open`);
        }
      }
      function isNewest(): boolean {
        return queue.length === 1 || atWork?.position === due * 100;
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('a queue that waits for an engine', (t) => {
  const queue = createWindowQueue();
  queue.begin(true);
  t.equal(queue.waitedSince, null);
  queue.push(100, 1, 10);
  queue.push(200, 2, 20);
  queue.trim(1);
  t.equal(queue.dropped, 1);
  t.equal(queue.waitedSince, 10, 'the dropped one is still waited for');
  const window = queue.take()!;
  t.equal(window.position, 200);
  queue.push(300, 3, 30);
  t.equal(queue.answered(window), 2, 'the dropped one has had its number');
  t.equal(queue.waitedSince, 30);
  queue.rest();
  queue.breakOff();
  t.equal(queue.waitedSince, null);
  t.end();
});

t.test('an engine gets the kept sound, and what comes meanwhile, without a seam', async (t) => {
  const rate = 16_000;
  const { startEngine, faults } = createEngines(rate);
  const engine = await startEngine(fakeModel('any', { windowSeconds: 2 }), { threads: 1 });
  const sound = createKeptSound({ seconds: 2, windowSeconds: null });
  t.equal(await sound.attach(engine), null, 'there is no sound yet');
  sound.begin(rate);
  const play = (seconds: number) => sound.append(ramp(sound.position, sound.position + seconds * rate));
  for (let n = 0; n < 20; n += 1) play(1);
  // More than is kept comes while it is being filled: it begins anew.
  const attaching = sound.attach(engine);
  const attached = new AbortController();
  void attaching.then(() => attached.abort());
  for (let n = 0; n < 400 && !attached.signal.aborted; n += 1) {
    await nextTurn();
    play(1.5);
  }
  const stream = await attaching;
  if (stream === null) throw new Error('no stream');
  t.ok(sound.isLive(stream));
  play(0.5);
  const request = stream.request(sound.position, 0);
  if (typeof request !== 'object') throw new Error(request);
  t.equal(request.endSeconds * rate, sound.position, 'nothing is missing before it');
  t.match(stretchOf((await engine.infer(request)).scores), {
    from: sound.position - 2 * rate,
    to: sound.position,
  });
  t.strictSame(faults(), []);

  const late = sound.attach(engine);
  sound.begin(rate);
  t.equal(await late, null, 'another stream of sound has begun');
  t.notOk(sound.isLive(stream));
});
