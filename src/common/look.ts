/*
 * How everything that is looked at looks: the page of a device, and the reports of `soundpost bench` and `soundpost
 * soak`. The build of the page writes `lookStyle()` into its style; a report carries it with it. Colours are nowhere
 * else: test/unit/look.test.ts holds them to the contrast of WCAG 2.2 AA.
 */

/** What is drawn in colour; the names are those of the custom properties. */
export interface Colours {
  /** Behind everything, and of cards. */
  back: string;
  card: string;
  text: string;
  /** Text that may be overlooked. */
  dim: string;
  /** Lines that part things, and the edges of what can be pressed or filled in. */
  line: string;
  edge: string;
  /** What is good, chosen or can be followed; what is written on it; and its faint ground. */
  accent: string;
  'on-accent': string;
  soft: string;
  /** What needs a look; what is written on it; and its faint ground. */
  warm: string;
  'on-warm': string;
  'warm-soft': string;
  /** Bars, points and areas of a plot. */
  dot: string;
  hill: string;
}

export const light: Colours = {
  back: '#fbfbfa',
  card: '#fff',
  text: '#1d2327',
  dim: '#566169',
  line: '#dde2e5',
  edge: '#84909a',
  accent: '#0b6e4f',
  'on-accent': '#fff',
  soft: '#e6f1ec',
  warm: '#b5390b',
  'on-warm': '#fff',
  'warm-soft': '#fdf0e8',
  dot: '#7f909b',
  hill: '#9fc9bb',
};

export const dark: Colours = {
  back: '#14181b',
  card: '#1c2226',
  text: '#e6eaec',
  dim: '#a3b0b7',
  line: '#343d43',
  edge: '#7b8a94',
  accent: '#4cc79b',
  'on-accent': '#08231a',
  soft: '#1d332c',
  warm: '#fb8b4b',
  'on-warm': '#14181b',
  'warm-soft': '#36261c',
  dot: '#71828d',
  hill: '#2f6b57',
};

/** Of the lines of a plot; told apart by people who do not see red or green, too (after Okabe and Ito's palette). */
export const lightLines = [
  '#0b6e4f',
  '#c85400',
  '#0072b2',
  '#a3487b',
  '#966600',
  '#5a4fcf',
  '#6b7278',
] as const;
export const darkLines = [
  '#4cc79b',
  '#fb8b4b',
  '#62b5ea',
  '#d98bb6',
  '#e6b04a',
  '#b0a8ff',
  '#a9b3b9',
] as const;

/** Only what every machine has: nothing is fetched. */
export const fontFamily = 'system-ui, sans-serif';

/** The bars of the sign, in a square of 32. */
export const signBars = 'M7 14v4M12 10v12M17 6v20M22 11v10M27 14v4';

/** The sign as a file of its own, which knows no theme. */
export function signSvg(): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="${light.accent}"/>` +
    `<path stroke="${light['on-accent']}" stroke-width="2.6" stroke-linecap="round" d="${signBars}"/></svg>`
  );
}

const measures = {
  font: fontFamily,
  /** How wide text and plots become at most. */
  width: '72rem',
  radius: '12px',
  'radius-small': '8px',
  gap: '1rem',
  'gap-small': '0.5rem',
};

function properties(values: object): string {
  return Object.entries(values)
    .map(([name, value]) => `--${name}:${value};`)
    .join('');
}

const numbered = (lines: readonly string[]): object =>
  Object.fromEntries(lines.map((colour, index) => [`line-${index}`, colour]));

/** What the page and the reports have in common. */
const BASE = `
*,*::before,*::after{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 var(--font);overflow-wrap:break-word}
main{max-width:var(--width);margin:0 auto;padding:var(--gap-small) var(--gap) 2rem}
h1{font-size:1.4rem;line-height:1.25;margin:.75rem 0}
h2{font-size:1.05rem;margin:0}
h3{font-size:.85rem;font-weight:600;color:var(--dim);margin:.75rem 0 .25rem}
p{margin:.4rem 0}
a{color:var(--accent);text-underline-offset:.2em}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
figure{margin:0}
pre{margin:.5rem 0;overflow-x:auto;font-size:.9rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.25rem 0}
dt{color:var(--dim)}
dd{margin:0;overflow-wrap:anywhere}
time{white-space:nowrap}
.dim{color:var(--dim)}
.figures{font-variant-numeric:tabular-nums}
.card{background:var(--card);border:1px solid var(--line);border-radius:var(--radius);padding:.9rem 1rem;margin:0 0 .9rem;min-width:0}
.top{background:var(--card);border-bottom:1px solid var(--line)}
.top-in{max-width:var(--width);margin:0 auto;padding:.35rem 1rem;display:flex;align-items:center;gap:.75rem;min-height:3.25rem}
.brand{display:flex;align-items:center;gap:.5rem;color:inherit;font-weight:650;text-decoration:none}
.logo{width:1.6rem;height:1.6rem}
.logo-back{fill:var(--accent)}
.logo-bars{stroke:var(--on-accent);stroke-width:2.6;stroke-linecap:round}
.legend{display:flex;flex-wrap:wrap;gap:0 1rem;color:var(--dim);font-size:.85rem}
.key{display:inline-block;width:1.2em;height:.25em;margin-right:.4em;vertical-align:middle;background:currentColor}
${lightLines.map((_, index) => `.colour-${index}{color:var(--line-${index})}`).join('')}
@media(max-width:48rem){main{padding:.25rem .75rem 1rem}}
`;

/** The tokens for both themes, and the base that all share, as CSS. */
export function lookStyle(): string {
  return (
    `:root{color-scheme:light dark;${properties({ ...measures, ...light, ...numbered(lightLines) })}}` +
    `@media(prefers-color-scheme:dark){:root{${properties({ ...dark, ...numbered(darkLines) })}}}${BASE}`
  );
}
