import { lookStyle, signBars } from '../../common/look.js';
import { element, escapeHtml } from './svg.js';

/*
 * What the pages of reports have in common. Each is one file that needs nothing else: no font, script, style or
 * picture from elsewhere, and a policy in its head that would keep a browser from loading any.
 */

/** What only reports have; the rest is the look that they share with the page of a device. */
const STYLE = `${lookStyle()}
h2{margin:0 0 .5rem}
.bad{color:var(--warm);font-weight:600}.good{color:var(--accent)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem;white-space:nowrap;margin-bottom:1rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
table.first-wraps td:first-child,table.first-wraps th:first-child{white-space:normal;min-width:8rem}
th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid var(--accent)}
th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
tr.front td{color:var(--accent);font-weight:600}
pre{margin:0}
figure{margin:0 0 1.5rem}figcaption{font-weight:600;margin-bottom:.25rem}
svg.picture{display:block;width:100%;height:auto;font:12px var(--font)}
svg text{fill:var(--dim)}svg .name{fill:var(--text)}svg .axis{font-weight:600}
.grid{stroke:var(--line)}.dot{fill:var(--dot)}.front{fill:var(--accent)}
.dot:hover,.front:hover{stroke:var(--text);stroke-width:2}
.front-line{fill:none;stroke:var(--accent);stroke-width:1.5;stroke-dasharray:4 3}
.hill{fill:var(--hill)}.median{stroke:var(--accent);stroke-width:2}.tail{stroke:var(--warm);stroke-width:2}
.band{fill:var(--dot);fill-opacity:.08}.band.odd{fill-opacity:.2}.temperature{fill:none;stroke:var(--warm);stroke-width:2}
.line{fill:none;stroke:currentColor;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}
.mark{stroke:var(--text)}.limit{stroke:var(--warm);stroke-width:1.5;stroke-dasharray:6 4}
.reading{fill:transparent}.reading:hover{fill:var(--warm)}
.strip{fill:transparent}.strip:hover{fill:var(--dot);fill-opacity:.25}
.key.limits{background:none;border-top:2px dashed var(--warm);height:0}
@media print{body{background:none}.card{break-inside:avoid}}
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
<header class="top"><div class="top-in"><span class="brand"><svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" class="logo-back"></rect><path d="${signBars}" class="logo-bars"></path></svg> Soundpost</span></div></header>
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
  return element(
    'section',
    { class: 'card' },
    `${heading === null ? '' : `<h2>${escapeHtml(heading)}</h2>`}${content}`,
  );
}

/** Names and what belongs to them, as text. */
export function facts(pairs: readonly (readonly [name: string, value: string])[]): string {
  const list = pairs.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`);
  return `<dl>${list.join('')}</dl>`;
}
