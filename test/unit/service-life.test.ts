import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { createRecordingLog } from '../support/recording-log.js';
import { createLife } from '../../src/service/life.js';
import { silentLogger } from '../../src/common/log.js';

t.test('what has begun is ended in the reverse order, once, whatever a step throws', async (t) => {
  const log = createRecordingLog();
  const ended: string[] = [];
  const life = createLife(async ({ onStop }) => {
    onStop(() => void ended.push('first'));
    onStop(() => Promise.reject(new Error('it is stuck')));
    onStop(async () => {
      await delay(5);
      ended.push('last');
    });
    await delay(1);
  }, log);
  await life.start();
  await Promise.all([life.stop(), life.stop()]);
  await life.stop();
  t.strictSame(ended, ['last', 'first']);
  t.match(log.lines, [{ fields: { code: 'stop' }, message: 'while stopping: it is stuck' }]);
});

t.test('a start that fails ends what it had begun before it throws', async (t) => {
  const ended: string[] = [];
  const life = createLife(async ({ onStop }) => {
    onStop(() => void ended.push('broker'));
    await delay(1);
    throw new Error('no model');
  }, silentLogger);
  await t.rejects(life.start(), /no model/);
  t.strictSame(ended, ['broker']);
  await life.stop();
});

t.test('a stop in the middle of a start is not overtaken by it', async (t) => {
  const done: string[] = [];
  let release: () => void = () => undefined;
  const life = createLife(async ({ onStop, goOn }) => {
    const hangs = new Promise<void>((resolve) => (release = resolve));
    // What hangs is given up by being ended.
    onStop(() => release());
    await hangs;
    goOn();
    done.push('sound');
  }, silentLogger);
  const starting = life.start();
  const stopping = life.stop();
  await t.rejects(starting, { code: 'aborted' });
  await stopping;
  t.strictSame(done, []);
});
