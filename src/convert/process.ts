/**
 * The conversion process: does one step of a conversion and ends, so that its memory goes back. It is forked by
 * convert.ts and may be killed at any time.
 */
import type { ErrorCode } from '../common/error-codes.js';
import { codeOf, messageOf } from '../common/errors.js';
import { leaveSignalsToParent } from '../common/signals.js';
import { buildModel, type BuildProgress, type BuildRequest, type BuiltModel } from './build-model.js';
import { selfTest, type SelfTest } from './self-test.js';

export type ToConversion =
  { kind: 'build'; request: BuildRequest } | { kind: 'self-test'; request: Parameters<typeof selfTest>[0] };

export type FromConversion =
  | { kind: 'progress'; progress: BuildProgress }
  | { kind: 'built'; model: BuiltModel; peakBytes: number }
  | { kind: 'tested'; test: SelfTest; peakBytes: number }
  | { kind: 'failed'; code: ErrorCode; message: string };

process.title = 'soundpost convert';
leaveSignalsToParent();
// How the parent says that it has the answer, and how its own end is noticed.
process.on('disconnect', () => process.exit(0));

const say = (message: FromConversion): void =>
  void process.send?.(message, undefined, undefined, () => undefined);

/** More often than the eye sees is only work. */
const PROGRESS_INTERVAL_MS = 50;
let lastProgress = -Infinity;

function sayProgress(progress: BuildProgress): void {
  const now = performance.now();
  if (now - lastProgress < PROGRESS_INTERVAL_MS && progress.fraction < 1) return;
  lastProgress = now;
  say({ kind: 'progress', progress });
}

async function answer(message: ToConversion): Promise<FromConversion> {
  if (message.kind === 'build') {
    const model = await buildModel(message.request, sayProgress);
    return { kind: 'built', model, peakBytes: peakBytes() };
  }
  return { kind: 'tested', test: await selfTest(message.request), peakBytes: peakBytes() };
}

/** The most memory this process has had, resident. */
function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}

process.on('message', (message: ToConversion) => {
  void answer(message)
    .catch((error: unknown): FromConversion => ({
      kind: 'failed',
      code: codeOf(error),
      message: messageOf(error),
    }))
    .then(say);
});
