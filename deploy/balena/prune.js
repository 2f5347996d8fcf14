// Removes from a node_modules folder what the program does not need at run time on this machine: the binaries of
// other platforms, sources of what has been compiled, type declarations, source maps, tests. Licences stay.
//
//   node prune.js [--arch arm64] FOLDER
import { existsSync, lstatSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { arch: { type: 'string', default: process.arch } },
});
const [root] = positionals;
const arch = values.arch;
if (root === undefined || positionals.length !== 1 || !['x64', 'arm64'].includes(arch)) {
  console.error('Usage: node prune.js [--arch x64|arm64] FOLDER');
  process.exit(2);
}
if (!existsSync(join(root, '.package-lock.json'))) {
  console.error(`${root} is no node_modules folder written by npm (it has no .package-lock.json).`);
  process.exit(2);
}

/** Folders directly in a package that are there for its makers. */
const MAKERS_FOLDERS = /^(tests?|__tests__|docs?|examples?|benchmarks?|coverage|scratch|\.github|\.vscode)$/i;
/** Files that no program loads. `.node` and `.wasm` are not among them. */
const MAKERS_FILES =
  /(\.map|\.[cm]?ts|\.tsx|\.md|\.markdown|\.flow|\.tsbuildinfo|\.cc|\.cpp|\.c|\.h|\.hpp|\.gypi?|\.sln|\.vcxproj|\.o|\.a|\.d|\.mk)$|^(Makefile|\.eslintrc.*|\.prettierrc.*|\.npmignore|\.editorconfig|\.travis\.yml)$/i;
/** What lawyers want to see, whatever it is called. */
const LICENCE = /^(licen[cs]e|copying|notice|thirdparty)/i;

let removed = 0;

function sizeOf(path) {
  const found = lstatSync(path);
  if (!found.isDirectory()) return found.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

function remove(path) {
  if (!existsSync(path)) return;
  removed += sizeOf(path);
  rmSync(path, { recursive: true });
}

function foldersIn(path) {
  if (!existsSync(path)) return [];
  return readdirSync(path).filter((name) => statSync(join(path, name)).isDirectory());
}

/** Every package below a node_modules folder, as paths. */
function packagesIn(modules) {
  return foldersIn(modules)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) =>
      name.startsWith('@')
        ? foldersIn(join(modules, name)).map((inner) => join(modules, name, inner))
        : [join(modules, name)],
    )
    .flatMap((path) => [path, ...packagesIn(join(path, 'node_modules'))]);
}

/** `<package>/bin/napi-v6/<platform>/<arch>`. */
function pruneOnnxRuntime() {
  const bin = join(root, 'onnxruntime-node', 'bin');
  for (const version of foldersIn(bin)) {
    for (const platform of foldersIn(join(bin, version))) {
      for (const other of foldersIn(join(bin, version, platform))) {
        if (platform !== 'linux' || other !== arch) remove(join(bin, version, platform, other));
      }
    }
    if (!existsSync(join(bin, version, 'linux', arch, 'onnxruntime_binding.node'))) {
      console.error(`onnxruntime-node has no library for linux ${arch} in ${join(bin, version)}.`);
      process.exit(1);
    }
  }
}

/** `dist/libflac[.min|.dev][.wasm].*`: the same encoder in six forms, of which one is loaded; and how it is made. */
function pruneLibFlac() {
  const folder = join(root, 'libflacjs');
  for (const name of ['tools', 'lib', 'src', 'libflac_pre.js', 'libflac_post.js']) remove(join(folder, name));
  const dist = join(folder, 'dist');
  if (!existsSync(dist)) return;
  for (const name of readdirSync(dist))
    if (!/^libflac\.min\.wasm\.(js|wasm)$/.test(name)) remove(join(dist, name));
}

/** The convention of node-gyp-build: `prebuilds/<platform>-<arch>/<name>[.musl].node`. */
function prunePrebuilds(path) {
  const prebuilds = join(path, 'prebuilds');
  if (foldersIn(prebuilds).length === 0) return;
  const ours = `linux-${arch}`;
  if (!existsSync(join(prebuilds, ours))) return;
  for (const other of foldersIn(prebuilds)) if (other !== ours) remove(join(prebuilds, other));
  for (const file of readdirSync(join(prebuilds, ours))) {
    if (file.includes('.musl.')) remove(join(prebuilds, ours, file));
  }
  // Its sources, for those who have no binary.
  remove(join(path, 'deps'));
}

/** What node-gyp leaves: `build/Release` holds the results and much else. */
function pruneBuild(path) {
  const release = join(path, 'build', 'Release');
  if (!existsSync(release)) return;
  for (const name of readdirSync(release)) if (!/\.(node|so[.\d]*)$/.test(name)) remove(join(release, name));
  for (const name of readdirSync(join(path, 'build')))
    if (name !== 'Release') remove(join(path, 'build', name));
  // The shipped libraries; the one in use was copied to build/Release.
  remove(join(path, 'portaudio'));
}

function pruneFiles(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const found = lstatSync(path);
    if (found.isDirectory()) {
      if (name !== 'node_modules') pruneFiles(path);
    } else if (MAKERS_FILES.test(name) && !LICENCE.test(name)) {
      remove(path);
    }
  }
}

const before = sizeOf(root);
pruneOnnxRuntime();
pruneLibFlac();
remove(join(root, '@types'));
// Headers, needed only to compile.
remove(join(root, 'nan'));
remove(join(root, 'node-addon-api'));
remove(join(root, '.bin'));
for (const path of packagesIn(root)) {
  prunePrebuilds(path);
  pruneBuild(path);
  for (const name of foldersIn(path)) if (MAKERS_FOLDERS.test(name)) remove(join(path, name));
  pruneFiles(path);
}
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
console.log(
  `${root}: ${megabytes(before)}, without ${megabytes(removed)} now ${megabytes(before - removed)}`,
);
