import type { HostFacts } from '../../src/bench/host-facts.js';

/** One sound taught in one home by so many examples. */
export interface Trial {
  readonly target: string;
  readonly isChime: boolean;
  readonly examples: number;
  readonly times: number;
  /** Of `times`, for each level. */
  readonly found: readonly number[];
  readonly baseFound: readonly number[];
  readonly falseAlarms: number;
  /** What raised them. */
  readonly falseAlarmsBy: readonly string[];
  readonly baseFalseAlarms: number;
  /** What the baseline finds with as many false alarms, its threshold set with hindsight. */
  readonly baseFoundAtEqual: readonly number[];
  /** What both find with as many false alarms as were wished for, the thresholds of both set with hindsight. */
  readonly atWished: {
    readonly falseAlarms: number;
    readonly found: readonly number[];
    readonly baseFound: readonly number[];
  };
  readonly hours: number;
  /** What teaching said of false alarms a day. */
  readonly promised: { readonly low: number; readonly high: number } | null;
  readonly leftOut: { readonly found: number; readonly of: number };
  readonly teachSeconds: number;
}

export interface LearnReport {
  readonly host: HostFacts;
  readonly homes: number;
  readonly beforeHours: number;
  readonly afterHours: number;
  readonly soundsPerDay: number;
  readonly snrsDb: readonly number[];
  readonly notes: readonly string[];
  readonly trials: readonly Trial[];
  readonly costMs: number;
  readonly costFrames: number;
}

const sum = (values: readonly number[]) => values.reduce((all, one) => all + one, 0);

/** The report as Markdown. */
export function formatReport(report: LearnReport): string {
  const { host, trials, snrsDb } = report;
  const counts = [...new Set(trials.map(({ examples }) => examples))];
  const names = [...new Set(trials.map(({ target }) => target))];
  const levels = snrsDb.map((snr) => `${snr} dB`).join(' / ');
  const lines = [
    `${report.homes} homes; each hears ${report.beforeHours.toFixed(1)} h before and ${report.afterHours.toFixed(1)} h after it is taught, about ${report.soundsPerDay} sounds a day. ${host.cpu}, Node ${host.node}.`,
    ...report.notes,
    '',
    `Found at ${levels} above the background, and false alarms counted in all hours afterwards; "nearest" is the nearest neighbour with as many false alarms:`,
    '',
    `| sound | ${counts.map((n) => `${n} examples | false | nearest, ${n}`).join(' | ')} |`,
    `|---|${'---|'.repeat(3 * counts.length)}`,
  ];
  for (const name of [...names, 'all chimes', 'all']) {
    const chosen = trials.filter(
      ({ target, isChime }) => name === 'all' || (name === 'all chimes' ? isChime : target === name),
    );
    const cells = counts.flatMap((n) => {
      const own = chosen.filter(({ examples }) => examples === n);
      const alarms = sum(own.map(({ falseAlarms }) => falseAlarms));
      return [
        recalls(own, ({ found }) => found),
        String(alarms),
        recalls(own, ({ baseFoundAtEqual }) => baseFoundAtEqual),
      ];
    });
    lines.push(`| ${[name, ...cells].join(' | ')} |`);
  }
  lines.push('', ...verdicts(report, counts));
  return lines.join('\n');
}

function recalls(trials: readonly Trial[], which: (trial: Trial) => readonly number[]): string {
  const levels = trials[0]?.found.length ?? 0;
  const all = sum(trials.map(({ times }) => times));
  return Array.from({ length: levels }, (_, level) =>
    (sum(trials.map((trial) => which(trial)[level]!)) / all).toFixed(2),
  ).join(' / ');
}

function verdicts({ trials, costMs, costFrames }: LearnReport, counts: readonly number[]): string[] {
  const hours = sum(trials.map((trial) => trial.hours));
  const perDay = (sum(trials.map(({ falseAlarms }) => falseAlarms)) / hours) * 24;
  const basePerDay = (sum(trials.map(({ baseFalseAlarms }) => baseFalseAlarms)) / hours) * 24;
  const kept = trials.filter(({ promised, falseAlarms, hours: own }) => {
    // As many as the promise's upper end makes likely in so few hours (mean and two deviations of a Poisson number).
    const most = ((promised?.high ?? 0) * own) / 24;
    return falseAlarms <= Math.ceil(most + 2 * Math.sqrt(most));
  });
  const left = trials.map(({ leftOut }) => leftOut);
  const seconds = trials.map(({ teachSeconds }) => teachSeconds).sort((one, other) => one - other);
  const of = (n: number) => trials.filter(({ examples }) => examples === n);
  const byCount = (text: (own: readonly Trial[]) => string) =>
    counts.map((n) => `${n} examples: ${text(of(n))}`).join('; ');
  const [first] = trials;
  return [
    `False alarms a day, measured: ${perDay.toFixed(1)} on average over ${trials.length} labels (wished: 1); nearest neighbour with a threshold by the same tail ${basePerDay.toFixed(1)}, finding ${byCount((own) => recalls(own, ({ baseFound }) => baseFound))}.`,
    `With ${first?.atWished.falseAlarms ?? 0} false alarms for each label, by hindsight: ${byCount((own) => `${recalls(own, ({ atWished }) => atWished.found)}, nearest neighbour ${recalls(own, ({ atWished }) => atWished.baseFound)}`)}.`,
    `What raised false alarms: ${raisedBy(trials)}.`,
    `Within what was promised: ${kept.length} of ${trials.length} labels.`,
    `Leave-one-out found ${sum(left.map(({ found }) => found))} of ${sum(left.map(({ of }) => of))} examples.`,
    `Teaching took ${seconds[Math.floor(seconds.length / 2)]!.toFixed(1)} s (median), ${seconds.at(-1)!.toFixed(1)} s at most.`,
    `Scoring a label: ${costMs.toFixed(3)} ms a window of ${costFrames} frames.`,
  ];
}

/** For each taught sound, what was taken for it and how often. */
function raisedBy(trials: readonly Trial[]): string {
  const targets = [...new Set(trials.map(({ target }) => target))];
  const parts = targets.flatMap((target) => {
    const names = trials.filter((trial) => trial.target === target).flatMap((trial) => trial.falseAlarmsBy);
    const counted = [...new Set(names)].map((name) => `${names.filter((n) => n === name).length} × ${name}`);
    return counted.length === 0 ? [] : [`${target}: ${counted.join(', ')}`];
  });
  return parts.length === 0 ? 'nothing' : parts.join('; ');
}
