/** The page as it is built and shipped. */
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { builtPageFolder } from '../../src/web/page-folder.js';
import { projectPath } from '../support/shared.js';

const MOST_SCRIPT_BYTES = 150_000;
const MOST_STYLE_BYTES = 15_000;

const assets = readdirSync(join(builtPageFolder, 'assets'));
const read = (name: string): string => readFileSync(join(builtPageFolder, name), 'utf8');
const index = read('index.html');
const zipped = (extension: string): number =>
  assets
    .filter((name) => extname(name) === extension)
    .reduce((sum, name) => sum + gzipSync(read(join('assets', name))).length, 0);

t.test('it is small', (t) => {
  const [script, style] = [zipped('.js'), zipped('.css')];
  t.comment(`script: ${script} bytes gzipped, style: ${style}`);
  t.ok(script > 10_000 && script <= MOST_SCRIPT_BYTES, `${script} bytes of script, gzipped`);
  t.ok(style > 1000 && style <= MOST_STYLE_BYTES, `${style} bytes of style, gzipped`);
  t.end();
});

t.test('files that may be kept for ever have a hash in their name, and all of them are used', (t) => {
  t.same(readdirSync(builtPageFolder).sort(), ['assets', 'index.html', 'licences.txt']);
  for (const name of assets) {
    t.match(name, /^[a-z]+-[\dA-Za-z]{8}\.(js|css|svg)$/);
    t.ok(index.includes(`"assets/${name}"`), name);
  }
  t.end();
});

t.test('addresses are relative, and nothing is inline', (t) => {
  const addresses = [...index.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, address]) => address!);
  t.ok(addresses.length >= 3);
  for (const address of addresses) t.match(address, /^assets\//);
  t.notMatch(index, /<style|style=|<base|\son\w+=/);
  t.notMatch(index, /<script(?![^>]* src=)/);
  t.end();
});

t.test('no other host is named, and no code is made of text', (t) => {
  for (const name of ['index.html', ...assets.map((one) => join('assets', one))]) {
    const others = [...read(name).matchAll(/(?:https?:)?\/\/[a-z][\w.-]+\.[a-z]{2,}[^\s"'`]*/gi)]
      .map(([address]) => address)
      // Names of namespaces, which nobody asks for.
      .filter((address) => !address.startsWith('http://www.w3.org/'));
    t.same(others, [], name);
    t.notMatch(read(name), /\beval\(|new Function\(|dangerouslySetInnerHTML=|document\.write\(/, name);
  }
  t.end();
});

t.test('no part of the page takes text for markup', (t) => {
  const sources = readdirSync(projectPath('src', 'page'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => /\.tsx?$/.test(name),
  );
  t.ok(sources.length > 20);
  for (const name of sources) {
    t.notMatch(
      readFileSync(projectPath('src', 'page', name), 'utf8'),
      /innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|setAttribute\('style'/,
      name,
    );
  }
  t.end();
});

t.test('the licences of what is in the script come with it', (t) => {
  const licences = read('licences.txt');
  t.match(licences, /preact[^]*MIT[^]*uplot[^]*MIT/);
  t.end();
});
