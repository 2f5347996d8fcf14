/** What stands between a clone and the first command: the launcher, the lock file, the scripts that npm runs. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { t } from 'tap';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

interface Project {
  bin: { soundpost: string };
  files: string[];
  scripts: Record<string, string>;
  allowScripts: Record<string, boolean>;
}
interface Lock {
  packages: Record<string, { hasInstallScript?: boolean; bin?: object; optional?: boolean; dev?: boolean }>;
}
const read = (name: string): unknown => JSON.parse(readFileSync(projectPath(name), 'utf8'));
const project = read('package.json') as Project;
const lock = (read('package-lock.json') as Lock).packages;

/** A program in `folder`, run as npm runs it. */
function run(folder: string, script: string, env: Record<string, string> = {}, ...args: string[]) {
  return spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  });
}

function put(folder: string, path: string, text: string): string {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
  return join(folder, path);
}

t.test('the launcher is in the repository, and says what to do where nothing is built', (t) => {
  const { soundpost } = project.bin;
  t.equal(statSync(projectPath(soundpost)).mode & 0o111, 0o111, 'it can be started');
  t.match(readFileSync(projectPath(soundpost), 'utf8'), /^#!\/usr\/bin\/env node\n/);
  t.notMatch(readFileSync(projectPath('.gitignore'), 'utf8').split('\n'), [dirname(soundpost)]);
  t.same(lock['']?.bin, project.bin, 'npm ci would refuse another one');

  const clone = temporaryFolder(t);
  for (const name of ['package.json', 'package-lock.json', 'bin']) {
    cpSync(projectPath(name), join(clone, name), { recursive: true });
  }
  const launcher = join(clone, soundpost);
  t.match(run('/', launcher), { status: 1, stdout: '', stderr: `Run "npm ci" in ${clone} first` });
  put(clone, 'node_modules/typescript/package.json', '{}');
  t.match(run('/', launcher), { status: 1, stderr: `Run "npm run build" in ${clone} first` });

  const main = put(clone, 'dist/src/main.js', "import 'no-such-package';");
  t.match(run('/', launcher), { status: 1, stderr: /package no-such-package is not installed.*npm ci/ });
  writeFileSync(main, 'console.log(process.argv.slice(2).join(" ")); process.exitCode = 3;');
  t.match(run('/', launcher, {}, 'models', 'list'), { status: 3, stdout: 'models list\n', stderr: '' });
  put(clone, 'package.json', JSON.stringify({ type: 'module', engines: { node: '>=999' } }));
  t.match(run('/', launcher), { status: 1, stderr: /this is Node\.js .* needs 999 or later/ });
  t.end();
});

t.test('npm does not download CUDA in a clone, and compiles what the microphone needs', (t) => {
  t.not(
    lock['node_modules/onnxruntime-node']?.hasInstallScript,
    true,
    'take "hasInstallScript" out of its entry in package-lock.json: with it npm runs the script',
  );
  for (const name of ['naudiodon', 'segfault-handler']) {
    t.equal(lock[`node_modules/${name}`]?.hasInstallScript, true, name);
    t.equal(project.allowScripts[name], true, `${name} for npm 11`);
  }
  t.equal(project.allowScripts['onnxruntime-node'], false, 'npm 11, where a new version is installed');
  const known = new Set(['fund', 'audit']);
  const settings = readFileSync(projectPath('.npmrc'), 'utf8').split('\n').filter(Boolean);
  for (const line of settings) t.ok(known.has(line.split('=', 1)[0]!), `npm knows ${line}`);
  t.end();
});

t.test('installed as a package, it keeps the download of CUDA off', (t) => {
  const consumer = temporaryFolder(t);
  const ours = join(consumer, 'node_modules', 'soundpost');
  for (const name of ['package.json', 'bin'])
    cpSync(projectPath(name), join(ours, name), { recursive: true });
  t.ok(project.files.includes('bin'), 'they are in the package');
  t.equal(project.scripts['preinstall'], 'node bin/preinstall.js');

  // The real one's own files and script, without its libraries.
  const real = projectPath('node_modules', 'onnxruntime-node');
  const theirs = join(consumer, 'node_modules', 'onnxruntime-node');
  cpSync(join(real, 'package.json'), join(theirs, 'package.json'));
  cpSync(join(real, 'script'), join(theirs, 'script'), { recursive: true });
  const bin = join(theirs, 'bin/napi-v6/linux/x64');
  mkdirSync(bin, { recursive: true });
  put(consumer, 'node_modules/global-agent/index.js', 'exports.bootstrap = () => undefined;');
  put(consumer, 'node_modules/adm-zip/index.js', '');
  put(
    theirs,
    'script/install-utils.js',
    `${readFileSync(join(real, 'script/install-utils.js'), 'utf8')}
module.exports.installPackages = () => { console.log('DOWNLOADS'); };`,
  );
  const env = { npm_config_local_prefix: consumer };
  const theirScript = () => run(theirs, join(theirs, 'script/install.js'), env).stdout;
  const before = run(ours, join(ours, 'bin/preinstall.js'), { ...env, ONNXRUNTIME_NODE_INSTALL: 'cuda12' });
  t.match(before, { status: 0, stderr: '' });
  t.same(existsSync(join(bin, 'libonnxruntime_providers_cuda.so')), false, 'somebody wants CUDA');
  put(consumer, 'package.json', '{"dependencies":{"onnxruntime-node":"1"}}');
  run(ours, join(ours, 'bin/preinstall.js'), env);
  t.same(existsSync(join(bin, 'libonnxruntime_providers_cuda.so')), false, 'the project has it for itself');
  put(consumer, 'package.json', '{"dependencies":{"soundpost":"1"}}');
  if (process.platform === 'linux' && process.arch === 'x64') t.equal(theirScript(), 'DOWNLOADS\n');
  t.match(run(ours, join(ours, 'bin/preinstall.js'), env), { status: 0, stdout: '', stderr: '' });
  t.equal(theirScript(), '', 'nothing is left to be fetched');

  // Another version may be arranged in another way.
  put(theirs, 'script/install-metadata.js', 'throw new Error("gone");');
  t.match(run(ours, join(ours, 'bin/preinstall.js'), env), {
    status: 0,
    stderr: /could not be kept off.*gone/,
  });
  t.end();
});

t.test('"npm ci" builds where there is a compiler, and does not fail where there is none', (t) => {
  const clone = temporaryFolder(t);
  cpSync(projectPath('bin'), join(clone, 'bin'), { recursive: true });
  const built = join(clone, 'dist/src/main.js');
  put(clone, 'package.json', JSON.stringify({ type: 'module', scripts: { build: 'node build.js' } }));
  put(
    clone,
    'build.js',
    "import { mkdirSync, writeFileSync } from 'node:fs'; mkdirSync('dist/src', { recursive: true }); writeFileSync('dist/src/main.js', '');",
  );
  const prepare = (env: Record<string, string> = {}) => run(clone, 'bin/prepare.js', { ...env, HOME: clone });
  t.match(prepare(), { status: 0, stderr: /not built, because the development dependencies are left out/ });
  t.match(prepare(), { stderr: /naudiodon could not be compiled.*npx soundpost doctor/ });
  t.match(prepare({ npm_command: 'pack' }), { status: 1 }, 'no package without the program');
  mkdirSync(join(clone, 'node_modules/typescript'), { recursive: true });
  mkdirSync(join(clone, 'node_modules/naudiodon'), { recursive: true });
  t.match(prepare(), { status: 0, stderr: '' });
  t.ok(existsSync(built));
  put(clone, 'build.js', 'process.exit(2);');
  t.match(prepare(), { status: 2 }, 'a build that fails is no success');
  t.end();
});
