// Writes into the app what is said elsewhere: the program's version and the owner of the repository, as package.json
// has them, and the labels of the bundled model, which the form lets people choose from. Part of "npm run docs".
//
//   node deploy/home-assistant/write-copies.js [--check]   --check: write nothing, exit 1 where something is out of date
import { owner, read, settle, version, withOwner } from '../copies.js';

const home = 'deploy/home-assistant';
const labels = JSON.parse(read('models/soundpost-home/labels.json')).map(({ name }) => name);

const wanted = {
  'repository.yaml': withOwner(read('repository.yaml')).replace(/^maintainer: .*$/m, `maintainer: ${owner}`),
  [`${home}/soundpost/config.yaml`]: withOwner(read(`${home}/soundpost/config.yaml`))
    .replace(/^version: .*$/m, `version: '${version}'`)
    .replace(/^( {4}- )list\(.*\)$/m, `$1list(${labels.sort().join('|')})`),
  // Names of images are in lower case.
  [`${home}/soundpost/Dockerfile`]: read(`${home}/soundpost/Dockerfile`).replace(
    /^(ARG SOUNDPOST_IMAGE=).*$/m,
    `$1ghcr.io/${owner.toLowerCase()}/soundpost:${version}`,
  ),
  ...Object.fromEntries(
    [
      `${home}/soundpost/CHANGELOG.md`,
      `${home}/soundpost/DOCS.md`,
      `${home}/soundpost/README.md`,
      'docs/home-assistant.md',
    ]
      .concat(
        ['sound_starts', 'smoke_alarm', 'baby_cries'].map(
          (name) => `${home}/blueprints/automation/soundpost/${name}.yaml`,
        ),
      )
      .map((path) => [path, withOwner(read(path))]),
  ),
};

settle(wanted);
