#!/usr/bin/env node
// What "npx soundpost" starts. It is in the repository, unlike the program that "npm ci" builds: npm remembers which
// programs a folder offers when it first meets them, and one that is not there yet would stay unknown.
// Written so that an old Node.js can read it, too.
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath, URL } from 'node:url';

const pathOf = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const folder = dirname(pathOf('package.json'));

/** Why the program cannot start, with what to do; null where nothing is known against it. */
function obstacle() {
  const { engines } = JSON.parse(readFileSync(pathOf('package.json'), 'utf8'));
  const least = /\d+/.exec(engines.node)[0];
  if (Number(process.versions.node.split('.')[0]) < Number(least)) {
    return `this is Node.js ${process.versions.node}, and Soundpost needs ${least} or later (https://nodejs.org/en/download).`;
  }
  if (!existsSync(pathOf('dist/src/main.js'))) {
    return existsSync(pathOf('node_modules/typescript'))
      ? `it is not built yet. Run "npm run build" in ${folder} first.`
      : `it is not built yet. Run "npm ci" in ${folder} first: it installs what Soundpost needs and builds it.`;
  }
  return null;
}

/** The dependency that could not be found, where an error says so. */
function missingPackage(error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') return null;
  const found = /Cannot find package '([^']+)'/.exec(error.message);
  return found === null ? null : found[1];
}

const problem = obstacle();
if (problem !== null) {
  console.error(`soundpost: ${problem}`);
  process.exitCode = 1;
} else {
  try {
    await import('../dist/src/main.js');
  } catch (error) {
    const name = missingPackage(error);
    if (name === null) throw error;
    // A clone has its lock file, an installed package does not.
    const remedy = existsSync(pathOf('package-lock.json'))
      ? `Run "npm ci" in ${folder} first.`
      : 'Install Soundpost again.';
    console.error(`soundpost: the package ${name} is not installed. ${remedy}`);
    process.exitCode = 1;
  }
}
