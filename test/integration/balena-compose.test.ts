import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { t } from 'tap';
import { parse } from 'yaml';
import { uncommented } from '../support/balena-composition.js';
import { projectPath } from '../support/shared.js';

/** balena's own parser, 70 MB with what it depends on: installed where the tests are to be complete, not with npm ci. */
const PARSER = '@balena/compose/dist/parse';

const folder = process.env['SOUNDPOST_TEST_BALENA_COMPOSE'] ?? '';

function skipWithoutParser(): string | false {
  if (folder !== '' && existsSync(join(folder, PARSER))) return false;
  const reason =
    'SOUNDPOST_TEST_BALENA_COMPOSE does not name a node_modules folder with @balena/compose (npm install --ignore-scripts --prefix FOLDER @balena/compose@5.0.0)';
  if (process.env['SOUNDPOST_TEST_STRICT'] === '1') throw new Error(reason);
  return reason;
}

t.test("balena's own parser takes the composition", { skip: skipWithoutParser() }, (t) => {
  const { normalize } = createRequire(import.meta.url)(join(folder, PARSER)) as {
    normalize: (composition: unknown) => {
      services: Record<string, { labels?: object; volumes?: string[] }>;
    };
  };
  const composition = readFileSync(projectPath('docker-compose.yml'), 'utf8');

  t.match(normalize(parse(composition)), {
    version: '2.4',
    services: { soundpost: { privileged: true, volumes: ['soundpost-data:/data'], tmpfs: ['/tmp'] } },
  });
  t.match(normalize(parse(uncommented(composition, ['broker', 'broker-data', 'devices']))), {
    services: {
      soundpost: { devices: ['/dev/snd:/dev/snd'] },
      broker: { volumes: ['broker-data:/mosquitto'] },
    },
  });

  for (const [from, to] of [
    ['restart: always', 'resart: always'],
    ['soundpost-data:/data', '/srv/data:/data'],
    ['soundpost-data:/data', 'other:/data'],
    ["version: '2.4'", "version: '3.8'"],
  ] as const) {
    t.throws(() => normalize(parse(composition.replaceAll(from, to))), `refused: ${to}`);
  }
  t.end();
});
