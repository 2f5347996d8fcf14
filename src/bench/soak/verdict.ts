/** What a run is held to. Ratios are of an end to a beginning. */
export interface SoakLimits {
  /** p99 of the latency in the last tenth over that in the first. */
  latencyDrift: number;
  /** Resident memory of a process at the end over that after the first twentieth; of all after each swap. */
  memoryGrowth: number;
  gaps: number;
  drops: number;
  restarts: number;
  eventLoopMs: number;
  /** Audio time against wall time, for sound in real time; either way. */
  clockDriftPpm: number;
  /** From the command of a swap to the first tags of the new model; null: not judged. */
  swapMs: number | null;
}

export const DEFAULT_LIMITS: SoakLimits = {
  latencyDrift: 1.1,
  memoryGrowth: 1.05,
  gaps: 0,
  drops: 0,
  restarts: 0,
  eventLoopMs: 20,
  clockDriftPpm: 1000,
  swapMs: null,
};

/** What the verdict looks at. Null: could not be measured. */
export interface SoakFindings {
  end: 'complete' | 'interrupted' | 'failed';
  windows: number;
  missing: number;
  dropped: number | null;
  restarts: number | null;
  faults: number;
  /** By model. */
  latencyDrift: { model: string; drift: number | null }[];
  memory: { process: string; growth: number }[];
  eventLoopP99Ms: number | null;
  /** Null where nothing was to be swapped. */
  swaps: { asked: number; failed: number; slowestMs: number | null; memory: number | null } | null;
  /** Null where the sound is not in real time. */
  clock: { ppm: number | null } | null;
}

/** One limit and whether it was kept. */
export interface SoakVerdict {
  name: string;
  value: number | null;
  limit: number;
  /** `most`: the value may be as great as the limit; `below`: it has to be smaller; `least`: at least as great. */
  kind: 'most' | 'below' | 'least';
  unit: string;
  /** Null where it could not be measured. */
  kept: boolean | null;
}

function judge(
  name: string,
  value: number | null,
  limit: number,
  unit = '',
  kind: SoakVerdict['kind'] = 'most',
): SoakVerdict {
  const kept =
    value === null
      ? null
      : kind === 'most'
        ? value <= limit
        : kind === 'least'
          ? value >= limit
          : value < limit;
  return { name, value, limit, kind, unit, kept };
}

/** Holds what was found against the limits. */
export function judgeSoak(found: SoakFindings, limits: SoakLimits): SoakVerdict[] {
  const { swaps, clock } = found;
  return [
    judge('the service ran to the end', found.end === 'failed' ? 0 : 1, 1, '', 'least'),
    judge('windows that arrived', found.windows, 1, '', 'least'),
    judge('windows missing in the row', found.missing, limits.gaps),
    judge('windows dropped', found.dropped, limits.drops),
    judge('restarts of processes', found.restarts, limits.restarts),
    judge('faults in what was published', found.faults, 0),
    ...found.latencyDrift.map(({ model, drift }) =>
      judge(`latency p99, last tenth over first, ${model}`, drift, limits.latencyDrift),
    ),
    ...(found.memory.length === 0
      ? [judge('memory at the end over the start', null, limits.memoryGrowth)]
      : found.memory.map(({ process, growth }) =>
          judge(`memory at the end over the start, ${process}`, growth, limits.memoryGrowth),
        )),
    judge(
      'event-loop delay p99, p95 of the reports',
      found.eventLoopP99Ms,
      limits.eventLoopMs,
      'ms',
      'below',
    ),
    ...(swaps === null
      ? []
      : [
          judge('swaps', swaps.asked, 1, '', 'least'),
          judge('swaps that failed', swaps.failed, 0),
          judge('memory after a swap over the first time', swaps.memory, limits.memoryGrowth),
          ...(limits.swapMs === null
            ? []
            : [judge('slowest swap, command to first tags', swaps.slowestMs, limits.swapMs, 'ms')]),
        ]),
    ...(clock === null
      ? []
      : [
          judge(
            'audio time against wall time, either way',
            clock.ppm === null ? null : Math.abs(clock.ppm),
            limits.clockDriftPpm,
            'ppm',
          ),
        ]),
  ];
}

/** False where a limit was missed, true where every one was kept, null where one could not be measured. */
export function isKept(verdicts: readonly SoakVerdict[]): boolean | null {
  if (verdicts.some(({ kept }) => kept === false)) return false;
  return verdicts.every(({ kept }) => kept === true) ? true : null;
}
