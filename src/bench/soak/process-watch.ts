import { cpuBetween, memoryOf, type ProcessUsage } from '../process-tree.js';
import {
  isInference,
  memoryAfterSwaps,
  memoryGrowth,
  mergeProcesses,
  rssByName,
  type MemoryGrowth,
  type ProcessSample,
  type Stint,
} from './samples.js';
import { createSeries } from './series.js';

const MEGABYTE = 1e6;

/** What the processes of the service use over time. */
export interface ProcessWatch {
  /** @param seen.holds the model that the only inference process holds; null while there may be two */
  sample(
    tree: readonly ProcessUsage[],
    seen: { audioSeconds: number; wallSeconds: number; windows: number; holds: string | null },
  ): void;
  /** A model has done its turn. Returns the memory of all processes, in MB; null where it cannot be read. */
  stintEnds(tree: readonly ProcessUsage[], model: string, endSeconds: number): number | null;
  growth(): MemoryGrowth[];
  growthAfterSwaps(runSeconds: number): number | null;
  /** CPU time of all processes for one window; null as long as there were none. */
  cpuMsPerWindow(): number | null;
  readings(): ProcessSample[];
}

/** @param options.readings how many readings are kept; neighbours are merged beyond that */
export function createProcessWatch(options: { readings: number }): ProcessWatch {
  const series = createSeries<ProcessSample>({ limit: options.readings, merge: mergeProcesses });
  /** What the inference processes hold, by process id. */
  const held = new Map<number, string>();
  const stints: Stint[] = [];
  let first: { tree: readonly ProcessUsage[]; windows: number } | null = null;
  let last: { tree: readonly ProcessUsage[]; windows: number; wallSeconds: number } | null = null;

  return {
    sample(tree, { audioSeconds, wallSeconds, windows, holds }) {
      if (tree.length === 0) return;
      const inference = tree.filter(isInference);
      if (holds !== null && inference.length === 1) held.set(inference[0]!.pid, holds);
      for (const pid of held.keys()) if (!tree.some((usage) => usage.pid === pid)) held.delete(pid);
      const seconds = last === null ? 0 : wallSeconds - last.wallSeconds;
      const usedMs = last === null ? 0 : cpuBetween(last.tree, tree);
      series.add({
        audioSeconds,
        wallSeconds,
        rssMb: rssByName(tree, held),
        // ms a second are tenths of a percent.
        cpuPercent: seconds > 0 ? Math.max(0, usedMs / seconds / 10) : null,
      });
      first ??= { tree, windows };
      last = { tree, windows, wallSeconds };
    },
    stintEnds(tree, model, endSeconds) {
      const { rssBytes } = memoryOf(tree);
      if (rssBytes === null || tree.length === 0) return null;
      stints.push({ model, endSeconds, rssMb: rssBytes / MEGABYTE });
      return rssBytes / MEGABYTE;
    },
    growth: () => memoryGrowth(series.readings()),
    growthAfterSwaps: (runSeconds) => memoryAfterSwaps(stints, runSeconds),
    cpuMsPerWindow() {
      const counted = first === null || last === null ? 0 : last.windows - first.windows;
      return counted > 0 ? cpuBetween(first?.tree ?? [], last?.tree ?? []) / counted : null;
    },
    readings: () => series.readings(),
  };
}
