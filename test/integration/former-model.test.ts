import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { StatePayload } from '../../src/mqtt/contract.js';
import { start, type Started } from '../support/service-rig.js';

// What still names a model that shipped with an earlier version, in every place where it can stand.

const FORMER = 'soundpost-mini';
const demo = { AUDIO_SOURCE: 'demo', MODEL_ID: '' };

const remember = (value: string, configured: string) => (dataDir: string) =>
  writeFile(
    join(dataDir, 'state.json'),
    JSON.stringify({ version: 1, values: { model: { value, configured } } }),
  );

const rememberedIn = async (dataDir: string) =>
  (JSON.parse(await readFile(join(dataDir, 'state.json'), 'utf8')) as { values: { model?: object } }).values
    .model;

/** The lines of the log that speak of the former model. */
const told = ({ service }: Started) => service.lines.filter(({ message }) => message.includes(FORMER));

t.test('in the configuration and in model/set', async (t) => {
  const started = await start(t, null, { ...demo, MODEL_ID: FORMER });
  const { console, service, dataDir } = started;
  await console.on<StatePayload>('state', ({ model }) => model === 'soundpost-home');
  t.match(told(started), [{ level: 'info', message: /^model\.id \(SOUNDPOST_MODEL_ID\): .*soundpost-home/ }]);
  t.equal(told(started).length, 1);

  t.match(await console.request('model/set', { id: 'tone-waveform' }), { status: 'ok' });
  t.match(await console.request('model/set', { id: FORMER }), {
    status: 'ok',
    data: { model: 'soundpost-home' },
  });
  await console.on<StatePayload>('state', ({ model }) => model === 'soundpost-home');
  t.equal(told(started).length, 2, 'said once more');
  t.match(await rememberedIn(dataDir), { value: 'soundpost-home', configured: 'soundpost-home' });
  t.match(await console.request('model/remove', { id: FORMER }), {
    error: { code: 'model_bundled', message: /soundpost-home ships with the program/ },
  });
  await service.stop();

  // The variable goes: the wish that the state holds is as it was.
  const again = await started.again({ MODEL_ID: '' });
  await again.console.on<StatePayload>('state', ({ model }) => model === 'soundpost-home');
  t.same(told(again), []);
});

t.test('in the remembered state', async (t) => {
  const started = await start(t, null, demo, remember(FORMER, 'tone-waveform'));
  await started.console.on<StatePayload>('state', ({ model }) => model !== null);
  t.equal(told(started).length, 1, 'the configuration is the newer wish; said once all the same');
  await started.service.stop();

  const chosen = await start(
    t,
    null,
    { ...demo, MODEL_ID: 'tone-waveform' },
    remember(FORMER, 'tone-waveform'),
  );
  await chosen.console.on<StatePayload>('state', ({ model }) => model === 'soundpost-home');
  t.match(told(chosen), [{ level: 'info', message: /^Chosen over MQTT: .*soundpost-home/ }]);
  t.equal(told(chosen).length, 1);
  t.match(await rememberedIn(chosen.dataDir), { value: 'soundpost-home', configured: 'tone-waveform' });
});

t.test('its optimised copy goes, that of any other model stays', async (t) => {
  const names = [`${FORMER}.0123456789abcdef.${'0'.repeat(64)}.onnx`, `mn04_as.0.${'0'.repeat(64)}.onnx`];
  const { console, dataDir } = await start(
    t,
    null,
    { ...demo, MODEL_ID: 'tone-waveform' },
    async (folder) => {
      await mkdir(join(folder, 'optimized'));
      for (const name of names) await writeFile(join(folder, 'optimized', name), 'a network');
    },
  );
  await console.on<StatePayload>('state', ({ model }) => model === 'tone-waveform');
  const left = await readdir(join(dataDir, 'optimized'));
  t.notOk(left.includes(names[0]!));
  t.ok(left.includes(names[1]!));
});

t.test('as the default of that time: another model that was chosen goes on', async (t) => {
  const started = await start(t, null, demo, remember('tone-waveform', FORMER));
  await started.console.on<StatePayload>('state', ({ model }) => model === 'tone-waveform');
  t.same(told(started), []);
});
