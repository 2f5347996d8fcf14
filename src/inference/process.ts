/**
 * The inference process: holds ONNX Runtime and one model, computes the windows that its parent sends. It is
 * forked by start-engine.ts and may be killed at any time; it keeps nothing.
 */
import { codeOf, messageOf } from '../common/errors.js';
import { loadModel, type LoadedModel } from './loaded-model.js';
import type { FromProcess, ToProcess } from './protocol.js';

process.title = 'soundpost inference';
// Ctrl-C reaches every process of the terminal; when to end is for the parent to say.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(0));

let model: LoadedModel | undefined;

async function answer(message: Exclude<ToProcess, { kind: 'stop' }>): Promise<FromProcess> {
  if (message.kind === 'load') {
    const started = performance.now();
    model = await loadModel(message, () => process.send?.({ kind: 'progress' } satisfies FromProcess));
    return { kind: 'ready', loadMs: performance.now() - started, fixedWindow: model.fixedWindow };
  }
  if (model === undefined) throw new Error('asked to infer before a model was loaded');
  return { kind: 'result', ...(await model.infer(message)) };
}

/**
 * The samples and scores that come and go with the messages lie outside the JavaScript heap, which therefore
 * sees no reason to collect them before there are some 30 MB; a collection of the small heap after every few
 * windows costs nothing that can be measured. (The parent starts this process with --expose-gc.)
 */
const WINDOWS_PER_COLLECTION = 10;
let windowsSinceCollection = 0;

function collectNowAndThen(): void {
  windowsSinceCollection += 1;
  if (windowsSinceCollection < WINDOWS_PER_COLLECTION) return;
  windowsSinceCollection = 0;
  globalThis.gc?.({ type: 'minor', execution: 'sync' });
}

/** Messages are served one after the other; a window belongs after the one before it. */
let previous: Promise<void> = Promise.resolve();

process.on('message', (message: ToProcess) => {
  if (message.kind === 'stop') process.exit(0);
  previous = previous.then(async () => {
    let reply: FromProcess;
    try {
      reply = await answer(message);
    } catch (error) {
      reply = { kind: 'failed', code: codeOf(error), message: messageOf(error) };
    }
    // The callback takes the error of a parent that has gone; 'disconnect' ends this process then.
    process.send?.(reply, undefined, undefined, () => undefined);
    collectNowAndThen();
  });
});
