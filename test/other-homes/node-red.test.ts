import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { freePort, startMosquitto } from '../support/broker.js';
import { createConsole, makeDataDir, startService } from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* The flow of docs/other-homes.md in the real Node-RED, with a broker and two devices. */

const FOLDER = process.env['SOUNDPOST_TEST_NODE_RED'] ?? '';
const PROGRAM = join(FOLDER, 'node_modules', 'node-red', 'red.js');
const isThere = FOLDER !== '' && existsSync(PROGRAM);
const skip = isThere ? skipWithout('mosquitto') : 'npm run test:other-homes installs Node-RED';

t.test('the flow for Node-RED', { bail: true, skip, timeout: 240_000 }, async (t) => {
  const broker = await startMosquitto();
  t.teardown(() => broker.stop());
  const folder = temporaryFolder(t);
  const port = await freePort();
  const flow = JSON.parse(readFileSync(projectPath('deploy/node-red/soundpost.json'), 'utf8')) as {
    type: string;
    broker?: string;
    port?: string;
  }[];
  for (const node of flow) {
    if (node.type === 'mqtt-broker') Object.assign(node, { broker: '127.0.0.1', port: String(broker.port) });
  }
  writeFileSync(join(folder, 'flow.json'), JSON.stringify(flow));
  const settings = {
    uiHost: '127.0.0.1',
    uiPort: port,
    httpAdminRoot: false,
    flowFile: 'flow.json',
    credentialSecret: false,
    telemetry: { enabled: false },
    logging: { console: { level: 'warn', metrics: false, audit: false } },
  };
  writeFileSync(join(folder, 'settings.js'), `module.exports = ${JSON.stringify(settings)};`);
  const child = spawn(process.execPath, [PROGRAM, '--userDir', folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => (said += text.toString()));
  t.teardown(async () => {
    const gone = once(child, 'exit');
    if (child.exitCode !== null) return;
    child.kill('SIGTERM');
    await gone;
  });
  const url = `http://127.0.0.1:${port}/soundpost`;
  const page = async () => {
    const answer = await fetch(url);
    return answer.ok ? await answer.text() : '';
  };
  let shown = '';
  const untilShown = (fits: (text: string) => boolean) =>
    until(
      async () => fits((shown = await page().catch(() => ''))),
      () => `${String(fits)}; Node-RED shows:\n${shown}\nand said:\n${said}`,
      60,
      200,
    );
  await untilShown((text) => text.includes('No device has been heard of yet'));

  const dataDir = await makeDataDir(t);
  await installToneModel(dataDir, 'waveform', { id: 'second-model' });
  const common = {
    MQTT_URL: broker.url,
    AUDIO_SOURCE: 'demo',
    THERMAL_ENABLED: 'false',
    TAGGING_LABELS: '["Bird"]',
  };
  startService(t, { ...common, DATA_DIR: dataDir, DEVICE_ID: 'attic', DEVICE_NAME: 'Attic <b>' });
  const cellar = startService(t, {
    ...common,
    DATA_DIR: await makeDataDir(t),
    DEVICE_ID: 'cellar',
    DEVICE_NAME: 'Cellar',
  });
  const console = await createConsole(t, broker.url, 'attic');

  await t.test('it lists devices, with names that are no HTML', async (t) => {
    await untilShown((text) => text.includes('Attic &lt;b&gt; (online)') && text.includes('Cellar (online)'));
    t.notMatch(shown, '<b>');
  });
  await t.test('it shows what they hear', async () => {
    await untilShown((text) => (text.match(/Now: [A-Z][^<]* \d+ %/g) ?? []).length === 2);
    await untilShown((text) => /Last: Bird, \d{4}-/.test(text));
  });
  await t.test('it switches the model', async (t) => {
    await untilShown((text) => text.includes('<option selected>soundpost-home</option>'));
    t.match(shown, '<option>second-model</option>');
    const answer = await fetch(`${url}/model`, {
      method: 'POST',
      body: new URLSearchParams({ device: 'attic', model: 'second-model' }),
      redirect: 'manual',
    });
    t.equal(answer.status, 303);
    t.equal(new URL(answer.headers.get('location')!, answer.url).href, url);
    t.match(await console.on('response/model/set'), { status: 'ok' });
    await untilShown((text) => text.includes('<option selected>second-model</option>'));
  });
  await t.test('it sends nothing to a device that there is not', async (t) => {
    for (const device of ['garage', '__proto__', '../x']) {
      const answer = await fetch(`${url}/model`, {
        method: 'POST',
        body: new URLSearchParams({ device, model: 'x' }),
      });
      t.equal(answer.status, 400, device);
    }
  });
  await t.test('a device that goes is offline', async (t) => {
    await cellar.stop();
    await untilShown((text) => text.includes('Cellar (offline)'));
    t.equal(said.match(/\[error\].*/)?.[0], undefined);
  });
});
