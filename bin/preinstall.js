// npm runs this where Soundpost is installed as a package ("npm install ./soundpost-0.1.0.tgz"), when all packages are
// unpacked and before the first of their install scripts ("preinstall" in package.json).
//
// The install script of onnxruntime-node downloads libraries for CUDA: 300 MB from a host of its own, and where that
// cannot be reached, the whole installation fails. Soundpost computes on the CPU, whose library is in the package.
// The script leaves alone what is there already, so empty files are put in the places of what it would fetch. Nobody
// loads them: ONNX Runtime opens these libraries when CUDA or TensorRT is asked for.
//
// In a clone nothing of this is done: package-lock.json does not announce that script, and npm runs only the install
// scripts that the lock file announces.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';

const require = createRequire(import.meta.url);
const { env } = process;

/** Whether this is the project that npm works for, and no package in the node_modules of another one. */
const isProject = env.npm_config_local_prefix === dirname(import.meta.dirname);

/** Whether somebody but Soundpost wants CUDA: by ONNX Runtime's own settings, or with the package in the project. */
function isWanted() {
  if (Object.keys(env).some((name) => /^(npm_config_)?onnxruntime_node_install/i.test(name))) return true;
  const project = join(env.npm_config_local_prefix ?? '.', 'package.json');
  if (!existsSync(project)) return false;
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(project, 'utf8'));
  return 'onnxruntime-node' in { ...dependencies, ...optionalDependencies };
}

function fillPlaces() {
  const folder = dirname(require.resolve('onnxruntime-node/package.json'));
  const { requirements, manifests } = require(join(folder, 'script', 'install-metadata.js'));
  const platform = `${process.platform}/${process.arch}`;
  for (const name of requirements[platform] ?? []) {
    for (const file of Object.keys(manifests[`${platform}:${name}`] ?? {})) {
      const place = resolve(folder, 'bin', 'napi-v6', platform, file);
      if (!existsSync(place)) writeFileSync(place, '');
    }
  }
}

try {
  if (!isProject && !isWanted()) fillPlaces();
} catch (error) {
  // Another version of it may be arranged differently: then it does what it does.
  console.error(`soundpost: the download of libraries for CUDA could not be kept off: ${String(error)}`);
}
