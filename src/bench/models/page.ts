import { latencyDistributions, mapAgainstLatency, temperatureOverTime } from './charts.js';
import type { ModelBenchReport } from './report.js';
import { element, escapeHtml } from './svg.js';
import { columnsOf, describeMachine, paretoRows, remarks } from './table.js';

/*
 * The report as one page that needs nothing else: no font, script, style or picture from elsewhere, and a policy in
 * its head that would keep a browser from loading any.
 */

const STYLE = `
:root{color-scheme:light dark;--back:#fbfbfa;--card:#fff;--text:#1d2327;--dim:#5d6870;--line:#dde2e5;--accent:#0b6e4f;--warm:#c2410c;--dot:#8798a3;--hill:#9fc9bb}
@media(prefers-color-scheme:dark){:root{--back:#14181b;--card:#1c2226;--text:#e6eaec;--dim:#9aa7af;--line:#343d43;--accent:#4cc79b;--warm:#fb8b4b;--dot:#71828d;--hill:#2f6b57}}
*{box-sizing:border-box}
body{margin:0;padding:1rem;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:auto}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.1rem;margin:0 0 .5rem}
p,dl{margin:.25rem 0}.dim{color:var(--dim)}.bad{color:var(--warm)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:1rem 0}
.scroll{overflow-x:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem;white-space:nowrap}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid var(--accent)}
th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
tr.front td{color:var(--accent);font-weight:600}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--dim)}svg .name{fill:var(--text)}svg .axis{font-weight:600}
.grid{stroke:var(--line)}.dot{fill:var(--dot)}.front{fill:var(--accent)}
.front-line{fill:none;stroke:var(--accent);stroke-width:1.5;stroke-dasharray:4 3}
.hill{fill:var(--hill)}.median{stroke:var(--accent);stroke-width:2}.tail{stroke:var(--warm);stroke-width:2}
.band{fill:var(--dot);fill-opacity:.08}.band.odd{fill-opacity:.2}.temperature{fill:none;stroke:var(--warm);stroke-width:2}
@media print{body{background:#fff}section{break-inside:avoid}}
`;

/** Sorts the table by the column whose heading is pressed; rows without a value come last. */
const SCRIPT = `
const table=document.querySelector('table');
for(const [column,head] of [...table.querySelectorAll('th')].entries()){
  head.querySelector('button').addEventListener('click',()=>{
    const up=head.getAttribute('aria-sort')!=='ascending';
    for(const other of table.querySelectorAll('th'))other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort',up?'ascending':'descending');
    const key=(row)=>row.cells[column].dataset.value;
    const rows=[...table.tBodies[0].rows].sort((a,b)=>{
      const [left,right]=[key(a),key(b)];
      if(left===undefined||right===undefined)return Number(left===undefined)-Number(right===undefined);
      const order=column===0?left.localeCompare(right,undefined,{numeric:true}):Number(left)-Number(right);
      return up?order:-order;
    });
    table.tBodies[0].append(...rows);
  });
}
`;

/** The report as a page of HTML. */
export function formatPage(report: ModelBenchReport): string {
  const { machine, rows } = report;
  const host = machine.board ?? machine.cpu;
  const sections = [
    plot('Accuracy against latency', mapAgainstLatency(report), [
      'Each point is a model. Filled green: the Pareto front, models that no other beats in both. To the upper left is better.',
    ]),
    element('section', {}, `<h2>All figures</h2><div class="scroll">${table(report)}</div>${meanings(report)}`),
    plot('Latency of clips', latencyDistributions(report), [
      'How long the clips of each model took; the height is the root of how many did. Green: p50, orange: p99.',
    ]),
    plot('Temperature', temperatureOverTime(report), ['Shaded: the models, in the order in which they were measured.']),
    failed(report),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Soundpost benchmark: ${escapeHtml(host)}, ${report.started_at.slice(0, 10)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Soundpost benchmark</h1>
<p class="dim">${escapeHtml(describeMachine(machine))}</p>
<section>
<dl>
<dt>when</dt><dd>${escapeHtml(report.started_at)} to ${escapeHtml(report.finished_at)}</dd>
<dt>kernel</dt><dd>${escapeHtml(machine.kernel)}</dd>
<dt>load before</dt><dd>${machine.load_before.toFixed(2)}</dd>
<dt>models</dt><dd>${rows.filter(({ result }) => result !== null).length}</dd>
</dl>
${remarks(report)
  .map((remark) => `<p>${escapeHtml(remark)}</p>`)
  .join('\n')}
</section>
${sections.join('\n')}
</main>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function plot(heading: string, svg: string | null, notes: readonly string[]): string {
  const text = svg === null ? ['Nothing to show: it was not measured, or is not known.'] : notes;
  return element(
    'section',
    {},
    `<h2>${escapeHtml(heading)}</h2>${svg === null ? '' : `<div class="scroll">${svg}</div>`}${text
      .map((note) => `<p class="dim">${escapeHtml(note)}</p>`)
      .join('')}`,
  );
}

function table(report: ModelBenchReport): string {
  const columns = columnsOf(report, true);
  const front = paretoRows(report.rows);
  const head = columns
    .map(({ heading, meaning }) =>
      element('th', { scope: 'col', title: meaning }, `<button>${escapeHtml(heading)}</button>`),
    )
    .join('');
  const body = report.rows
    .filter(({ result }) => result !== null)
    .map((row) => {
      const cells = columns.map((column) => {
        const value = column.value(row);
        return element('td', value === null ? {} : { 'data-value': String(value) }, escapeHtml(column.text(row)));
      });
      return element('tr', front.has(row) ? { class: 'front' } : {}, cells.join(''));
    });
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table>`;
}

function meanings(report: ModelBenchReport): string {
  const list = columnsOf(report, true).map(
    ({ heading, meaning }) => `<dt>${escapeHtml(heading)}</dt><dd>${escapeHtml(meaning)}</dd>`,
  );
  return `<details><summary>What the columns mean</summary><dl>${list.join('')}</dl></details>`;
}

function failed({ rows }: ModelBenchReport): string {
  const list = rows.flatMap(({ id, threads, error }) =>
    error === null
      ? []
      : [`<p><b>${escapeHtml(id)}</b> (threads: ${threads}): <span class="bad">${escapeHtml(error.message)}</span></p>`],
  );
  return list.length === 0 ? '' : element('section', {}, `<h2>Not measured</h2>${list.join('')}`);
}
