import { escapeHtml } from '../models/svg.js';
import { renderPlot, type Plot, type PlotLine } from './plot.js';
import { duration, figure, headline, keptText, limitText, reportTables, type SoakReport } from './report.js';

const STYLE = `
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}.missed{color:#b00020;font-weight:bold}.kept{color:#00703c}
figure{margin:1.5em 0}figcaption{font-weight:bold}svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}
.grid{stroke:#ddd;fill:none}.mark{stroke:#555}.limit{stroke:#b00020;stroke-dasharray:6 4;fill:none}
.line{fill:none;stroke-width:1.5;stroke-linejoin:round}.legend span{margin-right:1.2em}
.legend i{display:inline-block;width:1.2em;height:.25em;margin-right:.4em;vertical-align:middle}
pre{background:#f6f6f6;padding:.8em;overflow:auto}`;

/** The report as one page that needs nothing else: no script, no network. */
export function soakHtml(report: SoakReport): string {
  const { settings, machine, verdicts, failure, faults, windows } = report;
  const rows = verdicts.map(
    (verdict) =>
      `<tr><td>${escapeHtml(verdict.name)}</td><td>${escapeHtml(figure(verdict.value, verdict.unit))}</td><td>${escapeHtml(limitText(verdict))}</td><td class="${verdict.kept === false ? 'missed' : 'kept'}">${keptText(verdict)}</td></tr>`,
  );
  const facts = [
    ['Program', `Soundpost ${report.version}, Node ${machine.node}`],
    ['Machine', `${machine.cpu}, ${machine.cores} cores, ${machine.platform}`],
    ['Begun, ended', `${report.startedAt}, ${report.endedAt}`],
    [
      'Asked for',
      `${duration(settings.hours * 3600)} of sound, speed ${settings.speed}, ${settings.rateHz} Hz`,
    ],
    ['Source, broker', `${settings.source}, ${settings.broker}`],
    ...(settings.swap === null
      ? []
      : [['Swaps', `every ${settings.swap.everySeconds} s of sound, to ${settings.swap.to} and back`]]),
  ];
  const tables = reportTables(report).slice(0, -1).map(htmlTable);
  const trouble = [
    ...(failure === null ? [] : [failure.reason, ...failure.lastWords]),
    ...faults.examples,
    ...windows.gaps.map(({ after, before }) => `windows between ${after} and ${before} are missing`),
    ...(report.swaps?.list ?? []).flatMap(({ to, error }) =>
      error === null ? [] : [`swap to ${to}: ${error}`],
    ),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Soundpost: long run</title><style>${STYLE}</style></head><body>
<h1>Long run: <span class="${report.kept ? 'kept' : 'missed'}">${report.kept ? 'all limits kept' : 'limits missed'}</span></h1>
<p>${escapeHtml(headline(report))}</p>
<table><tr><th>Limit</th><th>Measured</th><th>Limit</th><th></th></tr>${rows.join('')}</table>
${htmlTable(facts)}
${trouble.length === 0 ? '' : `<h2>What went wrong</h2><pre>${escapeHtml(trouble.join('\n'))}</pre>`}
<h2>Over time</h2>
${plotsOf(report).map(renderPlot).join('\n')}
<h2>In numbers</h2>
${tables.join('\n')}
<p>${settings.speed === 'max' ? 'At full speed one window is always at work and the next one waits for it: latency includes that wait, about the time of one more window. It shows drift; the latency of a device is that of a run in real time.' : 'Latency is from the arrival of the last sample of a window to the hand-over of its tags.'}</p>
</body></html>
`;
}

function htmlTable(rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[]) => row.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('');
  return `<table>${rows.map((row) => `<tr>${cells(row)}</tr>`).join('')}</table>`;
}

function plotsOf(report: SoakReport): Plot[] {
  const { latency, processes, telemetry } = report.history;
  // Minutes where the run is short.
  const unit =
    report.audioSeconds >= 2 * 3600 ? { seconds: 3600, name: 'hours' } : { seconds: 60, name: 'minutes' };
  const xLabel = `${unit.name} of sound`;
  const at = (seconds: number) => seconds / unit.seconds;
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
          points: latency
            .filter((slice) => slice.model === model)
            .map(
              ({ fromSeconds, toSeconds, figures }) =>
                [at((fromSeconds + toSeconds) / 2), figures[key]] as const,
            ),
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
