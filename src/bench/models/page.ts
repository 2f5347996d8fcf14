import { latencyDistributions, mapAgainstLatency, temperatureOverTime } from './charts.js';
import type { ModelBenchReport } from './model-bench-report.js';
import { facts, formatHtml, section } from '../page/page.js';
import { SORTING } from '../page/sorting.js';
import { element, escapeHtml, scrolling } from '../page/svg.js';
import { columnsOf, describeMachine, paretoRows, remarks } from './table.js';

/** The report as one page of HTML that needs nothing else. */
export function formatPage(report: ModelBenchReport): string {
  const { machine, rows } = report;
  const host = machine.board ?? machine.cpu;
  const sections = [
    plot('Accuracy against latency', mapAgainstLatency(report), [
      'Each point is a model. Filled green: the Pareto front, models that no other beats in both. To the upper left is better. A point that has no room for its name tells it when the pointer rests on it.',
    ]),
    section('All figures', scrolling('All figures', table(report)) + meanings(report)),
    plot('Latency of clips', latencyDistributions(report), [
      'How long the clips of each model took; the height is the root of how many did. Green: p50, orange: p99.',
    ]),
    plot('Temperature', temperatureOverTime(report), [
      'Shaded: the models, in the order in which they were measured.',
    ]),
    failed(report),
  ];
  const about = facts([
    ['when', `${report.started_at} to ${report.finished_at}`],
    ['kernel', machine.kernel],
    ['load before', machine.load_before.toFixed(2)],
    ['models', String(rows.filter(({ result }) => result !== null).length)],
  ]);
  const notes = remarks(report).map((remark) => `<p>${escapeHtml(remark)}</p>`);
  return formatHtml({
    title: `Soundpost benchmark: ${host}, ${report.started_at.slice(0, 10)}`,
    heading: 'Soundpost benchmark',
    about: describeMachine(machine),
    sections: [section(null, about + notes.join('\n')), ...sections],
    script: SORTING,
  });
}

function plot(heading: string, svg: string | null, notes: readonly string[]): string {
  const text = svg === null ? ['Nothing to show: it was not measured, or is not known.'] : notes;
  const picture = svg === null ? '' : scrolling(heading, svg);
  return section(heading, picture + text.map((note) => `<p class="dim">${escapeHtml(note)}</p>`).join(''));
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
        return element(
          'td',
          value === null ? {} : { 'data-value': String(value) },
          escapeHtml(column.text(row)),
        );
      });
      return element('tr', front.has(row) ? { class: 'front' } : {}, cells.join(''));
    });
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table>`;
}

function meanings(report: ModelBenchReport): string {
  const list = columnsOf(report, true).map(({ heading, meaning }) => [heading, meaning] as const);
  return `<details><summary>What the columns mean</summary>${facts(list)}</details>`;
}

function failed({ rows }: ModelBenchReport): string {
  const list = rows.flatMap(({ id, threads, error }) =>
    error === null
      ? []
      : [
          `<p><b>${escapeHtml(id)}</b> (threads: ${threads}): <span class="bad">${escapeHtml(error.message)}</span></p>`,
        ],
  );
  return list.length === 0 ? '' : section('Not measured', list.join(''));
}
