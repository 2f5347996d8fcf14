/**
 * The conversion process: does one step of a conversion and ends, so that its memory goes back. It is forked by
 * convert.ts and may be killed at any time.
 */
import { failed } from '../common/failed.js';
import { leaveSignalsToParent } from '../common/signals.js';
import { buildModel, type BuildProgress } from './build-model.js';
import type { FromConversion, ToConversion } from './messages.js';
import { selfTest } from './self-test.js';

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
  void answer(message).catch(failed).then(say);
});
