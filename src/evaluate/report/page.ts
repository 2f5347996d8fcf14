import { describeMachine } from '../../bench/models/table.js';
import { renderPlot } from '../../bench/page/line-plot.js';
import { facts, formatHtml, section } from '../../bench/page/page.js';
import { SORTING } from '../../bench/page/sorting.js';
import { element, escapeHtml } from '../../bench/page/svg.js';
import type { Psds } from '../metrics/psds.js';
import { cellText, describeList, labelColumns, modelColumns, remarks, type TableColumn } from './columns.js';
import { curvePlot, CURVE_COLOURS } from './curve-plot.js';
import type { EvaluationReport, ModelReport } from './report.js';

/** The report as one page of HTML that needs nothing else. */
export function formatPage(report: EvaluationReport): string {
  const done = report.models.filter(({ error }) => error === null);
  const about = facts([
    ['when', `${report.started_at} to ${report.finished_at}`],
    ['list', report.list.path],
    ['recordings', String(report.list.recordings)],
    ['machine', describeMachine(report.machine)],
    ['wanted precision', String(report.settings.precision)],
  ]);
  const notes = remarks(report).map(
    (remark) => `<p class="dim" style="white-space:pre-line">${escapeHtml(remark)}</p>`,
  );
  return formatHtml({
    title: `Soundpost evaluation: ${report.list.path}, ${report.started_at.slice(0, 10)}`,
    heading: 'Soundpost evaluation',
    about: describeList(report),
    sections: [
      section(null, about + notes.join('\n')),
      section('Models', tableOf(modelColumns(report), done)),
      curves(done),
      psdRoc(done),
      ...done.map((model) =>
        section(
          `Labels of ${model.id}`,
          tableOf(labelColumns(model, report.settings.precision), model.labels),
        ),
      ),
      failed(report),
    ],
    script: SORTING,
  });
}

function tableOf<Row>(columns: readonly TableColumn<Row>[], rows: readonly Row[]): string {
  const head = columns
    .map(({ heading, meaning }) =>
      element('th', { scope: 'col', title: meaning }, `<button>${escapeHtml(heading)}</button>`),
    )
    .join('');
  const body = rows.map((row) => {
    const cells = columns.map((column) => {
      const value = column.value(row);
      return element(
        'td',
        value === null ? {} : { 'data-value': String(value) },
        escapeHtml(cellText(column, row)),
      );
    });
    return element('tr', {}, cells.join(''));
  });
  const meanings = facts(columns.map(({ heading, meaning }) => [heading, meaning] as const));
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table></div><details><summary>What the columns mean</summary>${meanings}</details>`;
}

/** A small picture for each label, the models as lines in it. */
function curves(models: readonly ModelReport[]): string {
  const names = [...new Set(models.flatMap(({ labels }) => labels.map(({ name }) => name)))];
  const pictures = names.flatMap((name) => {
    const lines = models.flatMap(({ id, labels }, index) => {
      const label = labels.find((each) => each.name === name);
      return label === undefined || label.curve.length === 0 ? [] : [{ id, index, label }];
    });
    return lines.length === 0 ? [] : [curvePlot(name, lines)];
  });
  if (pictures.length === 0) return '';
  const legend = models.map(
    ({ id }, index) => `<span><i class="key-${index % CURVE_COLOURS}"></i>${escapeHtml(id)}</span>`,
  );
  return section(
    'Precision and recall',
    `<div class="legend">${legend.join('')}</div><div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1rem">${pictures.join('')}</div><p class="dim">To the right: how much of what is there is found (recall). Upwards: how much of what is said is right (precision). The dot is where the threshold that holds puts it.</p>`,
  );
}

/** How much is found against false alarms per hour. */
function psdRoc(models: readonly ModelReport[]): string {
  const withEvents = models.flatMap(({ id, events }) => (events === null ? [] : [{ id, events }]));
  if (withEvents.length === 0) return '';
  const plots = (['psds1', 'psds2'] as const).map((key, scenario) =>
    renderPlot({
      title: `Scenario ${scenario + 1}`,
      xLabel: 'effective false alarms per hour',
      yLabel: 'found',
      lines: withEvents.map(({ id, events }) => ({ name: id, points: steps(events[key].curve) })),
    }),
  );
  return section(
    'Events found against false alarms (PSD-ROC)',
    `${plots.join('')}<p class="dim">The area below a curve, up to 100 false alarms per hour, is PSDS; it is lower the more labels differ.</p>`,
  );
}

const MOST_FALSE_ALARMS = 100;

/** A stair: what is found stays the same up to the next point. */
function steps(curve: Psds['curve']): [number, number][] {
  const within = curve.filter(({ falseAlarmsPerHour }) => falseAlarmsPerHour <= MOST_FALSE_ALARMS);
  return within.flatMap(({ falseAlarmsPerHour: at, found }, index): [number, number][] => {
    const next = within[index + 1]?.falseAlarmsPerHour ?? MOST_FALSE_ALARMS;
    return [
      [at, found],
      [next, found],
    ];
  });
}

function failed({ models }: EvaluationReport): string {
  const list = models.flatMap(({ id, error }) =>
    error === null
      ? []
      : [`<p><b>${escapeHtml(id)}</b>: <span class="bad">${escapeHtml(error.message)}</span></p>`],
  );
  return list.length === 0 ? '' : section('Not evaluated', list.join(''));
}
