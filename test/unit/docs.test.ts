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
