/** docs/several-sources.md, held against the program: its configurations load, and its commands are carried out. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../src/config/load.js';
import { sourcesOf } from '../../src/config/sources.js';
import { projectPath } from '../support/shared.js';
import { start, stopsCleanly } from '../support/service-rig.js';
import { temporaryFolder } from '../support/temporary.js';

const guide = readFileSync(projectPath('docs', 'several-sources.md'), 'utf8');
const yamls = [...guide.matchAll(/```yaml\n([^]*?)```/g)].map(([, text]) => text!);

t.test('its configurations are right', (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'garage'), 'rtsp://192.168.1.21/stream2\n');
  const load = (text: string) => {
    const path = join(folder, 'guide.yaml');
    writeFileSync(path, text.replace('/run/secrets/garage', join(folder, 'garage')));
    return loadConfig({ configPath: path, env: {}, flags: {} }).config;
  };
  t.equal(yamls.length, 4);
  const names = yamls.map((text) => sourcesOf(load(text)).map(({ name }) => name));
  t.same(names, [['kitchen', 'hall'], ['nursery', 'yard', 'garage'], ['main'], ['main']]);
  const garage = sourcesOf(load(yamls[1]!)).find(({ name }) => name === 'garage')!;
  t.match(garage, { audio: { source: 'stream' }, tagging: { loud: { above_background_db: 25 } } });
  t.same(garage.tagging.labels, ['Speech', 'Smoke detector, smoke alarm'], 'as the comment says');

  const [, variable] = /SOUNDPOST_AUDIO_SOURCES='([^']*)'/.exec(guide)!;
  const { config } = loadConfig({ env: { SOUNDPOST_AUDIO_SOURCES: variable! }, flags: {} });
  t.same(
    sourcesOf(config).map(({ name }) => name),
    ['nursery', 'yard'],
  );
  t.end();
});

t.test('its commands are carried out', async (t) => {
  const sources = ['kitchen', 'hall'].map((name) => ({ name, source: 'demo', loop: true }));
  const started = await start(t, null, {
    AUDIO_SOURCES: JSON.stringify(sources),
    MODEL_ID: 'soundpost-home',
    TAGGING_LABELS: '["Speech","Dog"]',
  });
  const { console } = started;
  await console.on('source/hall/tags');
  const commands = [
    ...guide.matchAll(/^mosquitto_pub .* -t soundpost\/house\/(\S+) -m (?:'([^']*)'|(\S+))$/gm),
  ];
  t.equal(commands.length, 6);
  for (const [line, path, quoted, bare] of commands) {
    const name = path!.replace(/^(request|source\/[^/]+)\//, '');
    await console.publish(`${console.base}/${path}`, quoted ?? bare!);
    t.match(await console.on(`response/${name}`), { status: 'ok' }, line);
  }
  await stopsCleanly(t, started);
});
