import fc from 'fast-check';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { silentLogger, type Logger } from '../../src/common/log.js';
import { loadConfig, loadConfigAnyway, type ConfigSources } from '../../src/config/load.js';
import { keys } from '../../src/config/schema.js';
import { createUpdateLock, updateLockPath } from '../../src/install/update-lock.js';
import {
  delayBeforeEnd,
  FAILURES,
  modelChosen,
  noStarts,
  startAtWork,
  startBegins,
  startEnds,
  startSettled,
  type StartRecord,
} from '../../src/service/start-guard.js';
import { openStartGuard } from '../../src/service/start-record.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

/* What the service does on a device that nobody sits at: its configuration, its starts, balena's update lock. */

const nowhere = '/nowhere';
const sources = (env: Record<string, string>, more: ConfigSources = {}): ConfigSources => ({
  env,
  flags: {},
  root: nowhere,
  cwd: nowhere,
  hostname: 'box',
  ...more,
});
const anyway = (env: Record<string, string>, more?: ConfigSources) => loadConfigAnyway(sources(env, more));

t.test('a configuration that is wrong', (t) => {
  t.test('what is wrong is left out and told, the rest holds', (t) => {
    const folder = temporaryFolder(t);
    const file = join(folder, 'own.yaml');
    writeFileSync(file, 'mqtt: {url: "mqtt://host"}\ninference: {rate_hz: 4}\nno_such: 1\n');
    const { config, problems, unusable } = anyway(
      {
        SOUNDPOST_INFERENCE_RATE_HZ: 'often',
        SOUNDPOST_TAGGING_TOP_K: '5',
        SOUNDPOST_THERMAL_SOFT_LIMIT_C: '90',
        SOUNDPOST_AUDIO_SOURCE: 'file',
        SOUNDPOST_PORT: 'tcp://10.0.0.1:80',
      },
      { configPath: file },
    );
    t.equal(unusable, null);
    t.equal(config.mqtt.url, 'mqtt://host');
    t.equal(config.inference.rate_hz, 4, 'the layer below');
    t.equal(config.tagging.top_k, 5);
    t.match([config.thermal.soft_limit_c, config.thermal.hard_limit_c], [75, 82], 'a pair that does not fit');
    t.equal(config.audio.source, 'auto');
    for (const [level, word] of [
      ['error', 'no_such'],
      ['error', 'inference.rate_hz = "often"'],
      ['warn', 'SOUNDPOST_PORT'],
      ['error', 'thermal.soft_limit_c'],
      ['error', 'audio.source'],
    ] as const) {
      t.ok(
        problems.some((problem) => problem.level === level && problem.message.includes(word)),
        `${level} about ${word}`,
      );
    }
    t.equal(problems.length, 5);
    t.end();
  });

  t.test('without what the broker needs there is no way', (t) => {
    const url = { SOUNDPOST_MQTT_URL: 'mqtts://host' };
    const hopeless: [Record<string, string>, RegExp][] = [
      [{ SOUNDPOST_MQTT_URL: 'host:1883' }, /mqtt\.url/],
      [{ ...url, SOUNDPOST_MQTT_CA: 'LS0tLS1CRUdJTi' }, /mqtt\.ca/],
      [{ ...url, SOUNDPOST_MQTT_PASSWORD_FILE: '/none' }, /mqtt\.password/],
      [{ ...url, SOUNDPOST_MQTT_KEY: '-----BEGIN' }, /mqtt\.key/],
      [{ SOUNDPOST_CONFIG: '/none.yaml' }, /configuration file/],
    ];
    for (const [env, why] of hopeless) {
      const { unusable, config, problems } = anyway(env);
      t.match(unusable, why);
      t.ok(problems.length > 0);
      t.equal(config.data_dir, '/nowhere/data', 'good for the data folder');
    }
    t.equal(anyway({ ...url, SOUNDPOST_CONFIG: '/none.yaml' }).unusable, null, 'the broker stands elsewhere');
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'own.yaml'), 'mqtt: {url: nonsense}\n');
    t.equal(anyway(url, { configPath: join(folder, 'own.yaml') }).unusable, null, 'a later layer is right');
    t.end();
  });

  t.test('any environment gives a configuration, and a right one the same as ever', (t) => {
    const names = [...keys.keys()].map((key) => `SOUNDPOST_${key.replaceAll('.', '_').toUpperCase()}`);
    const word = fc.oneof(
      fc.constantFrom('1', '0.5', 'file', 'on', '[]', '{}', 'mqtts://a', 'debug', '90'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names, 'SOUNDPOST_X'), word), (env) => {
        const { config, problems, unusable } = anyway(env);
        const [first] = problems;
        try {
          const strict = loadConfig(sources(env));
          t.notOk(first, 'nothing is wrong');
          t.strictSame(config, strict.config);
          t.equal(unusable, null);
        } catch {
          t.ok(first, 'what the strict way refuses is told');
        }
      }),
      { numRuns: 150 },
    );
    t.end();
  });
  t.end();
});

t.test('the guard of the starts', (t) => {
  const minute = 60_000;
  const begun = (setup: string, boot: string | null = 'boot 1') => ({ setup, boot });
  /** Lives that end by a crash, one minute apart. */
  const crash = (record: StartRecord, at: number, start = begun('a')) =>
    startEnds(startBegins(record, at, start), at + 1000, false);

  t.test('three failures in a row, however they ended', (t) => {
    let record = crash(noStarts, 0);
    t.equal(delayBeforeEnd(record), 2000);
    // One that was killed told nobody.
    record = startBegins(record, minute, begun('a'));
    record = startBegins(record, 2 * minute, begun('a'));
    t.notOk(record.safe);
    record = startBegins(record, 3 * minute, begun('a'));
    t.ok(record.safe);
    const settled = startSettled(record);
    t.ok(
      startBegins(settled, 4 * minute, begun('a')).safe,
      'that it now works shows nothing about the model',
    );
    t.notOk(modelChosen(record).safe);
    t.notOk(startBegins(record, 4 * minute, begun('b')).safe, 'another configuration');
    t.end();
  });

  t.test("a kill in the middle of work is nobody's failure, a fault of the program is one", (t) => {
    let record = noStarts;
    for (let life = 0; life < 5; life += 1) record = startAtWork(startBegins(record, life, begun('a')));
    record = startBegins(record, 6, begun('a'));
    t.strictSame(record.failures, []);
    t.notOk(record.atWork, 'each life has to come to work by itself');
    for (let life = 0; life < 3; life += 1) {
      record = startEnds(startAtWork(startBegins(record, 10, begun('a'))), 11, false);
    }
    t.ok(record.safe, 'one that works for a moment and then ends by itself, again and again');
    t.end();
  });

  t.test('failures far apart have nothing to do with each other', (t) => {
    let record = noStarts;
    for (let life = 0; life < 6; life += 1) record = crash(record, life * 16 * minute);
    t.notOk(record.safe);
    t.equal(delayBeforeEnd(record), 2000, 'each is the first one');
    record = noStarts;
    for (let life = 0; life < 3; life += 1) record = crash(record, life * 14 * minute);
    t.ok(record.safe, 'a quarter of an hour is near enough');
    t.end();
  });

  t.test('a machine that was switched off cuts a start off, which is no failure', (t) => {
    let record = noStarts;
    for (const boot of ['boot 1', 'boot 2', 'boot 3', 'boot 4', 'boot 5']) {
      record = startBegins(record, minute, begun('a', boot));
      t.strictSame(record.failures, [], boot);
    }
    // A crash of its own counts whatever becomes of the machine afterwards.
    record = crash(record, 2 * minute, begun('a', 'boot 6'));
    record = crash(record, 3 * minute, begun('a', 'boot 7'));
    t.equal(record.failures.length, 2);
    record = startBegins(record, 4 * minute, begun('a', 'boot 8'));
    record = startBegins(record, 5 * minute, begun('a', 'boot 8'));
    t.ok(record.safe, 'a kill in the same life of the machine does count');
    t.ok(startBegins(noStarts, 0, begun('a', null)).failures.length === 0);
    const blind = startBegins(startBegins(noStarts, 0, begun('a', null)), 1, begun('a', null));
    t.equal(blind.failures.length, 1, 'where no boot is known every cut counts');
    t.end();
  });

  t.test('properties', (t) => {
    const step = fc.record({
      gap: fc.integer({ min: 0, max: 3 * 60 * minute }),
      fate: fc.constantFrom(
        'crash',
        'kill',
        'stop',
        'settle',
        'settle then crash',
        'settle then kill',
        'work then kill',
      ),
      setup: fc.constantFrom('a', 'a', 'a', 'b'),
      boot: fc.constantFrom('x', 'x', 'x', 'y', null),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let record = noStarts;
        let now = 0;
        let bad = 0;
        let setupBefore = '';
        for (const { gap, fate, setup, boot } of steps) {
          now += gap;
          if (setup !== setupBefore) bad = 0;
          setupBefore = setup;
          const wasSafe = record.safe && record.setup === setup;
          record = startBegins(record, now, begun(setup, boot));
          t.ok(!wasSafe || record.safe, 'only a person ends safe mode');
          t.ok(!record.safe || wasSafe || bad >= FAILURES, 'never without a row of failures');
          if (fate.startsWith('settle')) {
            record = startSettled(record);
            bad = 0;
          } else if (fate === 'work then kill') record = startAtWork(record);
          else if (fate !== 'stop') bad += 1;
          if (fate.endsWith('crash')) record = startEnds(record, now, false);
          if (fate === 'stop' || fate === 'settle') record = startEnds(record, now, true);
          const delay = delayBeforeEnd(record);
          t.ok(delay >= 0 && delay <= 5 * minute);
          t.ok(record.failures.length <= 10);
          t.strictSame(JSON.parse(JSON.stringify(record)), record, 'it can be written down');
        }
      }),
      { numRuns: 100 },
    );
    t.end();
  });

  t.test('on the disk', async (t) => {
    const dataDir = temporaryFolder(t);
    const procRoot = temporaryFolder(t);
    const bootFile = join(procRoot, 'sys', 'kernel', 'random', 'boot_id');
    mkdirSync(dirname(bootFile), { recursive: true });
    writeFileSync(bootFile, 'boot 1\n');
    const root = temporaryFolder(t);
    const main = join(root, 'dist', 'src', 'main.js');
    mkdirSync(dirname(main), { recursive: true });
    writeFileSync(main, '');
    const { config } = loadConfig(
      sources({ SOUNDPOST_DATA_DIR: dataDir, SOUNDPOST_TELEMETRY_PROC_ROOT: procRoot }),
    );
    const path = join(dataDir, 'run', 'starts.json');
    let now = 1_000_000;
    const open = (version = '1', given = config) =>
      openStartGuard({ config: given, root, version, log: silentLogger, now: () => (now += 1000) });
    for (let boot = 2; boot < 7; boot += 1) {
      t.equal((await open()).safeMode, null, 'the mains were cut');
      writeFileSync(bootFile, `boot ${boot}\n`);
    }
    for (let life = 0; life < 3; life += 1) t.equal((await open()).safeMode, null);
    const guard = await open();
    t.type(guard.safeMode, 'string', 'three were cut off');
    utimesSync(main, 1, 1);
    t.equal((await open()).safeMode, null, 'another build of the same version tries again');
    t.equal((await open('2')).safeMode, null, 'another version tries again');
    for (let life = 0; life < 3; life += 1) await (await open('2')).ended(false);
    t.type((await open('2')).safeMode, 'string');
    await (await open('2')).modelChosen();
    t.equal((await open('2')).safeMode, null);
    t.ok((await (await open('2')).ended(false)) > 0, 'a wait after a failure');
    t.equal(await (await open('2')).ended(true), 0, 'none after a stop');

    writeFileSync(path, '{"failures":[1,2');
    t.equal((await open()).safeMode, null, 'a broken record is none');
    const warned: string[] = [];
    const log = { ...silentLogger, warn: (_: unknown, text: string) => void warned.push(text) } as Logger;
    const blocked = { ...config, data_dir: path };
    const lame = await openStartGuard({ config: blocked, root, version: '1', log });
    t.equal(await lame.ended(false), 60_000, 'a wait that cannot grow is long at once');
    t.equal(await lame.ended(true), 0, 'none after a stop');
    t.match(warned, [/cannot be written.*60 s/], 'said once');
    t.equal(warned.length, 1);
  });
  t.end();
});

t.test("balena's update lock", (t) => {
  const make = (path: string, log: Logger = silentLogger) =>
    createUpdateLock({ path, log, waitMs: 200, pollMs: 10 });

  t.test('where it is', (t) => {
    t.equal(updateLockPath({}), '/tmp/balena/updates.lock');
    t.equal(updateLockPath({ BALENA_APP_LOCK_PATH: '' }), '/tmp/balena/updates.lock');
    t.equal(updateLockPath({ BALENA_APP_LOCK_PATH: '/x/y.lock' }), '/x/y.lock');
    t.end();
  });

  t.test('held during the work only, whatever comes of it', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'updates.lock');
    const lock = make(path);
    t.equal(await lock.during(() => Promise.resolve(existsSync(path))), true);
    t.strictSame(readdirSync(folder), []);
    await t.rejects(
      lock.during(() => Promise.reject(new Error('it went wrong'))),
      { message: 'it went wrong' },
    );
    t.strictSame(readdirSync(folder), [], 'released after an error');
    const both = [1, 2, 3].map((n) => lock.during(() => Promise.resolve(readdirSync(folder).length * n)));
    t.strictSame(await Promise.all(both), [1, 2, 3], 'one after the other');
    t.strictSame(readdirSync(folder), []);
    t.equal(process.listeners('exit').filter(({ name }) => name === 'removeNow').length, 0);
  });

  t.test('without the folder nothing is made', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'balena', 'updates.lock');
    t.equal(await make(path).during(() => Promise.resolve('done')), 'done');
    await make(path).removeLeftover();
    t.strictSame(readdirSync(folder), []);
  });

  t.test('held by somebody else', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'updates.lock');
    const foreign = ['0', '', '{"program":"other"}', 'x'.repeat(10_000)];
    for (const content of foreign) {
      writeFileSync(path, content);
      let ran = false;
      const work = () => Promise.resolve((ran = true));
      await t.rejects(make(path).during(work), { code: 'update_locked', message: /balena/ });
      const abort = new AbortController();
      const waiting = make(path).during(work, abort.signal);
      abort.abort();
      await t.rejects(waiting, { code: 'aborted' });
      t.notOk(ran);
      await make(path).removeLeftover();
      t.equal(readFileSync(path, 'utf8'), content, 'untouched');
      t.strictSame(readdirSync(folder), ['updates.lock']);
    }
    const patient = createUpdateLock({ path, log: silentLogger, waitMs: 10_000, pollMs: 5 });
    const waiting = patient.during(() => Promise.resolve('at last'));
    const { rm } = await import('node:fs/promises');
    await rm(path);
    t.equal(await waiting, 'at last');
    // Another living process of ours, as "soundpost models pull" beside the service.
    await make(path).during(async () => {
      await t.rejects(
        make(path).during(() => Promise.resolve()),
        { code: 'update_locked' },
      );
    });
  });

  t.test('left by a process that died', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'updates.lock');
    const lockModule = pathToFileURL(projectPath('dist', 'src', 'install', 'update-lock.js')).href;
    const hold = (end: string) => {
      const script = `
        const { createUpdateLock } = await import(${JSON.stringify(lockModule)});
        const log = { debug() {}, info() {}, warn() {}, error() {} };
        await createUpdateLock({ path: ${JSON.stringify(path)}, log }).during(async () => {
          ${end}
        });`;
      return spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    };
    const child = hold('console.log("held"); await new Promise((resolve) => setTimeout(resolve, 60_000));');
    await once(child.stdout, 'data');
    const content = readFileSync(path, 'utf8');
    t.match(JSON.parse(content), { program: 'soundpost', pid: child.pid });
    await make(path).removeLeftover();
    t.ok(existsSync(path), 'its owner lives');
    child.kill('SIGKILL');
    await once(child, 'close');
    t.ok(existsSync(path), 'nobody released it');
    const warned: string[] = [];
    const log = { ...silentLogger, warn: (_: unknown, text: string) => void warned.push(text) } as Logger;
    await make(path, log).removeLeftover();
    t.strictSame(readdirSync(folder), []);
    t.match(warned, [/left behind/]);

    writeFileSync(path, content);
    t.equal(await make(path).during(() => Promise.resolve('taken over')), 'taken over');
    // Another process has the id by now, as process ids in a container do.
    const mine = { ...(JSON.parse(content) as object), pid: process.pid };
    writeFileSync(path, JSON.stringify(mine));
    await make(path).removeLeftover();
    t.strictSame(readdirSync(folder), []);

    const leaving = hold('process.exit(3);');
    const [code] = (await once(leaving, 'close')) as [number];
    t.equal(code, 3);
    t.strictSame(readdirSync(folder), [], 'an end by force takes it along');
  });

  t.test('a lock that cannot be created is told, and stops nothing', async (t) => {
    const folder = temporaryFolder(t);
    const warned: string[] = [];
    const log = { ...silentLogger, warn: (_: unknown, text: string) => void warned.push(text) } as Logger;
    // No file system takes such a name, not even from root, whom rights do not hold back.
    const lock = make(join(folder, 'x'.repeat(256)), log);
    t.equal(await lock.during(() => Promise.resolve('done')), 'done');
    t.match(warned, [/cannot be taken \(ENAMETOOLONG.*Check that this user may write there/]);
    t.equal(warned.length, 1);
    t.strictSame(readdirSync(folder), []);
  });
  t.end();
});
