import t from 'tap';
import type { ErrorCode } from '../../src/common/error-codes.js';
import { SoundpostError } from '../../src/common/errors.js';
import { createFailurePolicy } from '../../src/inference/failure-policy.js';

const MINUTE = 60_000;
const failure = (code: ErrorCode) => new SoundpostError(code, 'as it was told to');
const hang = failure('inference_timeout');
const death = failure('inference_died');

t.test('one hang is forgiven, a second one within ten minutes is not', (t) => {
  const policy = createFailurePolicy();
  t.notOk(policy.judge(hang, 0).giveUp);
  policy.answered();
  t.notOk(policy.judge(hang, 10 * MINUTE).giveUp, 'ten minutes later');
  policy.answered();
  t.ok(policy.judge(hang, 19 * MINUTE).giveUp);
  policy.begin();
  t.notOk(policy.judge(hang, 19 * MINUTE + 1).giveUp, 'another model hangs for the first time');
  t.end();
});

t.test('a model that never answers is given up in its third life', (t) => {
  const policy = createFailurePolicy();
  const lives = (answers: boolean) =>
    [0, 1, 2, 3].map((life) => {
      if (answers) policy.answered();
      return policy.judge(death, life * 5 * MINUTE).giveUp;
    });
  t.strictSame(lives(true), [false, false, false, false]);
  policy.begin();
  t.strictSame(lives(false), [false, false, true, true]);
  t.end();
});

t.test('a machine without processes is nobody failing, and is asked again sooner once it had one', (t) => {
  const policy = createFailurePolicy();
  const shortage = failure('no_resources');
  const waits = Array.from({ length: 12 }, () => policy.judge(shortage, 0));
  t.notOk(waits.some(({ giveUp }) => giveUp));
  t.ok(waits.at(-1)!.delayMs > 4 * waits[0]!.delayMs && waits.at(-1)!.delayMs <= 15_000);
  policy.started();
  t.ok(policy.judge(shortage, 0).delayMs <= 500);
  t.notOk(policy.judge(death, 0).giveUp, 'the first failure');
  t.end();
});
