import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { t } from 'tap';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { environmentName, keys } from '../../src/config/schema.js';
import { compositionProblems, uncommented } from '../support/balena-composition.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

const read = (...parts: string[]) => readFileSync(projectPath(...parts), 'utf8');
const balena = (...parts: string[]) => projectPath('deploy', 'balena', ...parts);
const composition = read('docker-compose.yml');

t.test('the copies beside the Dockerfile are what "npm run docs" would write', (t) => {
  const check = (root: string) =>
    spawnSync(process.execPath, [join(root, 'deploy/balena/write-copies.js'), '--check'], {
      encoding: 'utf8',
    });
  t.match(check(projectPath()), { status: 0, stderr: '' });

  const other = temporaryFolder(t);
  for (const name of ['package.json', 'docker-compose.yml', 'balena.yml', 'deploy']) {
    cpSync(projectPath(name), join(other, name), { recursive: true });
  }
  writeFileSync(
    join(other, 'docker-compose.yml'),
    composition.replace('read_only: true', 'read_only: false'),
  );
  writeFileSync(
    join(other, 'package.json'),
    read('package.json')
      .replace(/"version": "[^"]+"/, '"version": "9.8.7"')
      .replace(/github\.com\/[^/]+\//, 'github.com/somebody/'),
  );
  const stale = check(other);
  t.equal(stale.status, 1);
  for (const name of [
    'balena.yml',
    'deploy/balena/docker-compose.yml',
    'deploy/balena/balena.yml',
    'deploy/balena/README.md',
  ]) {
    t.match(stale.stderr, `${name} is out of date`);
  }
  execFileSync(process.execPath, [join(other, 'deploy/balena/write-copies.js')]);
  t.equal(check(other).status, 0);
  const written = (...path: string[]) => readFileSync(join(other, ...path), 'utf8');
  t.match(written('balena.yml'), /^version: 9\.8\.7$/m);
  for (const name of ['balena.yml', 'deploy/balena/balena.yml', 'deploy/balena/README.md']) {
    const owners = written(name).matchAll(/github(?:usercontent)?\.com\/([^/]+)\/soundpost/g);
    t.same(
      new Set([...owners].map(([, owner]) => owner)),
      new Set(['somebody']),
      `${name}: the owner of package.json`,
    );
  }
  t.match(written('docker-compose.yml'), /read_only: false/, 'what an operator has changed stays');
  t.match(parse(uncommented(written('deploy/balena/docker-compose.yml'), ['broker', 'broker-data'])), {
    services: {
      soundpost: { build: { context: '../..', dockerfile: 'deploy/balena/Dockerfile' }, read_only: false },
      broker: { build: { context: 'broker' } },
    },
  });
  t.end();
});

t.test('the composition is one that balena acts on', (t) => {
  t.same(compositionProblems(composition), []);
  t.match(parse(composition), {
    services: {
      soundpost: {
        build: { context: '.', dockerfile: 'deploy/balena/Dockerfile' },
        volumes: ['soundpost-data:/data'],
        ports: ['8099:8099'],
      },
    },
  });
  t.end();
});

t.test('so it is with the parts that an operator may switch on', (t) => {
  const withBroker = uncommented(composition, ['broker', 'broker-data', 'devices']);
  t.same(compositionProblems(withBroker), []);
  t.match(parse(withBroker), {
    volumes: { 'broker-data': null },
    services: {
      soundpost: { devices: ['/dev/snd:/dev/snd'] },
      broker: {
        build: { context: 'deploy/balena/broker' },
        ports: ['1883:1883'],
        volumes: ['broker-data:/mosquitto'],
      },
    },
  });
  t.end();
});

t.test('what balena does not support or would not act on is found', (t) => {
  const faults: [string, string, RegExp][] = [
    ["version: '2.4'", "version: '3.8'", /version 3\.8/],
    ['restart: always', 'container_name: soundpost', /container_name is not supported/],
    ['restart: always', 'env_file: settings.env', /env_file is not supported/],
    ['restart: always', 'init: true', /init is not supported/],
    ['soundpost-data:/data', '/srv/data:/data', /\/srv\/data is not one of the named volumes/],
    ['soundpost-data:/data', 'other:/data', /other is not one of the named volumes/],
    ['soundpost-data:/data', 'soundpost-data', /no absolute path/],
    ['context: .', 'context: ../..', /not below the root/],
    ['dockerfile: deploy/balena/Dockerfile', 'target: runtime', /build\.target is not supported/],
    ["SOUNDPOST_MODELS: ''", 'SOUNDPOST_MODELS: ${MODELS}', /not replaced/],
    ['download-then-kill', 'hand-over', /cannot be hand-over/],
    ['requires.arch.sw: aarch64', 'requires.arch.sw: arm64', /cannot be arm64/],
    [
      'io.balena.update.strategy',
      'io.balena.updates.strategy',
      /nothing acts on io\.balena\.updates\.strategy/,
    ],
    ['privileged: true', 'devices: ["dev/snd"]', /dev\/snd is not/],
    ['privileged: true', 'devices: ["/dev/snd:/dev/snd:x"]', /is not \/dev/],
    ['services:', 'servics:', /services/],
  ];
  for (const [from, to, expected] of faults) {
    t.ok(composition.includes(from), `the composition has ${from}`);
    t.match(compositionProblems(composition.replaceAll(from, to)).join('\n'), expected, to);
  }
  t.end();
});

t.test('balena.yml names this program, 64-bit boards and settings that exist', (t) => {
  const contract = parse(read('balena.yml')) as {
    version: string;
    data: { applicationEnvironmentVariables: Record<string, string>[]; supportedDeviceTypes: string[] };
  };
  const { version } = JSON.parse(read('package.json')) as { version: string };
  t.match(contract, { name: 'soundpost', type: 'sw.application', version, description: String });
  const { applicationEnvironmentVariables: variables, supportedDeviceTypes } = contract.data;
  t.same(supportedDeviceTypes.toSorted(), [
    'raspberrypi0-2w-64',
    'raspberrypi3-64',
    'raspberrypi4-64',
    'raspberrypi400-64',
    'raspberrypi5',
  ]);
  t.match(contract.data, { defaultDeviceType: 'raspberrypi4-64' });
  const names = new Set([...keys.keys()].map(environmentName));
  const env: Record<string, string> = {};
  for (const variable of variables) {
    for (const [name, value] of Object.entries(variable)) {
      t.ok(names.has(name), `${name} is a setting`);
      t.type(value, 'string');
      env[name] = value;
    }
  }
  const load = (more: Record<string, string> = {}) =>
    loadConfig({ env: { ...env, ...more }, root: projectPath(), hostname: 'pi' }).config;
  t.match(load(), { web: { host: '127.0.0.1', password: '' } }, 'nothing is open to the network at first');
  const opened = load({ SOUNDPOST_WEB_HOST: '0.0.0.0', SOUNDPOST_WEB_PASSWORD: 'let me in' });
  t.match(opened, { web: { host: '0.0.0.0', port: 8099, password: 'let me in' } });
  t.ok(
    ['SOUNDPOST_WEB_HOST', 'SOUNDPOST_WEB_PASSWORD'].every((name) => name in env),
    'the page is among them',
  );
  t.end();
});

t.test('the Dockerfiles', (t) => {
  const ignored = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  t.equal(ignored[0], '*', 'nothing is sent that is not named');
  const sent = ignored.slice(1).map((line) => line.replace(/^!/, ''));

  for (const [name, context] of [
    ['Dockerfile', projectPath()],
    ['broker/Dockerfile', balena('broker')],
  ] as const) {
    const text = readFileSync(balena(name), 'utf8').replace(/^#.*\n/gm, '');
    const instructions = text
      .replaceAll('\\\n', ' ')
      .split('\n')
      .filter((line) => line.trim() !== '');
    const stages = new Set<string>();
    for (const instruction of instructions) {
      const [word, ...rest] = instruction.split(/\s+/);
      if (word === 'FROM') {
        const [image = '', , stage] = rest;
        t.ok(
          stages.has(image) || image === 'node:22-bookworm-slim' || image === 'debian:bookworm-slim',
          `${name}: FROM ${image} is an official image or a stage`,
        );
        if (stage !== undefined) stages.add(stage);
      }
      if (word === 'COPY' && !instruction.includes('--from=')) {
        for (const source of rest.slice(0, -1)) {
          t.ok(existsSync(join(context, source)), `${name}: COPY ${source} is there`);
          if (context === projectPath()) {
            t.ok(
              sent.some((path) => source === path || source.startsWith(`${path}/`)),
              `${name}: ${source} is not left out by .dockerignore`,
            );
          }
        }
      }
      if (instruction.includes('apt-get install')) {
        t.match(instruction, /--no-install-recommends/, `${name}: only what is named`);
        t.match(instruction, /rm -rf \/var\/lib\/apt\/lists\/\*/, `${name}: no package lists stay`);
      }
      if (['ENTRYPOINT', 'CMD'].includes(word ?? ''))
        t.equal(rest[0]?.[0], '[', `${name}: ${word} without a shell`);
      t.notOk(word === 'ADD', `${name}: no ADD`);
    }
    const last = instructions.slice(instructions.findLastIndex((line) => /^FROM (node|debian)/.test(line)));
    t.notMatch(last.join('\n'), /g\+\+|python3|make\b/, `${name}: no compiler in what runs`);
  }
  t.end();
});

t.test('the scripts are valid shell', (t) => {
  const scripts: string[] = [];
  const collect = (folder: string) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) collect(join(folder, entry.name));
      else if (entry.name.endsWith('.sh')) scripts.push(join(folder, entry.name));
    }
  };
  collect(projectPath('deploy'));
  t.ok(scripts.length >= 4);
  for (const script of scripts) {
    const interpreter = readFileSync(script, 'utf8').startsWith('#!/bin/sh') ? 'sh' : 'bash';
    t.match(spawnSync(interpreter, ['-n', script], { encoding: 'utf8' }), { status: 0, stderr: '' }, script);
  }
  t.end();
});

t.test('the scripts that build images say what they lack, and do nothing', (t) => {
  // A path with nothing on it but what they begin with.
  const bin = temporaryFolder(t);
  for (const tool of ['bash', 'dirname', 'uname', 'id']) symlinkSync(join('/usr/bin', tool), join(bin, tool));
  for (const script of [balena('verify.sh'), projectPath('deploy/home-assistant/verify.sh')]) {
    const result = spawnSync('/bin/bash', [script], { encoding: 'utf8', env: { PATH: bin } });
    t.equal(result.status, 77, script);
    t.match(result.stderr, /^skipped: (this has to run as root|not installed: buildah podman)/);
    t.match(spawnSync('/bin/bash', [script, '--arch', 'mips'], { encoding: 'utf8' }), {
      status: 2,
      stderr: /amd64 or arm64/,
    });
  }
  t.end();
});

t.test('what is found of the app in its container is judged', (t) => {
  const file = join(temporaryFolder(t), 'found.json');
  const judge = (changes: object): string[] => {
    const found = {
      asked: [{ path: '/services/mqtt' }],
      info: { device: { id: 'home', name: 'Soundpost' } },
      audio: 'online',
      components: ['label_bark', 'label_doorbell', 'label_smoke_alarm', 'label_baby'],
      page: { status: 200, text: '<!doctype html>', type: 'text/html' },
      session: '{"data":{"password_required":false}}',
      stranger: 'ECONNRESET',
      health: 0,
      rights: { processes: ['node none tini', 'node none node'], write: 1 },
      exit: { code: 0, signal: null },
      stopMs: 1000,
      said: '',
    };
    writeFileSync(file, JSON.stringify({ ...found, ...changes }));
    const script = projectPath('deploy/home-assistant/verify/judge.js');
    return execFileSync(process.execPath, [script, file], { encoding: 'utf8' }).trim().split('\n');
  };
  const faultsOf = (changes: object) => judge(changes).filter((line) => !line.startsWith('ok '));
  t.same(faultsOf({}), []);
  for (const fault of [
    { asked: [] },
    { audio: 'offline' },
    { components: ['label_bark'] },
    { page: { status: 502, text: '', type: 'text/plain' } },
    { stranger: '200' },
    { health: 1 },
    { rights: { processes: ['root full node'], write: 1 } },
    { rights: { processes: [], write: 1 } },
    { rights: { processes: ['node none node'], write: 0 } },
    { exit: { code: 137, signal: null } },
  ]) {
    // With a line of what the app said.
    t.equal(faultsOf(fault).length, 2, JSON.stringify(fault));
  }
  t.end();
});

t.test('pruning keeps what this processor runs, and licences', (t) => {
  const root = join(temporaryFolder(t), 'node_modules');
  const kept = [
    '.package-lock.json',
    'onnxruntime-node/bin/napi-v6/linux/arm64/onnxruntime_binding.node',
    'onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1',
    'onnxruntime-node/dist/index.js',
    'classic-level/prebuilds/linux-arm64/classic-level.armv8.node',
    'classic-level/LICENSE',
    'naudiodon/build/Release/naudiodon.node',
    'naudiodon/build/Release/libportaudio.so.2',
    'naudiodon/index.js',
    '@scope/one/lib/docs/used.js',
    '@scope/one/node_modules/two/index.js',
    'two/LICENSE.md',
    'two/codec.wasm',
  ];
  const removed = [
    'onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1',
    'onnxruntime-node/bin/napi-v6/darwin/arm64/libonnxruntime.dylib',
    'onnxruntime-node/bin/napi-v6/win32/x64/onnxruntime.dll',
    'onnxruntime-node/dist/index.d.ts',
    'classic-level/prebuilds/linux-x64/classic-level.node',
    'classic-level/prebuilds/linux-arm64/classic-level.musl.node',
    'classic-level/deps/leveldb/leveldb.gyp',
    'classic-level/binding.cc',
    'naudiodon/build/Release/obj.target/naudiodon/src/naudiodon.o',
    'naudiodon/build/Makefile',
    'naudiodon/portaudio/bin/libportaudio.so.2',
    '@scope/one/docs/guide.js',
    '@scope/one/node_modules/two/test/index.js',
    '@types/node/index.d.ts',
    'two/index.js.map',
    'two/README.md',
    '.bin/two',
  ];
  for (const path of [...kept, ...removed]) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), path);
  }
  const prune = (...args: string[]) =>
    spawnSync(process.execPath, [balena('prune.js'), ...args], { encoding: 'utf8' });
  t.match(prune('--arch', 'arm64', root), { status: 0, stdout: /now .* MB/ });
  for (const path of kept) t.ok(existsSync(join(root, path)), `kept: ${path}`);
  for (const path of removed) t.notOk(existsSync(join(root, path)), `removed: ${path}`);

  t.match(prune('--arch', 'x64', root), { status: 1, stderr: /no library for linux x64/ });
  t.match(prune(temporaryFolder(t)), { status: 2, stderr: /no node_modules folder/ });
  t.match(prune('--arch', 'mips', root), { status: 2, stderr: /Usage/ });
  t.end();
});

t.test(
  'the compiler and what the page is built with are installed without linters and test tools, from the same lock file',
  (t) => {
    const folder = temporaryFolder(t);
    for (const name of ['package.json', 'package-lock.json']) cpSync(projectPath(name), join(folder, name));
    execFileSync(process.execPath, [balena('compiler-only.js')], { cwd: folder });
    interface Project {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    }
    interface Lock {
      packages: Record<string, { dev?: boolean }>;
    }
    const after = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as unknown;
    const before = JSON.parse(read('package.json')) as Project;
    const project = after('package.json') as Project;
    t.same(project.dependencies, before.dependencies);
    t.ok(project.devDependencies['typescript']);
    t.notOk(Object.keys(project.devDependencies).some((name) => /eslint|tap|prettier/.test(name)));

    const locked = (JSON.parse(read('package-lock.json')) as Lock).packages;
    const { packages } = after('package-lock.json') as Lock;
    // npm ci refuses a lock file whose root is not what package.json says.
    t.match(packages[''], { dependencies: project.dependencies, devDependencies: project.devDependencies });
    for (const [key, entry] of Object.entries(packages)) if (key !== '') t.same(entry, locked[key], key);
    const forProduction = Object.keys(locked).filter((key) => locked[key]?.dev !== true && key !== '');
    t.same(
      forProduction.filter((key) => !(key in packages)),
      [],
      'everything for production stays',
    );
    const extra = Object.keys(packages).filter((key) => key !== '' && !forProduction.includes(key));
    t.ok(
      extra.every((key) =>
        /^node_modules\/(typescript|@types\/|esbuild$|@esbuild\/|preact$|uplot$)/.test(key),
      ),
      `beside it: ${extra.join(', ')}`,
    );
    t.end();
  },
);

t.test('the composition for plain Docker has the same image, settings that exist, and no rights', (t) => {
  const plain = parse(read('deploy/compose/docker-compose.yml')) as {
    services: { soundpost: { environment: Record<string, string> } };
  };
  t.match(plain.services.soundpost, {
    build: { context: '../..', dockerfile: 'deploy/balena/Dockerfile' },
    user: 'node',
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
  });
  const names = new Set([...keys.keys()].map(environmentName));
  const { environment } = plain.services.soundpost;
  for (const name of Object.keys(environment)) t.ok(names.has(name), name);
  t.match(
    environment,
    { SOUNDPOST_DEVICE_ID: /^\$\{SOUNDPOST_DEVICE_ID:-[\w-]+\}$/ },
    'not the id of the container',
  );
  t.end();
});

t.test('the unit of systemd goes on as the container does', (t) => {
  const unit = read('deploy', 'systemd', 'soundpost.service');
  t.match(unit, /^ExecStart=.* run --keep-going$/m);
  const dockerfile = read('deploy', 'balena', 'Dockerfile');
  t.match(dockerfile, /^CMD \["soundpost", "run", "--keep-going"\]$/m);
  t.match(dockerfile, /^ENV .*\bSOUNDPOST_DATA_DIR=\/data\b/m, 'whatever file SOUNDPOST_CONFIG names');
  t.end();
});
