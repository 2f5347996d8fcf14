/** The command line as a person meets it: the compiled program, its output, its exit codes. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { t } from 'tap';
import { freePort } from '../support/broker.js';
import { CLI, cleanEnvironment, cli, cliHome, inferenceProcessOf, startCli } from '../support/cli.js';
import { noise, skipWithoutMicrophone, startFileMicrophone } from '../support/microphone.js';
import { untilGone } from '../support/service.js';
import { projectPath, sharedPath } from '../support/shared.js';
import { makeWav, sine } from '../support/wav.js';
import { until } from '../support/waiting.js';

// Most of the time of a command is the start of its processes: two at a time on the smallest machine.
t.jobs = 2;

const { folder, env, noShared, write, ownData } = cliHome(t);

void t.test('devices', async (t) => {
  await t.test('with a microphone and with none', { skip: skipWithoutMicrophone() }, async (t) => {
    const sound = { samples: noise(48000), sampleRate: 48000, channels: 1 };
    const microphone = await startFileMicrophone(sound, ['default', 'kitchen']);
    t.teardown(() => microphone.stop());
    const table = await cli(['devices'], { env: { ...env, ...microphone.env } });
    t.equal(table.code, 0, table.stderr);
    t.match(table.stdout, /^INDEX +NAME +CHANNELS +RATE +HOST API/);
    t.match(table.stdout, /\n\d+ +kitchen +\d+ +\d+ Hz +ALSA/);
    t.match(table.stdout, /default\n/);
    t.notMatch(table.stderr, /ALSA/, "the sound system's chatter is held back");
    const { devices } = JSON.parse(
      (await cli(['devices', '--json'], { env: { ...env, ...microphone.env } })).stdout,
    ) as {
      devices: { name: string }[];
    };
    t.ok(devices.some(({ name }) => name === 'kitchen'));

    const doctor = await cli(
      ['doctor', '--audio.device', 'kitchen', '--broker.port', String(await freePort())],
      {
        env: { ...env, ...microphone.env },
      },
    );
    t.match(doctor.stdout, /\nok +audio +kitchen/);

    await microphone.setNames([]);
    const none = await cli(['devices'], { env: { ...env, ...microphone.env } });
    t.equal(none.code, 0);
    t.match(none.stdout, /no audio input.*Plug in a microphone/);
    t.strictSame(
      JSON.parse((await cli(['devices', '--json'], { env: { ...env, ...microphone.env } })).stdout),
      {
        devices: [],
      },
    );
  });
});

void t.test('models', { skip: noShared }, async (t) => {
  const own = ownData('models-data');
  for (const id of ['mn04_as', 'spoilt']) {
    cpSync(sharedPath('models', 'mn04_as'), join(own, 'models', id), { recursive: true });
  }
  const manifest = readFileSync(join(own, 'models/spoilt/model.json'), 'utf8');
  writeFileSync(join(own, 'models/spoilt/model.json'), manifest.replace('"mn04_as"', '"spoilt"'));
  const network = readFileSync(join(own, 'models/spoilt/model.onnx'));
  network[network.length >> 1]! ^= 1;
  writeFileSync(join(own, 'models/spoilt/model.onnx'), network);
  mkdirSync(join(own, 'models/hollow'));
  writeFileSync(join(own, 'models/hollow/model.json'), '{"id": 7');
  const options = { env: { SOUNDPOST_DATA_DIR: own } };

  const list = await cli(['models', 'list'], options);
  t.equal(list.code, 0);
  t.match(list.stdout, /^ID +LABELS +MACS +MAP +SIZE +LICENCE +STATE\n/);
  t.match(list.stdout, /\nsoundpost-home .* bundled\n/);
  t.match(list.stdout, /\nmn04_as +527 +110 M +0\.432 +4\.1 MB +MIT +installed\n/);
  t.match(list.stdout, /\ncnn14 +527 +20\.0 G +0\.431 +327 MB +MIT\/CC BY +available\n/);
  t.match(list.stdout, /\nBROKEN hollow: .*model\.json/);
  const healthy = list.stdout.slice(0, list.stdout.indexOf('\nBROKEN'));
  t.same(
    healthy.split('\n').filter((line) => line.length > 80),
    [],
    'it fits a terminal of 80 columns',
  );
  const json = JSON.parse((await cli(['models', 'list', '--json'], options)).stdout) as {
    models: { id: string }[];
    broken: { id: string; error: string }[];
    available: { id: string }[];
  };
  t.notOk(
    json.available.some(({ id }) => id === 'mn04_as'),
    'what is here is not offered',
  );
  t.ok(json.available.some(({ id }) => id === 'mn10_as'));
  t.strictSame(
    json.models.map(({ id }) => id),
    ['soundpost-home', 'mn04_as', 'spoilt'],
  );
  t.strictSame(
    json.broken.map(({ id }) => id),
    ['hollow'],
  );

  const info = await cli(['models', 'info', 'mn04_as'], options);
  t.equal(info.code, 0);
  t.match(info.stdout, /^id +mn04_as\n/);
  t.match(info.stdout, /\nlicence +MIT\n/);
  const full = JSON.parse((await cli(['models', 'info', 'mn04_as', '--json'], options)).stdout) as {
    manifest: { id: string };
    labels: unknown[];
  };
  t.equal(full.manifest.id, 'mn04_as');
  t.equal(full.labels.length, 527);

  t.match(
    info.stdout,
    /\nthresholds +0\.12 to 0\.55 for 71 labels \(label set\), 0\.25 for 456 labels \(label set's default\)\n/,
  );

  const labels = await cli(['models', 'labels', 'mn04_as'], options);
  t.equal(labels.code, 0, labels.stderr);
  const lines = labels.stdout.trimEnd().split('\n');
  t.equal(lines.length, 528);
  t.match(lines[0], /^INDEX +LABEL +THRESHOLD +FROM$/);
  t.match(lines[1], /^ {4}0 +Speech +0\.25 +label set's default$/);
  t.match(lines[76], /^ {3}75 +Bark +0\.17 +label set$/);
  t.ok(
    lines.every((line) => line.length <= 80),
    'it fits on the narrowest screen',
  );
  const cries = await cli(['models', 'labels', 'mn10_as', 'CRY', '--json'], options);
  t.equal(cries.code, 0, 'a model that is not installed, by its label set');
  const cried = JSON.parse(cries.stdout) as { id: string; labels: { name: string }[] };
  t.equal(cried.id, 'mn10_as');
  t.ok(cried.labels.length > 1);
  for (const { name } of cried.labels) t.match(name, /cry/i);
  t.match(
    cried.labels.find(({ name }) => name === 'Baby cry, infant cry'),
    { index: 23, mid: '/t/dd00002', threshold: 0.12, from: 'label_set' },
  );
  t.match((await cli(['models', 'labels', 'mn04_as', '/m/05tny_'], options)).stdout, /\n +75 +Bark +/);
  const misspelt = await cli(['models', 'labels', 'mn04_as', 'barkk'], options);
  t.strictSame([misspelt.code, misspelt.stdout], [1, '']);
  t.match(misspelt.stderr, /no label with "barkk" in its name\. Did you mean Bark\?/);
  const nowhere = await cli(['models', 'labels', 'mn99'], options);
  t.strictSame([nowhere.code, nowhere.stdout], [1, '']);
  t.match(nowhere.stderr, /no model "mn99"/);

  const known = await cli(['models', 'info', 'mn10_as'], options);
  t.equal(known.code, 0);
  t.match(known.stdout, /\nstate +not installed; get it with: npx soundpost models pull mn10_as\n/);
  t.match(known.stdout, /\nsource +https:\/\/github\.com\/fschmid56\//);

  for (const id of ['soundpost-home', 'mn04_as']) {
    const verified = await cli(['models', 'verify', id], options);
    t.equal(verified.code, 0, verified.stdout);
    t.match(
      verified.stdout,
      /^ok +manifest .*\nok +digest .*\nok +load .*\nok +scores .*\nok +self-test .*\n$/,
    );
  }
  const former = await cli(['models', 'info', 'soundpost-mini', '--json'], options);
  t.equal(former.code, 0);
  t.match(JSON.parse(former.stdout), { manifest: { id: 'soundpost-home' } });
  t.match(former.stderr, /^soundpost: The model soundpost-mini is no longer .*soundpost-home.*\n$/);
  const spoilt = await cli(['models', 'verify', 'spoilt', '--json'], options);
  t.equal(spoilt.code, 1);
  t.match(JSON.parse(spoilt.stdout), {
    id: 'spoilt',
    ok: false,
    steps: [{ ok: true }, { name: 'digest', ok: false, code: 'model_digest' }],
  });
  const unknown = await cli(['models', 'verify', 'mn40'], options);
  t.strictSame([unknown.code, unknown.stdout], [1, '']);
  t.match(unknown.stderr, /no model "mn40".*Did you mean mn40_as.*Installed: soundpost-home, mn04_as/);
  const tag = await cli(['tag', '--model', 'spoilt', sharedPath('golden', 'audio', 'speech.wav')], options);
  t.strictSame([tag.code, tag.stdout], [1, '']);
  t.match(tag.stderr, /spoilt/);
});

void t.test('doctor says what to do', async (t) => {
  const healthy = await cli(
    ['doctor', '--json', '--audio.source', 'demo', '--broker.port', String(await freePort())],
    { env },
  );
  t.equal(healthy.code, 0, healthy.stdout);
  const { ok, findings } = JSON.parse(healthy.stdout) as {
    ok: boolean;
    findings: { name: string; verdict: string; detail: string }[];
  };
  t.equal(ok, true);
  t.strictSame(
    findings.map(({ name }) => name),
    [
      'node',
      'board',
      'sensors',
      'disk',
      'model',
      'labels',
      'audio',
      'ffmpeg',
      'broker',
      'page',
      'history',
      'clips',
      'background',
    ],
  );

  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  const blocked = write('not-a-folder', '');
  const { code, stdout } = await cli(
    ['doctor', '--broker.port', String(port), '--model.id', 'nope', '--audio.source', 'file'].concat([
      '--audio.file',
      join(folder, 'nowhere.wav'),
      '--data_dir',
      join(blocked, 'data'),
    ]),
    { env: { PATH: '/nowhere' } },
  );
  t.equal(code, 1);
  t.match(stdout, /\nfail +disk .*cannot be written .*data_dir/);
  t.match(stdout, /\nfail +model .*no model "nope".*Installed/);
  t.match(stdout, /\nfail +audio .*nowhere\.wav does not exist/);
  t.match(stdout, /\nwarn +ffmpeg .*apt install ffmpeg/);
  t.match(stdout, /\nfail +broker .*broker\.port/);

  const away = await cli(
    ['doctor', '--mqtt.url', `mqtt://user:hush-hush@127.0.0.1:${String(await freePort())}`],
    {
      env,
    },
  );
  t.equal(away.code, 1);
  t.match(away.stdout, /\nfail +broker +mqtt:\/\/127\.0\.0\.1:\d+: .*is the broker running\?/);
  t.notMatch(away.stdout, /hush-hush/);
});

void t.test('doctor says where the page is and what is kept', async (t) => {
  const dataDir = ownData('doctor-kept');
  const run = async (...more: string[]) =>
    cli(['doctor', '--audio.source', 'demo', '--broker.port', String(await freePort())].concat(more), {
      env: { SOUNDPOST_DATA_DIR: dataDir },
    });
  const doctor = async (...more: string[]) => (await run(...more)).stdout;
  const port = String(await freePort());
  const fresh = await doctor('--web.port', port);
  t.match(fresh, new RegExp(`\\nok +page +http://127\\.0\\.0\\.1:${port}; for this machine alone, without`));
  t.match(fresh, /\nok +history +0\.0 MB of 64 MB, for 30 days, in /);
  t.match(fresh, /\nok +clips +off, no sound is kept \(clips\.enabled is false\)\n/);
  t.notOk(existsSync(join(dataDir, 'clips')), 'it makes no folder');

  const open = ['--web.port', port, '--web.host', '0.0.0.0'];
  t.match((await run(...open)).stderr, /web\.password/, 'the configuration says that it takes a password');
  const day = join(dataDir, 'clips', '2026-05-10');
  mkdirSync(day, { recursive: true });
  writeFileSync(join(day, 'one.flac'), Buffer.alloc(2_000_000));
  writeFileSync(join(day, 'one.json'), '{}');
  mkdirSync(join(dataDir, 'background'));
  // Two models on the second of two days.
  for (const name of ['0123456789abcdef-2026-05-01', '0123456789abcdef-2026-05-02', '89abcdef-2026-05-02']) {
    writeFileSync(join(dataDir, 'background', `${name}.emb`), Buffer.alloc(500_000));
  }
  writeFileSync(join(dataDir, 'history'), 'no folder');
  const full = await doctor(...open, '--web.password', 'hush-hush', '--clips.enabled', 'true');
  t.match(full, /\nok +page .*open to the network \(web\.host is 0\.0\.0\.0\), with the password/);
  t.notMatch(full, /hush-hush/);
  t.match(full, /\nok +background +2 days, 1\.5 MB of 20 MB; no sound, .* in /);
  t.match(full, /\nok +clips +1 clip, 2\.0 MB of 500 MB, for 14 days; none with speech, in /);
  t.match(full, /\nwarn +history .*cannot be written \(ENOTDIR\)/);

  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => taken.close());
  await once(taken, 'listening');
  const { port: busy } = taken.address() as { port: number };
  const blocked = await doctor('--web.port', String(busy), '--history.enabled', 'false');
  t.match(blocked, /\nwarn +page .*something is there already.*web\.port/);
  t.match(blocked, /\nok +history +off \(history\.enabled is false\)/);
  const without = await doctor('--learn.background', 'false');
  t.match(
    without,
    /\nok +background +off, .*\(learn\.background is false\); 2 days, 1\.5 MB of earlier lie in /,
  );
  t.match(blocked, /\nok +clips +off.*; 1 clip, 2\.0 MB of earlier lie in /);
  t.match(await doctor('--web.enabled', 'false'), /\nok +page +off/);
});

void t.test('doctor knows the watched labels and their thresholds', async (t) => {
  const own = ownData('doctor-data');
  const file = write(
    'watched.yaml',
    `tagging:
  labels: [Dog, Spech, {name: Alarm, labels: [Speech, Siren], threshold: 0.3}]
  thresholds: {Dog: 0.4}
`,
  );
  const doctor = async (...more: string[]) =>
    cli(
      ['doctor', '-c', file, '--audio.source', 'demo', '--broker.port', String(await freePort()), ...more],
      { env: { SOUNDPOST_DATA_DIR: own } },
    );
  const { code, stdout } = await doctor();
  t.equal(code, 0, stdout);
  t.match(
    stdout,
    /\nwarn +labels +watched of soundpost-home, .*does not know "Spech" \(did you mean "Speech"/,
  );
  t.match(stdout, /\n {15}Dog +0\.4 +tagging\.thresholds\n/);
  t.match(stdout, /\n {15}Alarm: Siren +0\.3 +group's own\n/);

  // What was set over MQTT is what the service would go on with; looking at it changes nothing.
  const state = JSON.stringify({
    version: 1,
    values: {
      labels: { value: ['Siren', 'Dog'], configured: null },
      threshold: { value: 0.2, configured: 0.9 },
    },
  });
  writeFileSync(join(own, 'state.json'), state);
  const labels = ['--tagging.labels', '["Speech"]'];
  const forgotten = JSON.parse((await doctor('--json', ...labels)).stdout) as {
    findings: { name: string; thresholds?: object[] }[];
  };
  t.match(forgotten.findings.find(({ name }) => name === 'labels')?.thresholds, [
    { label: 'Speech', group: null, threshold: Number, from: 'model' },
  ]);
  writeFileSync(
    join(own, 'state.json'),
    state.replace('"configured":null', '"configured":["Speech"]').replace('0.9', 'null'),
  );
  const remembered = await doctor(...labels);
  t.match(remembered.stdout, /\nok +labels .*\n {15}Siren +0\.2 +tagging\.threshold\n {15}Dog +0\.4 /);
  writeFileSync(join(own, 'state.json'), 'half a {');
  t.match((await doctor(...labels)).stdout, /\nok +labels .*\n {15}Speech +0\.\d+ +model\n/);
  t.equal(readFileSync(join(own, 'state.json'), 'utf8'), 'half a {', 'it is left to the service');

  t.match(
    (await doctor()).stdout,
    /\nok +model +soundpost-home: .*94 labels; loaded .*digest is right, and it gives scores, the same as when it was installed\n/,
    'what was found of the model, and not what there is none of',
  );
  if (noShared === false) {
    const old = await doctor('--model.id', 'mn04_as', '--data_dir', env.SOUNDPOST_DATA_DIR);
    t.match(old.stdout, /\nwarn +model +mn04_as: .*before mn04 could say when.*models pull mn04_as"/);
    const info = await cli(['models', 'info', 'mn04_as'], { env });
    t.match(info.stdout, /frames +none: .*models pull mn04_as/);
  }
  const none = await doctor('--tagging.labels', '["Spech"]');
  t.equal(none.code, 1);
  t.match(none.stdout, /\nfail +labels +nothing would ever be heard.*"Spech".*models labels soundpost-home/);
  const every = await doctor('--tagging.labels', '[]');
  t.match(every.stdout, /\nok +labels +every label of soundpost-home is watched, thresholds: .*\(model\)/);
});

void t.test('health', async (t) => {
  const own = ownData('health-data');
  const options = { env: { SOUNDPOST_DATA_DIR: own } };
  const none = await cli(['health'], options);
  t.equal(none.code, 1);
  t.match(none.stdout, /^FAIL +service +No service is running.*soundpost run.*\nunhealthy\n$/s);

  const service = startCli(
    ['run', '--audio.source', 'demo', '--broker.port', String(await freePort())],
    options,
  );
  t.teardown(() => service.child.kill('SIGKILL'));
  let running = await cli(['health', '--json'], options);
  await until(
    async () => {
      if (service.child.exitCode !== null) throw new Error(`it ended: ${(await service.ended).stderr}`);
      running = await cli(['health', '--json'], options);
      return running.code === 0;
    },
    () => `a healthy service; the last answer was ${running.stdout}`,
    60,
  );
  t.match(JSON.parse(running.stdout), { healthy: true, checks: [{ name: 'service', ok: true }] });
  service.child.kill('SIGTERM');
  t.equal((await service.ended).code, 0);
  t.equal((await cli(['health'], options)).code, 1, 'after an orderly stop');

  mkdirSync(join(own, 'run'), { recursive: true });
  const heartbeat = (ts: string, pid: number) =>
    writeFileSync(join(own, 'run/health.json'), JSON.stringify({ ts, pid, healthy: true, checks: [] }));
  heartbeat(new Date(Date.now() - 3_600_000).toISOString(), process.pid);
  const stale = await cli(['health'], options);
  t.equal(stale.code, 1);
  t.match(stale.stdout, /heartbeat is 36\d\d s old.*hangs/);
  writeFileSync(join(own, 'run/health.json'), 'half a {');
  const torn = await cli(['health', '--json'], options);
  t.equal(torn.code, 1);
  t.match(JSON.parse(torn.stdout), { healthy: false, age: null });
});

void t.test('config shows each value, its origin, and no secret', async (t) => {
  const file = write('my.yaml', 'mqtt:\n  url: mqtt://broker.example\ninference:\n  rate_hz: 0.5\n');
  const secret = write('secret', 'correct-horse\n');
  const options = {
    env: {
      ...env,
      SOUNDPOST_INFERENCE_RATE_HZ: '2',
      SOUNDPOST_MQTT_PASSWORD_FILE: secret,
      SOUNDPOST_MQTT_USERNAME: 'me',
    },
  };
  const { code, stdout, stderr } = await cli(['config', '-c', file, '--model.threads', '2'], options);
  t.equal(code, 0, stderr);
  t.match(stdout, new RegExp(`\\nmqtt\\.url +mqtt://broker\\.example +.*my\\.yaml`));
  t.match(
    stdout,
    /\ninference\.rate_hz +2 +SOUNDPOST_INFERENCE_RATE_HZ\n/,
    'the environment wins over the file',
  );
  t.match(stdout, /\nmodel\.threads +2 +--model\.threads\n/);
  t.match(stdout, /\nmqtt\.base_topic +soundpost +default\n/);
  t.match(stdout, /\nmqtt\.password +\*+ +SOUNDPOST_MQTT_PASSWORD_FILE/);
  t.notMatch(stdout + stderr, /correct-horse/);
  const json = await cli(['config', '--json', '-c', file], options);
  t.notMatch(json.stdout, /correct-horse/);
  t.match(JSON.parse(json.stdout), {
    config: { mqtt: { url: 'mqtt://broker.example' }, inference: { rate_hz: 2 } },
  });
});

void t.test('wrong usage ends with 2 and says what is right', async (t) => {
  const wrongFile = write('wrong.yaml', 'inference:\n  rate_hz: fast\nmqqt:\n  url: mqtt://x\n');
  const recording = sharedPath('golden', 'audio', 'speech.wav');
  const cases: [args: string[], env: Record<string, string>, message: RegExp][] = [
    [[], {}, /Commands:/],
    [['nope'], {}, /unknown command 'nope'/],
    [['tagg'], {}, /unknown command 'tagg'\n\(Did you mean tag\?\)/],
    [['models'], {}, /verify/],
    [['models', 'nope'], {}, /unknown command 'nope'/],
    [['models', 'info'], {}, /missing required argument 'id'/],
    [['tag'], {}, /missing required argument 'files'/],
    [['devices', 'extra'], {}, /too many arguments/],
    [['tag', '--frobnicate', 'x', recording], {}, /unknown option '--frobnicate'.*soundpost config/s],
    [['config', '--mqtt.urll', 'x'], {}, /unknown option '--mqtt\.urll'\n\(Did you mean --mqtt\.url\?\)/],
    [['config', '--mqtt.host', 'x'], {}, /unknown option '--mqtt\.host'\n\(Did you mean --mqtt\.url\?\)/],
    [['config', '--mqtt-user=x'], {}, /unknown option '--mqtt-user'\n\(Did you mean --mqtt\.username\?\)/],
    [
      ['run', '--min-gap-seconds', '3'],
      {},
      /unknown option '--min-gap-seconds'\n\(Did you mean --tagging\.min_gap_seconds\?\)/,
    ],
    [['listen', '--secnds', '3'], {}, /unknown option '--secnds'\n\(Did you mean --seconds\?\)/],
    [['tag', '--top', '0', recording], {}, /--top 0: must be a whole number above 0/],
    [['tag', '--top', '2.5', recording], {}, /--top 2\.5: must be a whole number/],
    [['tag', '--hop', '-1', recording], {}, /--hop -1: must be a number above 0/],
    [['tag', '--hop', 'x', '--model', 'nope', recording], {}, /--hop x: must be/],
    [['listen', '--seconds', 'soon'], {}, /--seconds soon: must be a number above 0/],
    [['config'], { SOUNDPOST_MQTT_URLL: 'x' }, /SOUNDPOST_MQTT_URLL.*did you mean SOUNDPOST_MQTT_URL\?/],
    [
      ['run'],
      { SOUNDPOST_INFERENCE_RATE_HZ: '99' },
      /inference\.rate_hz = "99" \(SOUNDPOST_INFERENCE_RATE_HZ\): .*0\.01 to 20/,
    ],
    [['health', '--audio.source', 'radio'], {}, /audio\.source = "radio" \(--audio\.source\): .*microphone/],
    [
      ['config', '-c', wrongFile],
      {},
      /2 problems:.*mqqt.*wrong\.yaml:3:1.*no such key.*inference\.rate_hz = "fast".*wrong\.yaml:2:3.*0\.01 to 20/s,
    ],
    [['doctor', '--config', join(folder, 'none.yaml')], {}, /none\.yaml does not exist/],
    [['run', '--config', folder], {}, /is a folder/],
    [['listen', '--audio.source', 'file'], {}, /audio\.source.*needs audio\.file/],
  ];
  // Three at a time: each is little more than the start of Node.
  const waiting = [...cases];
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [args, added, message] = next;
      const { code, stdout, stderr } = await cli(args, { env: { ...env, ...added } });
      const name = ['soundpost', ...args].join(' ');
      t.equal(code, 2, name);
      t.equal(stdout, '', name);
      t.match(stderr, message, name);
      t.notMatch(stderr, / {4}at /, `no stack: ${name}`);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
});

void t.test('help and version', async (t) => {
  const { version } = JSON.parse(readFileSync(projectPath('package.json'), 'utf8')) as { version: string };
  const shown = await cli(['--version'], { env });
  t.strictSame([shown.code, shown.stdout], [0, `${version}\n`]);
  const help = await cli(['--help'], { env });
  t.equal(help.code, 0);
  for (const command of ['run', 'tag', 'listen', 'devices', 'models', 'config', 'doctor', 'health']) {
    t.match(help.stdout, new RegExp(`\\n  ${command} `));
    const own = command === 'models' ? ['models', '--help'] : [command, '--help'];
    const text = await cli(own, { env });
    t.equal(text.code, 0, command);
    t.match(text.stdout, new RegExp(`^Usage: soundpost ${command}`));
    t.ok(
      text.stdout.split('\n').every((line) => line.length <= 104),
      command,
    );
  }
});

void t.test('a reader that has seen enough is no fault', async (t) => {
  const { stdout } = spawnSync(
    'sh',
    [
      '-c',
      'for c in "config" "models info soundpost-home --json"; do { "$0" "$1" $c; echo "code $?" >&2; } | true; done 2>&1',
      process.execPath,
      CLI,
    ],
    {
      env: cleanEnvironment(env),
      encoding: 'utf8',
    },
  );
  t.equal(stdout, 'code 0\ncode 0\n');

  const listening = startCli(['listen', '--audio.source', 'demo'], { env });
  const child = await inferenceProcessOf(listening.child.pid!);
  listening.child.stdout.destroy();
  const { code, stderr } = await listening.ended;
  t.equal(code, 0, stderr);
  await untilGone(child);
});

void t.test('leaves nothing in the folder it is called from', async (t) => {
  const cwd = join(folder, 'elsewhere');
  mkdirSync(cwd);
  write(
    'elsewhere/short.wav',
    makeWav({ encoding: 's16', sampleRate: 8000, channels: [sine(16000, 440, 8000)] }),
  );
  const { code, stderr } = await cli(['tag', 'short.wav'], { cwd });
  t.equal(code, 0, stderr);
  t.equal((await cli(['devices'], { cwd, env: { PATH: `/nowhere${delimiter}` } })).stdout === '', false);
  t.strictSame(readdirSync(cwd), ['short.wav']);
});
