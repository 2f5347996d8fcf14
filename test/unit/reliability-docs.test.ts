import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import t from 'tap';
import { reliabilityDocument } from '../../tools/faults/document.js';
import { faultNames, groups, promises } from '../../tools/faults/promises.js';
import { projectPath } from '../support/shared.js';

/** The text as it stands in the project. */
async function formatted(text: string, ...place: string[]): Promise<[string, string]> {
  const filepath = projectPath(...place);
  const settled = await format(text, { ...(await resolveConfig(filepath)), filepath });
  return [settled, readFileSync(filepath, 'utf8')];
}

/** Licences that ask for nothing but their own text: what is to be added here is looked at first. */
const LICENCES = [
  'Apache-2.0',
  'MIT',
  'ISC',
  '0BSD',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '(MIT AND Zlib)',
  '(MIT OR CC0-1.0)',
];

const bill = (...options: string[]): string =>
  execFileSync(process.execPath, [projectPath('deploy', 'balena', 'sbom.js'), ...options], {
    cwd: projectPath(),
    encoding: 'utf8',
  });

t.test('docs/reliability.md is what the list of promises makes of it', async (t) => {
  const [wanted, found] = await formatted(reliabilityDocument(), 'docs', 'reliability.md');
  t.equal(found, wanted, 'npm run faults -- --document writes it');
  for (const group of Object.keys(groups)) {
    t.ok(
      faultNames.some((name) => promises[name].group === group),
      `${group} has faults`,
    );
  }
});

t.test('docs/licences.md is what package-lock.json says', async (t) => {
  const [wanted, found] = await formatted(bill('--licences'), 'docs', 'licences.md');
  t.equal(found, wanted, 'npm run licences writes it');
});

t.test('the bill of materials', (t) => {
  interface Part {
    name: string;
    purl: string;
    licenses?: { license?: { id?: string }; expression?: string }[];
  }
  const text = bill();
  const { bomFormat, metadata, components } = JSON.parse(text) as {
    bomFormat: string;
    metadata: { component: { name: string } };
    components: Part[];
  };
  t.equal(bomFormat, 'CycloneDX');
  t.equal(metadata.component.name, 'soundpost');
  t.equal(bill(), text, 'the same each time: a layer of an image does not change without a reason');
  const { dependencies } = JSON.parse(readFileSync(projectPath('package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(dependencies)) {
    t.ok(
      components.some((part) => part.purl.startsWith(`pkg:npm/${name.replace('@', '%40')}@`)),
      name,
    );
  }
  for (const { name, licenses = [] } of components) {
    for (const { license, expression } of licenses) {
      t.ok(LICENCES.includes(expression ?? license?.id ?? ''), `${name}: ${expression ?? license?.id}`);
    }
    t.not(licenses.length, 0, `${name} states its licence`);
  }
  t.end();
});
