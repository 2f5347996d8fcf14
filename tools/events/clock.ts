import { median } from '../../src/bench/statistics.js';

/** What `B/tags` says of a window. */
export interface SeenWindow {
  seq: number;
  /** Milliseconds since the epoch. */
  endMs: number;
}

/** When windows are due, as the scheduler has it; seconds. */
export interface WindowPlan {
  rateHz: number;
  minSeconds: number;
  windowSeconds: number;
}

/**
 * When the recording began, milliseconds since the epoch: the windows are numbered, so each says where in the recording
 * it ends and when that was. The median of them, since a busy machine is late with some.
 * @returns NaN without windows.
 */
export function beginningOf(windows: readonly SeenWindow[], plan: WindowPlan): number {
  const hop = 1 / plan.rateHz;
  const first = Math.max(plan.minSeconds, Math.min(hop, plan.windowSeconds));
  return median(windows.map(({ seq, endMs }) => endMs - 1000 * (first + (seq - 1) * hop)));
}
