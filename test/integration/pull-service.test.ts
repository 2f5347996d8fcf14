import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { InfoPayload, StatePayload } from '../../src/mqtt/contract.js';
import { startFileServer } from '../support/file-server.js';
import { beep, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { sharedPath, skipWithoutShared } from '../support/shared.js';

t.test('a model is pulled, chosen and removed over MQTT', { skip: skipWithoutShared() }, async (t) => {
  const settings = { ...looped, MODELS_MIRROR: sharedPath('checkpoints'), MODELS_REMOTE_PULL: 'any' };
  const started = await start(t, null, settings, sound(beep(4, 0.5)));
  const { console, dataDir } = started;
  await console.on('state', ({ model }: StatePayload) => model === 'tone-waveform');
  const installed = () =>
    console
      .all<InfoPayload>('info')
      .at(-1)
      ?.models.installed.map(({ id }) => id);

  const list = await console.request('model/list');
  t.match(
    (list.data['available'] as { id: string }[]).find(({ id }) => id === 'mn04_as'),
    { bytes: 4066513 },
  );

  const informed = console.all('info').length;
  const states = console.all('state').length;
  t.match(await console.request('model/pull', { id: 'mn99' }), { error: { code: 'model_unknown' } });
  t.match(await console.request('model/pull', { url: 'https://other.example/x', manifest: {} }), {
    error: { code: 'invalid_request' },
  });
  t.match(await console.request('model/pull', {}), { error: { code: 'invalid_request' } });
  // Both at once: the first one cannot be carried out, so the second one need not wait.
  await console.publish(`${console.base}/request/model/pull`, '{"id":"mn99"}');
  t.match(await console.set('model/set', 'tone-waveform'), { status: 'ok' });
  t.match(await console.on('response/model/pull'), { error: { code: 'model_unknown' } });
  t.equal(console.all('info').length, informed, 'what was refused is no news');
  t.equal(console.all('state').length, states);

  t.match(await console.request('model/pull', { id: 'mn04_as' }), {
    status: 'ok',
    data: { model: 'mn04_as', installed: true },
  });
  const steps = console
    .all<StatePayload>('state')
    .filter(({ swap }) => swap.model === 'mn04_as')
    .map(({ swap }) => swap.state);
  t.same([...new Set(steps)], ['downloading', 'converting', 'verifying'], 'state tells how far it is');
  t.match(console.all<StatePayload>('state').at(-1)?.swap, { state: 'idle', model: null });
  t.same(installed(), ['soundpost-home', 'mn04_as', 'tone-waveform'], 'B/info has it');
  t.ok(console.all<InfoPayload>('info').at(-1)!.models.known.length > 50, 'and what is known');

  t.match(await console.request('model/set', { id: 'mn04_as' }), { status: 'ok' });
  t.match(await console.request('model/remove', { id: 'mn04_as' }), { error: { code: 'model_in_use' } });
  t.match(await console.request('model/remove', { id: 'soundpost-home' }), {
    error: { code: 'model_bundled' },
  });
  t.match(await console.request('model/set', { id: 'tone-waveform' }), { status: 'ok' });
  t.match(await console.request('model/remove', { id: 'mn04_as' }), { status: 'ok' });
  t.same(installed(), ['soundpost-home', 'tone-waveform']);
  t.same(await readdir(join(dataDir, 'models')), ['tone-waveform']);
  await stopsCleanly(t, started);
});

t.test('a pull under way: others are told to wait, and a stop ends it', async (t) => {
  const server = await startFileServer(t);
  server.files.set('/mn10_as_mAP_471.pt', Buffer.alloc(1 << 20));
  server.mischief.set('*', { stallAfter: 1 << 19 });
  const settings = { ...looped, MODELS_MIRROR: server.url };
  const started = await start(t, null, settings, sound(beep(4, 0.5)));
  const { console, dataDir } = started;
  await console.on('state', ({ model }: StatePayload) => model === 'tone-waveform');
  await console.publish(`${console.base}/request/model/pull`, '{"id":"mn10_as"}');
  await console.on('state', ({ swap }: StatePayload) => swap.state === 'downloading');
  t.match(await console.request('model/set', { id: 'soundpost-home' }), { error: { code: 'busy' } });
  t.match(await console.request('health'), { status: 'ok' }, 'the rest goes on');
  await stopsCleanly(t, started);
  t.same((await readdir(join(dataDir, 'models'))).sort(), ['.downloads', 'tone-waveform']);
  t.notOk((await readdir(join(dataDir, 'models', '.downloads'))).some((name) => name.endsWith('.lock')));
});
