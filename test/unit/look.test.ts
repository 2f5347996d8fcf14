/** The look that the page and the reports share: contrast in both themes, and that it is said in one place. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { formatHtml } from '../../src/bench/page/page.js';
import {
  dark,
  darkLines,
  light,
  lightLines,
  lookStyle,
  signSvg,
  type Colours,
} from '../../src/common/look.js';
import { builtPageFolder } from '../../src/web/page-folder.js';
import { projectPath } from '../support/shared.js';

type Name = keyof Colours;

/** Relative luminance of WCAG 2.2, 0 to 1, of `#rgb` or `#rrggbb`. */
function luminance(colour: string): number {
  const digits = /^#(?:[\da-f]{3}){1,2}$/.exec(colour)?.[0].slice(1);
  if (digits === undefined) throw new Error(`${colour} is no colour of three or six digits`);
  const pairs =
    digits.length === 3 ? digits.match(/./g)!.map((digit) => digit + digit) : digits.match(/../g)!;
  const [red, green, blue] = pairs.map((pair) => {
    const value = parseInt(pair, 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

/** WCAG 2.2's ratio, 1 to 21. */
function contrast(one: string, other: string): number {
  const [bright, dim] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (bright! + 0.05) / (dim! + 0.05);
}

const grounds: readonly Name[] = ['back', 'card', 'soft', 'warm-soft'];
/** What is written on what: 4.5 to 1 (criterion 1.4.3). */
const written: readonly (readonly [Name, Name])[] = [
  ...(['text', 'dim', 'accent', 'warm'] as const).flatMap((ink) =>
    grounds.map((ground) => [ink, ground] as const),
  ),
  ['on-accent', 'accent'],
  ['on-warm', 'warm'],
  ['back', 'text'],
];
/** Edges of what can be pressed, and what a plot is read by: 3 to 1 (criterion 1.4.11). */
const drawn: readonly (readonly [Name, Name])[] = (['edge', 'dot', 'accent', 'warm'] as const).flatMap(
  (mark) => [[mark, 'card'] as const, [mark, 'back'] as const],
);

t.test('the measure of contrast is that of the standard', (t) => {
  t.equal(contrast('#000', '#ffffff'), 21);
  t.equal(contrast('#777', '#777777'), 1);
  t.equal(contrast('#767676', '#fff').toFixed(2), '4.54');
  t.throws(() => contrast('red', '#fff'));
  t.end();
});

for (const [theme, colours, lines] of [
  ['light', light, lightLines],
  ['dark', dark, darkLines],
] as const) {
  t.test(`${theme}: what is written and drawn can be told from its ground`, (t) => {
    for (const [ink, ground] of written) {
      const ratio = contrast(colours[ink], colours[ground]);
      t.ok(ratio >= 4.5, `${ink} on ${ground}: ${ratio.toFixed(2)}`);
    }
    for (const [mark, ground] of drawn) {
      const ratio = contrast(colours[mark], colours[ground]);
      t.ok(ratio >= 3, `${mark} on ${ground}: ${ratio.toFixed(2)}`);
    }
    for (const [index, colour] of lines.entries()) {
      const ratio = Math.min(contrast(colour, colours.card), contrast(colour, colours.back));
      t.ok(ratio >= 3, `line ${index}: ${ratio.toFixed(2)}`);
    }
    t.end();
  });
}

t.test('both themes have every token, and a colour for every line', (t) => {
  t.same(Object.keys(dark), Object.keys(light));
  t.equal(darkLines.length, lightLines.length);
  t.equal(new Set(lightLines).size, lightLines.length);
  t.equal(new Set(darkLines).size, darkLines.length);
  const style = lookStyle();
  for (const name of Object.keys(light)) t.equal(style.split(`--${name}:`).length - 1, 2, name);
  t.match(signSvg(), light.accent);
  t.end();
});

t.test('the page and the reports take the look from here, and have no colour of their own', (t) => {
  const assets = readdirSync(join(builtPageFolder, 'assets'));
  const built = readFileSync(
    join(
      builtPageFolder,
      'assets',
      assets.find((name) => name.endsWith('.css'))!,
    ),
    'utf8',
  );
  const report = formatHtml({ title: 'A report', heading: 'A report', about: '', sections: [] });
  t.match(report, lookStyle());
  for (const [name, value] of Object.entries({ ...light, ...dark })) {
    t.ok(built.includes(`--${name}:${value}`) || built.includes(`--${name}: ${value}`), `the page’s ${name}`);
  }
  const parts = [
    ...readdirSync(projectPath('src', 'page', 'style')).map((name) => join('page', 'style', name)),
    ...readdirSync(projectPath('src', 'bench', 'page')).map((name) => join('bench', 'page', name)),
  ];
  const own = /#[\da-f]{3,8}\b(?=[;'"`,}\s)])|\b(?:rgba?|hsla?|oklch)\((?!0 0 0)/i;
  for (const part of parts) t.notMatch(readFileSync(projectPath('src', part), 'utf8'), own, part);
  // The page has a few of its own beside them; a name that nobody gives a value would be drawn in no colour.
  for (const style of [built, report]) {
    const given = new Set([...style.matchAll(/--([\w-]+):/g)].map(([, name]) => name));
    for (const [, name] of style.matchAll(/var\(--([\w-]+)/g)) t.ok(given.has(name), `--${name} has a value`);
  }
  t.end();
});
