import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { dark, light, lookStyle, signSvg } from '../../dist/src/common/look.js';

/*
 * The last step of `npm run build`: the page as files that a browser takes as they are, in dist/src/page-files. Names
 * have a hash of what is in them, so that they may be kept for ever; all addresses are relative. JavaScript, since the
 * image is built from src alone; the look is taken from what the compiler has made of it before.
 */

/** What Home Assistant's app and phones of the last five years have. */
const BROWSERS = ['chrome109', 'firefox115', 'safari16'];
/** Shipped with the page, so their licences are too. */
const LIBRARIES = ['preact', 'uplot'];

const source = import.meta.dirname;
const project = join(source, '..', '..');
const folder = join(project, 'dist', 'src', 'page-files');
const assets = join(folder, 'assets');

await rm(folder, { recursive: true, force: true });
await mkdir(assets, { recursive: true });

/** `@import 'look.css'` is the style that src/common/look.ts writes. */
const look = {
  name: 'look',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^look\.css$/ }, () => ({ path: 'look.css', namespace: 'look' }));
    onLoad({ filter: /.*/, namespace: 'look' }, () => ({ contents: lookStyle(), loader: 'css' }));
  },
};

const { metafile } = await build({
  // Names are hashed too, and must not depend on where the project lies.
  absWorkingDir: project,
  entryPoints: [join(source, 'main.tsx')],
  tsconfig: join(source, 'tsconfig.json'),
  outdir: assets,
  entryNames: '[name]-[hash]',
  bundle: true,
  minify: true,
  metafile: true,
  format: 'esm',
  target: BROWSERS,
  plugins: [look],
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
});
const built = Object.keys(metafile.outputs).map((file) => basename(file));

const icon = signSvg();
const iconName = `icon-${createHash('sha256').update(icon).digest('hex').slice(0, 8)}.svg`;
await writeFile(join(assets, iconName), icon);

let index = await readFile(join(source, 'index.html'), 'utf8');
for (const [name, colour] of [
  ['light', light.card],
  ['dark', dark.card],
]) {
  if (!index.includes(`content="${name}"`)) throw new Error(`the colour of the ${name} theme has no place`);
  index = index.replace(`content="${name}"`, `content="${colour}"`);
}
for (const [name, file] of [
  ['main.js', built.find((one) => one.endsWith('.js'))],
  ['main.css', built.find((one) => one.endsWith('.css'))],
  ['icon.svg', iconName],
]) {
  if (file === undefined || !index.includes(`assets/${name}`)) throw new Error(`assets/${name} is missing`);
  index = index.replace(`assets/${name}`, `assets/${file}`);
}
await writeFile(join(folder, 'index.html'), index);

const licences = await Promise.all(
  LIBRARIES.map(async (name) => {
    const text = await readFile(join(project, 'node_modules', name, 'LICENSE'), 'utf8');
    return `${name}\n\n${text.trim()}\n`;
  }),
);
await writeFile(
  join(folder, 'licences.txt'),
  `Libraries in the script of this page.\n\n${licences.join('\n\n')}`,
);
