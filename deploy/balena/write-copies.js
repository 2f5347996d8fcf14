// Keeps beside the Dockerfile what the balena CLI and the deploy button want in the root of the project: copies of
// docker-compose.yml and balena.yml, with paths that start here; and writes the program's version and the owner of
// the repository, as package.json has them, into balena.yml and the README.
// Part of "npm run docs". Nothing that is built or pushed needs the copies.
//
//   node deploy/balena/write-copies.js [--check]      --check: write nothing, exit 1 where something is out of date
import { posix } from 'node:path';
import { read, settle, version, withOwner } from '../copies.js';

const home = 'deploy/balena';
const compose = read('docker-compose.yml');
const contract = withOwner(read('balena.yml')).replace(/^version: .*$/m, `version: ${version}`);
const note = (name) =>
  `# A copy of ${name} in the root of the project, which is the one that counts: change that.\n`;
const withoutHeading = (text) => text.replace(/^(#.*\n)+/, '');

const wanted = {
  [`${home}/README.md`]: withOwner(read(`${home}/README.md`)),
  'balena.yml': contract,
  [`${home}/balena.yml`]: note('balena.yml') + withoutHeading(contract),
  // Contexts are relative to the file they stand in.
  [`${home}/docker-compose.yml`]:
    note('docker-compose.yml') +
    withoutHeading(compose).replace(
      /^((?:# )?\s*(?:#\s+)?context: )(\S+)$/gm,
      (_, key, path) => `${key}${posix.relative(home, path)}`,
    ),
};

settle(wanted);
