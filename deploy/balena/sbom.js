// The bill of materials as CycloneDX JSON: what is needed at run time, as npm knows it, and on request the
// packages of the system below it. The same parts give the same text, so that a layer of the image stays the same.
//
//   node sbom.js [--installed] [--debian] [--licences] [--from FILE]
//
//   --installed only what is in node_modules; by default all that package-lock.json names
//   --debian    with the packages that dpkg has installed
//   --licences  a table of packages and licences (Markdown) in place of it
//   --from      add to this bill, in place of asking npm
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    debian: { type: 'boolean', default: false },
    licences: { type: 'boolean', default: false },
    installed: { type: 'boolean', default: false },
    from: { type: 'string' },
  },
});

/** Built into the script of the page (src/page/build.js), so that they are shipped without being installed. */
const inThePage = ['node_modules/preact', 'node_modules/uplot'];

/** `name@version` of what is needed at run time, and with --installed is there. */
function neededAtRunTime() {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
  return new Set(
    Object.entries(packages)
      .filter(
        ([path, { dev }]) =>
          inThePage.includes(path) ||
          (path !== '' && dev !== true && (!values.installed || existsSync(path))),
      )
      .map(([path, { name, version }]) => `${name ?? path.replace(/^.*node_modules\//, '')}@${version}`),
  );
}

function ofNpm() {
  const text = execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
    encoding: 'utf8',
    maxBuffer: 64e6,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const bill = JSON.parse(text);
  const { name } = JSON.parse(readFileSync('package.json', 'utf8'));
  // Not --omit dev: npm 11.19 leaves out with it what a development dependency needs as well (yaml).
  const needed = neededAtRunTime();
  const own = bill.metadata.component['bom-ref'];
  bill.components = bill.components.filter((part) => needed.has(part['bom-ref']));
  bill.dependencies = bill.dependencies
    .filter(({ ref }) => ref === own || needed.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((part) => needed.has(part)) }));
  // npm takes the name of the folder, the time and a number of its own.
  bill.metadata.component.name = name;
  bill.metadata.component.type = 'application';
  delete bill.metadata.timestamp;
  delete bill.serialNumber;
  return bill;
}

function ofDebian() {
  const format = '${Package}\t${Version}\t${Architecture}\n';
  const [, id = 'debian'] = /^ID=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? [];
  return execFileSync('dpkg-query', ['-W', '-f', format], { encoding: 'utf8', maxBuffer: 64e6 })
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [name, version, architecture] = line.split('\t');
      const purl = `pkg:deb/${id}/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
      return { type: 'library', name, version, 'bom-ref': purl, purl };
    });
}

/** The licence of a component as its makers write it. */
function licenceOf({ licenses = [] }) {
  return (
    licenses.map(({ license, expression }) => expression ?? license?.id ?? license?.name).join(', ') ||
    'not stated'
  );
}

const bill = values.from === undefined ? ofNpm() : JSON.parse(readFileSync(values.from, 'utf8'));
if (values.debian) bill.components.push(...ofDebian());
if (values.licences) {
  const rows = bill.components.map((part) => `| ${part.name} | ${part.version} | ${licenceOf(part)} |`);
  console.log(`# Licences of what is installed

The packages that the program needs at run time, as package-lock.json names them. \`npm run sbom\` prints the whole bill of materials (CycloneDX), \`npm run licences\` writes this page. The image holds its own as /app/sbom.cdx.json, with Debian's packages; their licences are in /usr/share/doc. Models have licences of their own: see [models.md](models.md).

| package | version | licence |
| --- | --- | --- |
${rows.join('\n')}`);
} else {
  console.log(JSON.stringify(bill, null, 2));
}
