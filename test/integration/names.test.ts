/** Wherever a name is taken, one that is wrong is answered with those that come near, and with how to get it. */
import t from 'tap';
import { join } from 'node:path';
import { didYouMean, guesses } from '../../src/common/nearest.js';
import { cli, cliHome } from '../support/cli.js';
import type { InfoPayload } from '../../src/mqtt/contract.js';
import { startMosquitto } from '../support/broker.js';
import { startedInference } from '../support/service.js';
import { looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { installToneModel, tone } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

t.test('names that come near', (t) => {
  const names = ['Dog', 'Dog bark', 'Cat', 'mn10_as'];
  t.same(guesses('dog', names), ['Dog', 'Dog bark'], 'what contains it');
  t.same(guesses('mn10', names), ['mn10_as']);
  t.same(guesses('dgo', names), ['Dog'], 'what few letters turn into it');
  t.same(guesses('', names), []);
  t.same(guesses('helicopter', names), []);
  t.same(guesses('x'.repeat(1000), names), []);
  t.equal(didYouMean('dog', names), ' Did you mean Dog or "Dog bark"?');
  t.equal(didYouMean('helicopter', names), '');
  t.end();
});

t.test('on the command line', async (t) => {
  const { ownData, write } = cliHome(t);
  const dataDir = ownData('named');
  await installToneModel(dataDir, 'waveform', { id: 'workshop' });
  const env = { SOUNDPOST_DATA_DIR: dataDir };
  const file = write('empty.pt', '');
  const meant = /Did you mean workshop\?/;
  const toGet = /mn04_as is not installed\. Get it with "npx soundpost models pull mn04_as"/;
  const wrong: [args: string[], stderr: RegExp, code: number][] = [];
  for (const command of [
    (id: string) => ['models', 'verify', id],
    (id: string) => ['models', 'labels', id],
    (id: string) => ['tag', '--model', id, 'x.wav'],
    (id: string) => ['tag', '--model.id', id, 'x.wav'],
    (id: string) => ['listen', '--model', id],
    (id: string) => ['soak', '--minutes', '1', '--model', id],
    (id: string) => ['soak', '--minutes', '1', '--swap-every', '10', '--swap-to', id],
  ]) {
    wrong.push([command('worksop'), meant, 1]);
    if (!command('').includes('labels')) wrong.push([command('mn04_as'), toGet, 1]);
  }
  wrong.push(
    [['bench', '--models', 'worksop'], meant, 2],
    [['bench', '--models', 'mn04_as'], toGet, 2],
    [['bench', '--architectures', '--models', 'mn1'], /Did you mean mn10/, 2],
    [['models', 'info', 'worksop'], meant, 1],
    [['models', 'info', 'fmn10_hybrid_256_strong'], /cannot be converted/, 1],
    [['models', 'remove', 'worksop'], meant, 1],
    [['models', 'remove', 'mn04_as'], /no model "mn04_as" here\. Installed: workshop/, 1],
    [['models', 'pull', 'mn4_as'], /Did you mean mn04_as[,?]/, 1],
    [['models', 'pull', 'worksop'], meant, 1],
    [['models', 'import', file, '--architecture', 'mn1', '--id', 'x'], /Did you mean mn10/, 1],
    [['models', 'import', file, '--architecture', 'CNN_14', '--id', 'x'], /Did you mean Cnn14/, 1],
  );
  // A process each: all at once would only wait for each other.
  for (const [args, stderr, code] of wrong) {
    const result = await cli(args, { env, cwd: join(dataDir) });
    t.match(result.stderr, stderr, args.join(' '));
    t.equal(result.code, code, args.join(' '));
  }
  const known = await cli(['models', 'info', 'mn04_as'], { env });
  t.match(known.stdout, /not installed; get it with: npx soundpost models pull mn04_as/);
});

t.test('over MQTT', { skip: skipWithout('mosquitto') }, async (t) => {
  const broker = await startMosquitto();
  t.teardown(() => broker.stop());
  const began = await start(
    t,
    broker.url,
    { ...looped, TAGGING_LABELS: '["Tone 1", {"name": "Kitchen", "labels": ["Tone 0"]}]' },
    sound(tone(500, 2, 16_000, 0.2)),
  );
  const { console } = began;
  // Before that nobody can say which labels there are.
  await console.on('tags');
  const wrong: [command: string, input: object, code: string, message: RegExp][] = [
    ['model/set', { id: 'tone-wavefrm' }, 'model_unknown', /Did you mean tone-waveform\?/],
    [
      'model/set',
      { id: 'mn04_as' },
      'model_unknown',
      /not installed.*request\/model\/pull with \{"id":"mn04_as"\}/,
    ],
    ['model/pull', { id: 'mn4_as' }, 'model_unknown', /Did you mean mn04_as[,?]/],
    ['model/pull', { id: 'soundpost-hone' }, 'model_unknown', /Did you mean soundpost-home\?/],
    ['model/remove', { id: 'tone-wavefrm' }, 'model_unknown', /Did you mean tone-waveform\?/],
    ['threshold/set', { value: 0.4, label: 'Tome 1' }, 'label_unknown', /Did you mean "Tone 1"/],
    ['threshold/set', { value: 0.4, label: 'kichen' }, 'label_unknown', /Did you mean Kitchen\?/],
    ['threshold/set', { value: 0.4, label: 'helicopter' }, 'label_unknown', /"helicopter"\. Take a name/],
    ['labels/set', { labels: ['Tome 1'] }, 'label_unknown', /"Tome 1" \(did you mean "Tone 1"/],
  ];
  for (const [command, input, code, message] of wrong) {
    const reply = await console.request(command, input);
    t.match(reply, { status: 'error', error: { code, message } }, `${command} ${JSON.stringify(input)}`);
  }
  const reply = await console.request('labels/set', { labels: ['Tone 1', 'Tome 2'] });
  t.match(reply, { status: 'ok', data: { unknown: [{ name: 'Tome 2', suggestions: ['Tone 2'] }] } });
  await stopsCleanly(t, began);
});

t.test('a label that is named before a model is at work', { skip: skipWithout('mosquitto') }, async (t) => {
  const broker = await startMosquitto();
  t.teardown(() => broker.stop());
  const began = await start(
    t,
    broker.url,
    { ...looped, TAGGING_LABELS: '["Tone 0", "Tone 1"]' },
    sound(tone(500, 2, 16_000, 0.2)),
  );
  const { console, service } = began;
  const pids = await startedInference(service.pid);
  process.kill(pids[0]!, 'SIGSTOP');
  t.match(await console.request('threshold/set', { value: 0.77, label: 'tone 1' }), { status: 'ok' });
  process.kill(pids[0]!, 'SIGCONT');
  const inForce = ({ thresholds = [] }: InfoPayload) =>
    thresholds.some(({ label, threshold }) => label === 'Tone 1' && threshold === 0.77);
  await console.on<InfoPayload>('info', inForce);
  await stopsCleanly(t, began);
});
