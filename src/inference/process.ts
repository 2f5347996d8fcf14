/**
 * The inference process: holds ONNX Runtime and one model, computes the windows that its parent sends. It is
 * forked by engine-process.ts and may be killed at any time; it keeps nothing.
 */
import { failed } from '../common/failed.js';
import { leaveSignalsToParent } from '../common/signals.js';
import type { InferenceRequest } from './engine.js';
import { loadModel, type LoadedModel } from './loaded-model.js';
import type { FromProcess, LearnRequest, LoadRequest, ToProcess } from './protocol.js';
import { readRequests } from './request-pipe.js';

process.title = 'soundpost inference';
leaveSignalsToParent();
process.on('disconnect', () => process.exit(0));

let model: LoadedModel | undefined;

/** The first window of a model is waited for; what is for the next load comes later. */
const AFTER_LOAD_MS = 3000;

async function load(request: LoadRequest): Promise<FromProcess> {
  const started = performance.now();
  model = await loadModel(request, (step) => {
    process.send?.({ kind: 'progress', ...(step !== undefined && { step }) } satisfies FromProcess);
  });
  setTimeout(() => void model?.afterLoad(), AFTER_LOAD_MS).unref();
  const { fixedWindow, stream } = model;
  return { kind: 'ready', loadMs: performance.now() - started, fixedWindow, stream };
}

function loaded(): LoadedModel {
  if (model === undefined) throw new Error('asked before a model was loaded');
  return model;
}

async function infer(request: InferenceRequest): Promise<FromProcess> {
  return { kind: 'result', ...(await loaded().infer(request)) };
}

async function learn(request: LearnRequest): Promise<FromProcess> {
  return { kind: 'learning', features: await loaded().learn(request) };
}

/**
 * What comes with the tensors and messages lies outside the JavaScript heap, which therefore sees no reason to
 * collect it before there are some 30 MB. A collection of the young objects after every few windows costs nothing
 * that can be measured, but misses the results: ONNX Runtime's binding holds on to them in a way that only a full
 * collection lets go of (2 KB a window; 25 MB in two hours of windows back to back). A full one takes 5 to 10 ms, after
 * an answer and not before one. (The parent starts this process with --expose-gc.)
 */
const WINDOWS_PER_COLLECTION = 10;
const WINDOWS_PER_FULL_COLLECTION = 300;
let windows = 0;

function collectNowAndThen(): void {
  windows += 1;
  // With { type: 'major' } Node 20 makes a young one of it.
  if (windows % WINDOWS_PER_FULL_COLLECTION === 0) globalThis.gc?.();
  else if (windows % WINDOWS_PER_COLLECTION === 0) globalThis.gc?.({ type: 'minor', execution: 'sync' });
}

/** Requests are served one after the other; a window belongs after the one before it. */
let previous: Promise<void> = Promise.resolve();

function serve(work: () => Promise<FromProcess>): void {
  previous = previous.then(async () => {
    let reply: FromProcess;
    try {
      reply = await work();
    } catch (error) {
      reply = failed(error);
    }
    // The callback takes the error of a parent that has gone; 'disconnect' ends this process then.
    process.send?.(reply, undefined, undefined, () => undefined);
    collectNowAndThen();
  });
}

readRequests((request) => serve(() => infer(request)));
process.on('message', (message: ToProcess) => {
  if (message.kind === 'stop') process.exit(0);
  serve(() => (message.kind === 'load' ? load(message) : learn(message)));
});
