// Takes out of package.json and package-lock.json in the working directory every development dependency but the
// compiler, the types it needs and what the page is built with, and what only those others needed, so that building the image does not install
// linters and test tools. What stays keeps its locked version and digest, and "npm ci" installs it as strictly as
// ever.
import { readFileSync, writeFileSync } from 'node:fs';

const isNeeded = (name) =>
  ['typescript', 'esbuild', 'preact', 'uplot'].includes(name) || name.startsWith('@types/');

const project = JSON.parse(readFileSync('package.json', 'utf8'));
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const { packages } = lock;
for (const root of [project, packages['']]) {
  root.devDependencies = Object.fromEntries(
    Object.entries(root.devDependencies).filter(([name]) => isNeeded(name)),
  );
}

/** The key in the lock file that a package finds another one at, as Node.js looks for it, or undefined. */
function resolved(from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const key = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
    if (key in packages) return key;
    if (folder === '') return undefined;
  }
}

const kept = new Set(['']);
for (const from of kept) {
  const { dependencies, optionalDependencies, peerDependencies, devDependencies } = packages[from];
  const wanted = {
    ...dependencies,
    ...optionalDependencies,
    ...peerDependencies,
    ...(from === '' ? devDependencies : {}),
  };
  for (const name of Object.keys(wanted)) {
    const key = resolved(from, name);
    // A set is walked in the order of insertion, also through what is added meanwhile.
    if (key !== undefined) kept.add(key);
  }
}
lock.packages = Object.fromEntries(Object.entries(packages).filter(([key]) => kept.has(key)));

writeFileSync('package.json', JSON.stringify(project, null, 2));
writeFileSync('package-lock.json', JSON.stringify(lock, null, 2));
