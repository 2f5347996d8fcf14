import { escapeHtml, scrolling } from '../page/svg.js';
import { renderPlot, type Plot, type PlotLine } from '../page/line-plot.js';
import { facts, formatHtml, section } from '../page/page.js';
import type { LatencySlice } from './latency-history.js';
import {
  askedText,
  closingLine,
  figure,
  headline,
  keptText,
  limitText,
  reportTables,
  type SoakReport,
} from './soak-report.js';
import type { SoakVerdict } from './verdict.js';

/** The report as one page that needs nothing else: no script, no network. */
export function soakHtml(report: SoakReport): string {
  const { settings, machine, verdicts, failure, faults, windows } = report;
  const about: [string, string][] = [
    ['program', `Soundpost ${report.version}, Node ${machine.node}`],
    ['machine', `${machine.cpu}, ${machine.cores} cores, ${machine.platform}`],
    ['when', `${report.startedAt} to ${report.endedAt}`],
    ['asked for', askedText(settings)],
    ['source, broker', `${settings.source}, ${settings.broker}`],
    ...(settings.swap === null
      ? []
      : [
          ['swaps', `every ${settings.swap.everySeconds} s of sound, to ${settings.swap.to} and back`] as [
            string,
            string,
          ],
        ]),
  ];
  const trouble = [
    ...(failure === null ? [] : [failure.reason, ...failure.lastWords]),
    ...faults.examples,
    ...windows.gaps.map(({ after, before }) => `windows between ${after} and ${before} are missing`),
    ...(report.swaps?.list ?? []).flatMap(({ to, error }) =>
      error === null ? [] : [`swap to ${to}: ${error}`],
    ),
  ];
  const latencyNote =
    settings.speed === 'max'
      ? 'At full speed one window is always at work and the next one waits for it: latency includes that wait, about the time of one more window. It shows drift; the latency of a device is that of a run in real time.'
      : 'Latency is from the arrival of the last sample of a window to the hand-over of its tags.';
  const figures = reportTables(report).slice(0, -1).map(htmlTable).join('');
  return formatHtml({
    title: 'Soundpost: long run',
    heading: `Long run: ${heading(report)}`,
    about: headline(report),
    sections: [
      section(
        null,
        `<p>${escapeHtml(closingLine(report))}</p>${scrolling('Limits', `<table class="first-wraps"><tr><th>what</th><th>measured</th><th>limit</th><th>verdict</th></tr>${verdicts.map(verdictRow).join('')}</table>`)}${facts(about)}`,
      ),
      ...(trouble.length === 0
        ? []
        : [section('What went wrong', `<pre>${escapeHtml(trouble.join('\n'))}</pre>`)]),
      section('Over time', plotsOf(report).map(renderPlot).join('\n')),
      section('In numbers', `${figures}<p class="dim">${latencyNote}</p>`),
    ],
  });
}

/** The verdict in a few words, as markup. Green is only what was measured and kept. */
function heading({ kept }: SoakReport): string {
  if (kept === null) return '<span class="dim">no limit missed, not all measured</span>';
  return kept ? '<span class="good">all limits kept</span>' : '<span class="bad">limits missed</span>';
}

function verdictRow(verdict: SoakVerdict): string {
  const { name, value, unit, kept } = verdict;
  const look = kept === null ? 'dim' : kept ? 'good' : 'bad';
  return `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(figure(value, unit))}</td><td>${escapeHtml(limitText(verdict))}</td><td class="${look}">${keptText(verdict)}</td></tr>`;
}

/** A table with its first row as the heading, in a part of the page that scrolls where it is too wide. */
function htmlTable([head = [], ...rows]: readonly (readonly string[])[]): string {
  // Tables for a terminal end with an empty column.
  const line = (row: readonly string[], cell: 'td' | 'th') =>
    `<tr>${row.map((text) => `<${cell}>${escapeHtml(text)}</${cell}>`).join('')}</tr>`;
  return scrolling(
    head.join(' '),
    `<table>${line(head, 'th')}${rows.map((row) => line(row, 'td')).join('')}</table>`,
  );
}

/** The latency of one model: a step for each stretch in which it answered, nothing where another one did. */
function latencyLine(
  slices: readonly LatencySlice[],
  model: string,
  key: 'p50' | 'p99',
  at: (seconds: number) => number,
): PlotLine['points'] {
  const points: (readonly [number, number | null])[] = [];
  let end: number | null = null;
  // Where another model began after the last slice of this one. Two models may share a slice's stretch of time: that
  // is no interruption of either.
  let otherFrom: number | null = null;
  for (const { model: answering, fromSeconds, toSeconds, figures } of slices) {
    if (answering !== model) {
      if (end !== null && fromSeconds > end) otherFrom = fromSeconds;
      continue;
    }
    if (end !== null && otherFrom !== null && fromSeconds > otherFrom) points.push([at(end), null]);
    otherFrom = null;
    points.push([at(fromSeconds), figures[key]], [at(toSeconds), figures[key]]);
    end = toSeconds;
  }
  return points;
}

function plotsOf(report: SoakReport): Plot[] {
  const { latency, processes, telemetry } = report.history;
  const [seconds, unit] =
    report.audioSeconds >= 2 * 3600
      ? [3600, 'hours']
      : report.audioSeconds >= 3 * 60
        ? [60, 'minutes']
        : [1, 'seconds'];
  const xLabel = `${unit} of sound`;
  const at = (audioSeconds: number) => audioSeconds / seconds;
  const marks = (report.swaps?.list ?? []).map(({ atSeconds }) => at(atSeconds));
  const models = [...new Set(latency.map(({ model }) => model))];
  const names = [...new Set(processes.flatMap(({ rssMb }) => Object.keys(rssMb)))];
  const of = <T extends { audioSeconds: number }>(
    name: string,
    samples: readonly T[],
    value: (sample: T) => number | null,
  ): PlotLine => ({
    name,
    points: samples.map((sample) => [at(sample.audioSeconds), value(sample)]),
  });
  return [
    {
      title: 'Latency of the windows',
      xLabel,
      yLabel: 'ms',
      marks,
      lines: models.flatMap((model) =>
        (['p50', 'p99'] as const).map((key) => ({
          name: `${model} ${key}`,
          points: latencyLine(latency, model, key, at),
        })),
      ),
    },
    {
      title: 'Parts of the latency (medians)',
      xLabel,
      yLabel: 'ms',
      marks,
      lines: [
        of('queue', telemetry, ({ queueMs }) => queueMs),
        of('features', telemetry, ({ featuresMs }) => featuresMs),
        of('inference', telemetry, ({ inferenceMs }) => inferenceMs),
        of('publish', telemetry, ({ publishMs }) => publishMs),
      ],
    },
    {
      title: 'Resident memory',
      xLabel,
      yLabel: 'MB',
      marks,
      lines: names.map((name) => of(name, processes, ({ rssMb }) => rssMb[name] ?? null)),
    },
    {
      title: 'Event-loop delay of the service',
      xLabel,
      yLabel: 'ms',
      limit: report.settings.limits.eventLoopMs,
      lines: [
        of('p99', telemetry, ({ loopP99Ms }) => loopP99Ms),
        of('longest', telemetry, ({ loopMaxMs }) => loopMaxMs),
      ],
    },
    {
      title: 'Windows dropped so far',
      xLabel,
      yLabel: 'windows',
      marks,
      lines: [of('dropped', telemetry, ({ dropped }) => dropped)],
    },
    {
      title: 'Inference rate',
      xLabel,
      yLabel: 'Hz',
      lines: [
        of('in force', telemetry, ({ effectiveHz }) => effectiveHz),
        of('asked for', telemetry, () => report.settings.rateHz),
      ],
    },
    {
      title: 'Temperature of the processor',
      from: 'values',
      xLabel,
      yLabel: '°C',
      lines: [of('hottest sensor', telemetry, ({ temperatureC }) => temperatureC)],
    },
    {
      title: 'CPU time of all processes of the service (100 is one core)',
      xLabel,
      yLabel: '%',
      lines: [of('CPU', processes, ({ cpuPercent }) => cpuPercent)],
    },
    {
      title: 'Load of the machine',
      xLabel,
      yLabel: '',
      lines: [of('one minute', telemetry, ({ load }) => load)],
    },
  ];
}
