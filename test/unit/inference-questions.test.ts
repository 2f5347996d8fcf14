import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { SoundpostError } from '../../src/common/errors.js';
import { createQuestions, type Patience } from '../../src/inference/questions.js';

function rig() {
  const silent: Patience[] = [];
  const settled: string[] = [];
  const questions = createQuestions<string>((patience) => silent.push({ ...patience }));
  const ask = (doing: string, timeoutMs: number, afterProgress?: Patience) =>
    questions.add({
      doing,
      timeoutMs,
      afterProgress,
      settle: (reply) => settled.push(`${doing}: ${reply instanceof SoundpostError ? reply.code : reply}`),
    });
  return { questions, ask, silent, settled };
}

t.test('answers go to the questions in their order, and the end to those that are left', (t) => {
  const { questions, ask, settled } = rig();
  for (const doing of ['first', 'second', 'third']) ask(doing, 60_000);
  questions.answer('one');
  questions.fail(new SoundpostError('inference_died', 'it is gone'));
  questions.answer('nobody asked');
  t.strictSame(settled, ['first: one', 'second: inference_died', 'third: inference_died']);
  t.end();
});

t.test('only the oldest is waited for, from when it is the oldest', async (t) => {
  const { questions, ask, silent } = rig();
  ask('first', 60_000);
  ask('second', 20);
  await delay(60);
  t.strictSame(silent, [], 'the second one has to wait for the first');
  questions.answer('one');
  while (silent.length === 0) await delay(5);
  t.strictSame(
    silent.map(({ doing }) => doing),
    ['second'],
  );
  questions.answer('late');
});

t.test('whoever asks after it does not prolong the patience with the oldest', async (t) => {
  const { questions, ask, silent } = rig();
  ask('first', 60);
  for (let n = 0; n < 100 && silent.length === 0; n += 1) {
    await delay(20);
    ask(`later ${n}`, 60_000);
  }
  t.strictSame(
    silent.map(({ doing }) => doing),
    ['first'],
  );
  questions.fail(new SoundpostError('inference_died', 'the test is over'));
});

t.test('a sign of progress begins another patience', async (t) => {
  const { questions, ask, silent } = rig();
  ask('reading', 30, { doing: 'warming up', timeoutMs: 60_000 });
  questions.progress();
  await delay(80);
  t.strictSame(silent, []);
  questions.fail(new SoundpostError('inference_died', 'the test is over'));
});
