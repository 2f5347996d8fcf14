import { dirname, join } from 'node:path';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { projectPath } from '../support/shared.js';

/* What the documents say of the code's own places, held against the code. */

const read = (path: string): string => readFileSync(projectPath(path), 'utf8');

/** The rooms of src, in the order in which the linter lets them import. */
function roomsOfLinter(): string[] {
  const [, list = ''] = /const rooms = \[([^\]]*)\]/.exec(read('eslint.config.js')) ?? [];
  return [...list.matchAll(/'([^']+)'/g)].map(([, room]) => room!);
}

t.test('docs/architecture.md names every room of the linter in its order', (t) => {
  const rooms = roomsOfLinter();
  const folders = readdirSync(projectPath('src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  t.same([...rooms].sort(), folders.sort(), 'the linter has every folder of src');
  const rows = [...read('docs/architecture.md').matchAll(/^\| `src\/([\w-]+)`/gm)].map(([, room]) => room!);
  t.same(rows, rooms);
  t.end();
});

t.test('every file that the documents name is there', (t) => {
  const documents = readdirSync(projectPath('docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`)
    .concat('CONTRIBUTING.md', 'test/README.md');
  let count = 0;
  for (const document of documents) {
    // Commands name folders and files that a reader may choose; text between backticks names ours.
    const text = read(document).replace(/^ *```[^]*?^ *```$/gm, '');
    for (const [, path] of text.matchAll(/`((?:src|tools|test|config|deploy)\/[\w./-]*)`/g)) {
      t.ok(existsSync(projectPath(path!)), `${document}: ${path}`);
      count += 1;
    }
  }
  t.ok(count > 50, `${count} places were looked at`);
  t.end();
});

t.test('links lead to documents, and every document can be found', (t) => {
  const documents = readdirSync(projectPath('docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`)
    .concat('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'test/README.md');
  const linked = new Set<string>();
  for (const document of documents) {
    const text = read(document).replace(/^ *```[^]*?^ *```$/gm, '');
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = link!.split('#');
      const target = path === '' ? document : join(dirname(document), path);
      if (!t.ok(existsSync(projectPath(target)), `${document}: ${link}`)) continue;
      if (target !== document) linked.add(target);
      if (anchor === undefined || !target.endsWith('.md')) continue;
      t.ok(anchorsOf(read(target)).has(anchor), `${document}: ${link} is a heading there`);
    }
  }
  for (const document of documents) {
    if (document !== 'README.md') t.ok(linked.has(document), `something links to ${document}`);
  }
  t.end();
});

/** The headings of a document as links name them. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** The packages of Debian that `.ci/run` installs. */
function packagesOfCi(): string[] {
  const [, list = ''] = /^packages=\(([^)]*)\)/m.exec(read('.ci/run')) ?? [];
  return list.split(/\s+/);
}

/** Where the programs come from that have another name than their package. */
const packageOf: Readonly<Record<string, string>> = {
  mosquitto_passwd: 'mosquitto',
  apparmor_parser: 'apparmor',
  ip: 'iproute2',
};
/** In every Debian. */
const everywhere = ['prlimit', 'script', 'unshare'];

t.test('what the tests need from Debian is said alike, and installed where no test may be skipped', (t) => {
  const packages = packagesOfCi();
  t.ok(packages.length > 10, packages.join(' '));
  for (const document of ['README.md', 'CONTRIBUTING.md']) {
    const [, list = ''] = /sudo apt install ((?:mosquitto)[^`]*)`/.exec(read(document)) ?? [];
    t.same(list.replaceAll('\\', ' ').trim().split(/\s+/).sort(), [...packages].sort(), document);
  }
  const needed = new Set<string>();
  for (const name of readdirSync(projectPath('test'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const text = read(join('test', name));
    for (const [, list] of text.matchAll(/(?:skipWithout|skipWithoutMicrophone)\(([^)]*)\)/g)) {
      for (const [, program] of list!.matchAll(/'([\w-]+)'/g)) needed.add(program!);
    }
  }
  t.ok(needed.has('mosquitto') && needed.has('ffmpeg'), [...needed].join(' '));
  for (const program of needed) {
    const from = packageOf[program] ?? program;
    t.ok(everywhere.includes(program) || packages.includes(from), `${program} comes with ${from}`);
  }
  t.end();
});
