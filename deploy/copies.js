// What the programs share that write into files for deployment what is said elsewhere (write-copies.js in the folders here).
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** The text of a file of the project; of one that is not there yet, an empty one. */
export const read = (path) => {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return '';
    throw error;
  }
};

const { version, repository } = JSON.parse(read('package.json'));
const [, owner] = /github\.com\/([^/]+)\//.exec(repository.url);
export { owner, version };

/** The text with the owner of the repository in each of its addresses. */
export const withOwner = (text) =>
  text.replace(/((?:github|githubusercontent)\.com\/)[^/\s]+(\/soundpost\b)/g, `$1${owner}$2`);

/**
 * Writes the files that differ from what is wanted of them, by path; with --check in the command line none, and exit
 * code 1 where one would have been.
 */
export function settle(wanted) {
  const stale = Object.entries(wanted).filter(([path, text]) => read(path) !== text);
  if (process.argv.includes('--check')) {
    for (const [path] of stale) console.error(`${path} is out of date: run "npm run docs".`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    for (const [path, text] of stale) writeFileSync(join(root, path), text);
  }
}
