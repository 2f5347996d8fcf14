import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { t, type Test } from 'tap';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

/* The scripts of the container, run where there is none: programs that only note how they were called stand in. */

/** Folders of the container that the scripts name, and that are folders of the test instead. */
const PLACES = ['/data', '/tmp/balena', '/dev/.kernel', '/dev/snd', '/app', '/mosquitto'];

interface Run {
  status: number | null;
  stdout: string;
  stderr: string;
  /** Every call of a stand-in, in order: its name and its arguments. */
  calls: string[];
}

/**
 * A container of its own: `at` gives the place of a path of the container, `program` puts a stand-in on the path,
 * which notes its call and then does what `body` says, `script` installs a script of ours, `run` runs a command.
 */
function container(t: Test) {
  const root = realpathSync(temporaryFolder(t));
  const bin = join(root, 'bin');
  const log = join(root, 'calls');
  mkdirSync(bin);
  const at = (path: string) => join(root, path);
  for (const tool of ['sh', 'cut', 'tr', 'mkdir', 'rm', 'rmdir', 'ln', 'mv', 'mktemp', 'find']) {
    const found = ['/bin', '/usr/bin'].map((folder) => join(folder, tool)).find((path) => existsSync(path));
    if (found !== undefined) symlinkSync(found, join(bin, tool));
  }
  const program = (name: string, body = '') => {
    const text = `#!/bin/sh\nprintf '%s\\n' "${name}\${*:+ $*}" >>'${log}'\n${body}\n`;
    writeFileSync(join(bin, name), text, { mode: 0o755 });
  };
  const script = (name: string, source: string) => {
    let text = readFileSync(projectPath('deploy', 'balena', source), 'utf8');
    for (const place of PLACES) text = text.replaceAll(new RegExp(`(?<![\\w/])${place}\\b`, 'g'), at(place));
    writeFileSync(join(bin, name), text, { mode: 0o755 });
  };
  const run = (command: string[], env: Record<string, string> = {}): Run => {
    writeFileSync(log, '');
    const [name = '', ...rest] = command;
    const ran = spawnSync(join(bin, name), rest, {
      encoding: 'utf8',
      env: { PATH: bin, TMPDIR: root, ...env },
    });
    const calls = readFileSync(log, 'utf8').replaceAll(root, '').split('\n').slice(0, -1);
    return { status: ran.status, stdout: ran.stdout, stderr: ran.stderr.replaceAll(root, ''), calls };
  };
  return { root, at, program, script, run };
}

/** Somebody who may be root; "node" has the id `nodeId`, and `audio` the number 29. */
function whoAmI(uid: number, nodeId: number): string {
  return `case "$*" in "-u node"|"-g node") echo ${nodeId} ;; -u) echo ${uid} ;; *) exit 9 ;; esac`;
}

/** The container's start with all of its scripts. */
function started(t: Test, options: { uid: number; nodeId?: number; mount?: string; chown?: string }) {
  const box = container(t);
  box.script('soundpost-entrypoint', 'entrypoint.sh');
  box.script('as-node', 'as-node.sh');
  box.script('soundpost', 'soundpost.sh');
  box.program('id', whoAmI(options.uid, options.nodeId ?? 4242));
  box.program('getent', 'echo audio:x:29:');
  box.program('stat', 'echo 995');
  box.program('mount', options.mount ?? 'exit 1');
  box.program('chown', options.chown);
  box.program('chmod');
  box.program('setpriv', 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"');
  box.program('tini', 'shift; exec "$@"');
  box.program('node', 'echo "$HOME $USER"');
  return box;
}

const rights = (groups: string) =>
  `setpriv --reuid=4242 --regid=4242 --groups=${groups} --no-new-privs --inh-caps=-all --bounding-set=-all`;
const without = (run: Run) => run.calls.filter((call) => !/^(id|getent|stat) /.test(call));

t.test('the entry point as root', (t) => {
  const box = started(t, { uid: 0 });
  mkdirSync(box.at('/data/models/one'), { recursive: true });
  writeFileSync(box.at('/data/models/one/model.json'), '');
  symlinkSync('/etc/passwd', box.at('/data/link'));
  mkdirSync(box.at('/tmp/balena'), { recursive: true });
  mkdirSync(box.at('/dev/snd'), { recursive: true });
  symlinkSync('/dev/null', box.at('/dev/snd/timer'));
  writeFileSync(box.at('/dev/snd/no-device'), '');
  const run = box.run(['soundpost-entrypoint', 'soundpost', 'run', '--name', 'two words']);
  t.match(run, { status: 0, stderr: '', stdout: '/home/node node\n' });
  const [chown = '', ...rest] = without(run);
  t.strictSame(
    chown.split(' ').toSorted(),
    [
      'chown',
      '-h',
      'node:',
      '/data',
      '/data/link',
      '/data/models',
      '/data/models/one',
      '/data/models/one/model.json',
    ].toSorted(),
    'everything below /data, and no link is followed',
  );
  t.strictSame(rest, [
    'chmod 1777 /tmp/balena',
    'mount -t devtmpfs -o nosuid,noexec none /dev/.kernel',
    `${rights('29,995')} tini -- soundpost run --name two words`,
    'tini -- soundpost run --name two words',
    // By then it is somebody else; the stand-in for "id" does not know that.
    `${rights('29,995')} node /app/dist/src/main.js run --name two words`,
    'node /app/dist/src/main.js run --name two words',
  ]);
  t.notOk(existsSync(box.at('/dev/.kernel')), 'nothing is left of what did not work');
  t.ok(existsSync(box.at('/dev/snd/timer')));
  t.end();
});

t.test('the entry point where everything has its owner already, and without the folders', (t) => {
  const box = started(t, { uid: 0, nodeId: process.getuid?.() ?? 0 });
  mkdirSync(box.at('/data/run'), { recursive: true });
  t.notOk(without(box.run(['soundpost-entrypoint', 'true'])).some((call) => call.startsWith('chown')));
  const bare = started(t, { uid: 0 });
  const run = bare.run(['soundpost-entrypoint', 'soundpost', 'run']);
  t.match(run, { status: 0, stderr: '' });
  t.notOk(without(run).some((call) => /^(chown|chmod)/.test(call)));
  t.ok(run.calls.includes(`${rights('29')} tini -- soundpost run`));
  t.end();
});

t.test('the entry point in a privileged container shows the devices of the kernel', (t) => {
  const box = started(t, { uid: 0, mount: 'for last; do :; done; mkdir "$last/snd"' });
  mkdirSync(box.at('/dev/snd'), { recursive: true });
  writeFileSync(box.at('/dev/snd/old'), '');
  t.equal(box.run(['soundpost-entrypoint', 'soundpost', 'run']).status, 0);
  t.strictSame(readdirSync(box.at('/dev/snd')), [], 'those that were there at the start are gone');
  t.equal(realpathSync(box.at('/dev/snd')), box.at('/dev/.kernel/snd'));
  t.equal(box.run(['soundpost-entrypoint', 'soundpost', 'run']).status, 0, 'and again after a restart');
  t.end();
});

t.test('the entry point goes on where it cannot prepare', (t) => {
  const box = started(t, { uid: 0, chown: 'exit 1' });
  mkdirSync(box.at('/data'));
  const run = box.run(['soundpost-entrypoint', 'soundpost', 'run']);
  t.match(run, { status: 0, stderr: /not everything in \/data can be given to node/ });
  t.ok(run.calls.at(-1)?.startsWith('node '));
  t.end();
});

t.test('started as somebody else, nothing is prepared and no right is asked for', (t) => {
  const box = started(t, { uid: 1000 });
  mkdirSync(box.at('/data'));
  mkdirSync(box.at('/tmp/balena'), { recursive: true });
  const run = box.run(['soundpost-entrypoint', 'soundpost', 'run'], { HOME: '/h', USER: 'u' });
  t.match(run, { status: 0, stderr: '', stdout: '/h u\n' });
  t.strictSame(without(run), ['tini -- soundpost run', 'node /app/dist/src/main.js run']);
  t.end();
});

t.test('"soundpost" called by root, as by the health check and in the terminal, goes on as node', (t) => {
  const box = started(t, { uid: 0 });
  const run = box.run(['soundpost', 'models', 'pull', 'mn04_as']);
  t.match(run, { status: 0, stderr: '', stdout: '/home/node node\n' });
  t.strictSame(without(run), [
    `${rights('29')} node /app/dist/src/main.js models pull mn04_as`,
    'node /app/dist/src/main.js models pull mn04_as',
  ]);
  box.program('node', 'exit 3');
  t.equal(box.run(['soundpost', 'health']).status, 3, 'its exit code is the answer');
  const plain = started(t, { uid: 1000 });
  t.strictSame(without(plain.run(['soundpost', 'health'])), ['node /app/dist/src/main.js health']);
  t.end();
});

t.test('pull-models.sh', (t) => {
  const digest = 'a'.repeat(64);
  const make = (body: string) => {
    const box = container(t);
    box.script('pull-models', 'pull-models.sh');
    box.program('node', body);
    return box;
  };
  const pulls = 'mkdir -p "$6/models/$4" && echo "${SOUNDPOST_MODELS-unset}" >"$6/models/$4/model.json"';
  const cases: [string, string[]][] = [
    ['', []],
    [' , ', []],
    ['mn04_as', ['mn04_as']],
    ['mn04_as mn10_as', ['mn04_as', 'mn10_as']],
    ['mn04_as,cnn10, mn10_as\tmn05_as', ['cnn10', 'mn04_as', 'mn05_as', 'mn10_as']],
    [`mn10_as@${digest},mn04_as`, ['mn04_as', 'mn10_as']],
  ];
  for (const [wanted, expected] of cases) {
    const box = make(pulls);
    const target = box.at('/seed');
    const run = box.run(['pull-models', target], { SOUNDPOST_MODELS: wanted });
    t.match(run, { status: 0, stderr: '' }, wanted);
    t.strictSame(readdirSync(target).toSorted(), expected, wanted);
    t.equal(run.calls.length, expected.length);
    for (const call of run.calls) {
      t.match(
        call,
        /^node \/app\/dist\/src\/main\.js models pull \w+ --data-dir \/\S+( --accept-digest a+)?$/,
      );
      t.equal(call.includes(digest), call.includes('mn10_as') && wanted.includes('@'), call);
    }
    for (const id of expected) {
      t.equal(readFileSync(join(target, id, 'model.json'), 'utf8'), 'unset\n', 'it is no setting');
    }
    t.strictSame(
      readdirSync(box.root).filter((name) => name.startsWith('tmp')),
      [],
      'the work folder is gone',
    );
  }
  const unset = make(pulls);
  t.match(unset.run(['pull-models', unset.at('/seed')]), { status: 0, calls: [] });

  const broken = make('exit 1');
  const run = broken.run(['pull-models', broken.at('/seed')], { SOUNDPOST_MODELS: 'mn04_as mn10_as' });
  t.equal(run.status, 1, 'the build stops');
  t.equal(run.calls.length, 1);
  t.strictSame(readdirSync(broken.at('/seed')), []);
  t.end();
});

t.test('the optional broker', (t) => {
  const make = (uid: number) => {
    const box = container(t);
    box.script('start-broker', 'broker/start.sh');
    box.program('id', `echo ${uid}`);
    for (const name of ['mosquitto_passwd', 'chown', 'sleep']) box.program(name);
    box.program('setpriv', 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"');
    box.program('mosquitto', 'echo "${SOUNDPOST_MQTT_PASSWORD-unset}"; umask');
    return box;
  };
  const user = { SOUNDPOST_MQTT_USERNAME: 'ears', SOUNDPOST_MQTT_PASSWORD: 'a secret $x' };
  const mosquitto = 'mosquitto -c /etc/mosquitto/mosquitto.conf';
  const password = 'mosquitto_passwd -b -c /tmp/passwords ears a secret $x';

  const asRoot = make(0).run(['start-broker'], user);
  t.match(asRoot, { status: 0, stdout: /^unset\n0?077\n$/ }, 'mosquitto does not see the password');
  t.strictSame(asRoot.calls, [
    password,
    'id -u',
    'chown mosquitto: /tmp/passwords',
    'chown -R mosquitto: /mosquitto',
    `setpriv --reuid=mosquitto --regid=mosquitto --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all ${mosquitto}`,
    mosquitto,
  ]);
  t.strictSame(make(1000).run(['start-broker'], user).calls, [password, 'id -u', mosquitto]);
  for (const missing of [
    {},
    { SOUNDPOST_MQTT_USERNAME: 'ears' },
    { SOUNDPOST_MQTT_USERNAME: '', SOUNDPOST_MQTT_PASSWORD: 'x' },
  ]) {
    const run = make(0).run(['start-broker'], missing);
    t.match(run, { status: 0, stderr: /set SOUNDPOST_MQTT_USERNAME and SOUNDPOST_MQTT_PASSWORD/ });
    t.strictSame(run.calls, ['sleep infinity'], 'it waits, open to nobody');
  }
  t.end();
});

t.test('what was not compared does not pass for the same', (t) => {
  const folder = mkdtempSync(join(temporaryFolder(t), 'tags-'));
  const report = (name: string, label: string, score: number) => {
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify({ windows: [{ tags: [{ label, score }] }] }));
    return path;
  };
  const compare = (image: string, here: string) => {
    const script = projectPath('deploy', 'balena', 'verify', 'compare-tags.js');
    return spawnSync(process.execPath, [script, image, here], { encoding: 'utf8' });
  };
  const image = report('image', 'Speech', 0.5);
  const nothing = join(folder, 'nothing');
  t.match(compare(image, report('same', 'Speech', 0.5)), { status: 0, stdout: /1 windows, 0 with another/ });
  t.equal(compare(image, report('score', 'Speech', 0.6)).status, 1);
  t.equal(compare(image, report('label', 'Music', 0.5)).status, 1);
  t.match(compare(nothing, image), { status: 1, stdout: /nothing was tagged/ });
  t.match(compare(image, nothing), { status: 3, stdout: /not compared/ });
  writeFileSync(nothing, '');
  t.equal(compare(image, nothing).status, 3);
  t.end();
});
