import type { HostFacts } from '../../src/bench/host-facts.js';
import type { Cost, CostOfRun } from './cost.js';
import type { Delay, Errors, Goal, SummaryRow } from './summary.js';

export interface ModelReport {
  model: string;
  title: string;
  role: 'scores' | 'location' | null;
  windowSeconds: number;
  contextSeconds: number | null;
  /** The weights mean nothing: only the cost was measured. */
  synthetic: boolean;
  accuracyRateHz: number;
  /** Empty where it was not measured. */
  rows: SummaryRow[];
  delays: Delay[];
  cost: Cost | null;
  goals: Goal[];
  /** Names that were false: the name, what it was said of, how often. */
  falseNames: { label: string; sound: string | null; times: number }[];
}

export interface EventsReport {
  machine: HostFacts & { load: number };
  seed: number;
  repeats: number;
  peakDbfs: number;
  threshold: number | null;
  settings: Readonly<Record<string, string>>;
  broker: string;
  models: ModelReport[];
  skipped: { model: string; reason: string }[];
}

/** `--json` has all of them. */
const SHOWN_NAMES = 8;

/** Markdown: it can be read in a terminal as well. */
export function formatEventsReport(report: EventsReport): string {
  const { machine } = report;
  const lines = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}, load before ${machine.load.toFixed(1)}; broker ${report.broker}, seed ${report.seed}, ${report.repeats} ${report.repeats === 1 ? 'scene' : 'scenes'} per level of noise; thresholds ${report.threshold ?? "the models' own"}${withSettings(report.settings)}.`,
  ];
  for (const model of report.models) lines.push('', ...formatModel(model));
  for (const { model, reason } of report.skipped) lines.push('', `${model}: left out, ${reason}.`);
  return `${lines.join('\n')}\n`;
}

function withSettings(settings: Readonly<Record<string, string>>): string {
  const entries = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  return entries.length === 0 ? '' : `; ${entries.join(', ')}`;
}

function formatModel(model: ModelReport): string[] {
  const { role, windowSeconds, contextSeconds } = model;
  const kind =
    role === null
      ? 'no frames: as coarse as its window'
      : `frames with role \`${role}\`, context ${contextSeconds} s`;
  const lines = [`**${model.model}** (${kind}; window ${windowSeconds} s)`];
  if (model.synthetic) lines.push('', 'Synthetic weights: only the cost is real.');
  if (model.rows.length > 0) lines.push('', ...formatRows(model));
  if (model.delays.length > 0) lines.push('', ...formatDelays(model.delays));
  if (model.cost !== null) lines.push('', ...formatCost(model.cost));
  if (model.goals.length > 0) lines.push('', ...formatGoals(model.goals));
  if (model.falseNames.length > 0) lines.push('', formatFalseNames(model.falseNames));
  return lines;
}

function formatRows({ rows, accuracyRateHz }: ModelReport): string[] {
  const cells = rows.map((row) => [
    row.lengthSeconds === null ? 'all' : `${row.lengthSeconds} s`,
    row.noiseDbfs === null ? 'all' : `${row.noiseDbfs} dBFS`,
    `${row.found} of ${row.sounds} (${percent(row.found, row.sounds)})`,
    String(row.falseOnSounds),
    row.lengthSeconds === null ? String(row.falseInNoise) : '',
    errors(row.onset),
    bias(row.onset),
    errors(row.duration),
    bias(row.duration),
    String(row.split),
  ]);
  const head = [
    'sound',
    'noise',
    `found at ${accuracyRateHz} Hz`,
    'wrong names',
    'events of noise',
    'onset error, median / 90 %',
    'bias',
    'duration error, median / 90 %',
    'bias',
    'split',
  ];
  return table(head, cells);
}

function formatDelays(delays: readonly Delay[]): string[] {
  return table(
    ['rate', 'sounds', 'delay to the message, p50', 'p90'],
    delays.map(({ rateHz, sounds, p50, p90 }) => [
      `${rateHz} Hz`,
      String(sounds),
      `${p50.toFixed(2)} s`,
      `${p90.toFixed(2)} s`,
    ]),
  );
}

function formatCost({ rateHz, withFrames, withoutFrames }: Cost): string[] {
  const row = (name: string, { session, service }: CostOfRun) => [
    name,
    session.toFixed(1),
    service.toFixed(1),
    (service - session).toFixed(1),
  ];
  return table(
    [`CPU per hop at ${rateHz} Hz`, '`session.run` alone, ms', 'service, ms', 'more, ms'],
    [row('frames not used', withoutFrames), ...(withFrames === null ? [] : [row('frames used', withFrames)])],
  );
}

function formatGoals(goals: readonly Goal[]): string[] {
  return table(
    ['goal', 'at most', 'measured', ''],
    goals.map(({ name, goal, measured, met }) => [
      name,
      `${goal} s`,
      measured === null ? '' : `${measured.toFixed(2)} s`,
      met === null ? 'not measured' : met ? 'pass' : 'miss',
    ]),
  );
}

function formatFalseNames(names: ModelReport['falseNames']): string {
  const most = names.slice(0, SHOWN_NAMES);
  const shown = most.map(({ label, sound, times }) => `${label} (${sound ?? 'noise'}) ${times}×`);
  const more = names.length - most.length;
  return `False names, most frequent first: ${shown.join(', ')}${more > 0 ? `, and ${more} more` : ''}.`;
}

function errors(value: Errors | null): string {
  return value === null ? '' : `${value.median.toFixed(2)} / ${value.p90.toFixed(2)} s`;
}

function bias(value: Errors | null): string {
  return value === null ? '' : `${value.bias < 0 ? '−' : '+'}${Math.abs(value.bias).toFixed(2)}`;
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : `${Math.round((100 * part) / whole)} %`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}
