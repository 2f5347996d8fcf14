import { round } from '../common/round.js';
import type { InstallProgress } from '../install/progress.js';
import type { StatePayload } from '../mqtt/contract.js';

/** At most so often: a fast download must not flood the broker. */
const INTERVAL_MS = 500;

/** Turns the progress of an installation into `swap` of `B/state`; one that never began leaves no trace there. */
export function createInstallReporter(
  id: string,
  show: (swap: StatePayload['swap']) => void,
  now: () => number = () => performance.now(),
): { report: (progress: InstallProgress) => void; end: () => void } {
  let shown: InstallProgress | null = null;
  let shownAt = -Infinity;
  return {
    report(progress) {
      const sameStep = shown?.step === progress.step;
      const samePercent = percent(shown?.share) === percent(progress.share);
      if (sameStep && (samePercent || now() - shownAt < INTERVAL_MS)) return;
      shown = progress;
      shownAt = now();
      show({ state: progress.step, model: id, progress: percent(progress.share) });
    },
    end() {
      if (shown !== null) show({ state: 'idle', model: null, progress: null });
    },
  };
}

function percent(share: number | null | undefined): number | null {
  return share === null || share === undefined ? null : Math.min(1, round(share, 2));
}
