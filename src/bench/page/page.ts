import { element, escapeHtml } from './svg.js';

/*
 * What the pages of reports have in common. Each is one file that needs nothing else: no font, script, style or
 * picture from elsewhere, and a policy in its head that would keep a browser from loading any.
 */

const LIGHT =
  '--back:#fbfbfa;--card:#fff;--text:#1d2327;--dim:#5d6870;--line:#dde2e5;--accent:#0b6e4f;--warm:#c2410c;--dot:#8798a3;--hill:#9fc9bb';
const DARK =
  '--back:#14181b;--card:#1c2226;--text:#e6eaec;--dim:#9aa7af;--line:#343d43;--accent:#4cc79b;--warm:#fb8b4b;--dot:#71828d;--hill:#2f6b57';
/** Told apart by people who do not see red or green, too (Okabe and Ito's palette). */
const LINES = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7f7f7f'];

const STYLE = `
:root{color-scheme:light dark;${LIGHT}}
@media(prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0;padding:1rem;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:auto}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.1rem;margin:0 0 .5rem}
p,dl{margin:.25rem 0}.dim{color:var(--dim)}.bad{color:var(--warm);font-weight:600}.good{color:var(--accent)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:1rem 0}
.scroll{overflow-x:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem;white-space:nowrap;margin-bottom:1rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
table.first-wraps td:first-child,table.first-wraps th:first-child{white-space:normal;min-width:8rem}
th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid var(--accent)}
th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
tr.front td{color:var(--accent);font-weight:600}
pre{margin:0;overflow-x:auto;font-size:.85rem}
figure{margin:0 0 1.5rem}figcaption{font-weight:600;margin-bottom:.25rem}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--dim)}svg .name{fill:var(--text)}svg .axis{font-weight:600}
.grid{stroke:var(--line)}.dot{fill:var(--dot)}.front{fill:var(--accent)}
.dot:hover,.front:hover{stroke:var(--text);stroke-width:2}
.front-line{fill:none;stroke:var(--accent);stroke-width:1.5;stroke-dasharray:4 3}
.hill{fill:var(--hill)}.median{stroke:var(--accent);stroke-width:2}.tail{stroke:var(--warm);stroke-width:2}
.band{fill:var(--dot);fill-opacity:.08}.band.odd{fill-opacity:.2}.temperature{fill:none;stroke:var(--warm);stroke-width:2}
.line{fill:none;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}
.mark{stroke:var(--text)}.limit{stroke:var(--warm);stroke-width:1.5;stroke-dasharray:6 4}
.reading{fill:transparent}.reading:hover{fill:var(--warm)}
.strip{fill:transparent}.strip:hover{fill:var(--dot);fill-opacity:.25}
.legend{color:var(--dim);font-size:.85rem}.legend span{display:inline-block;margin-right:1.2em}
.legend i{display:inline-block;width:1.4em;height:.25em;margin-right:.4em;vertical-align:middle}
.key-limit{border-top:2px dashed var(--warm);height:0!important}
${LINES.map((colour, index) => `.line-${index}{stroke:${colour}}.key-${index}{background:${colour}}`).join('')}
@media print{body{background:#fff}section{break-inside:avoid}}
`;

/**
 * A whole page.
 * @param options.heading markup
 * @param options.about one line of text below the heading
 * @param options.sections markup
 * @param options.script JavaScript that the page may do without
 */
export function formatHtml(options: {
  title: string;
  heading: string;
  about: string;
  sections: readonly string[];
  script?: string;
}): string {
  const { title, heading, about, sections, script } = options;
  const scripts = script === undefined ? '' : "; script-src 'unsafe-inline'";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'${scripts}">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${heading}</h1>
<p class="dim">${escapeHtml(about)}</p>
${sections.join('\n')}
</main>
${script === undefined ? '' : `<script>${script}</script>\n`}</body>
</html>
`;
}

/** A part of a page; the content is markup. */
export function section(heading: string | null, content: string): string {
  return element('section', {}, `${heading === null ? '' : `<h2>${escapeHtml(heading)}</h2>`}${content}`);
}

/** Names and what belongs to them, as text. */
export function facts(pairs: readonly (readonly [name: string, value: string])[]): string {
  const list = pairs.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`);
  return `<dl>${list.join('')}</dl>`;
}
