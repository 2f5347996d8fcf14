import { setImmediate as nextTurn } from 'node:timers/promises';
import { createRing, type Ring } from '../audio/ring.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, InferenceResult, StartEngine } from './engine.js';
import { createEngineKeeper, type EngineEvents, type EngineKeeper } from './engine-keeper.js';
import { createModelStream, type ModelStream, type StreamRequest } from './model-stream.js';
import { inMilliseconds, newFramesOf, type FreshFrames } from './new-frames.js';
import type { GivenUp } from './second-chance.js';
import { createScheduler, type Scheduler } from './scheduler.js';

/** One answered window. */
export interface WindowResult {
  /** Counts every window that was due since the start; a gap is a dropped window. */
  seq: number;
  model: InstalledModel;
  /** Wall clock, ms since the epoch. */
  startMs: number;
  endMs: number;
  /** Float32Array, [labels], 0 … 1. */
  scores: Float32Array;
  /** The sound that is new with it; null where no frame of it is final yet. */
  fresh: FreshFrames | null;
  /** performance.now() of the arrival of the window's last sample and of the answer. */
  arrivedAt: number;
  answeredAt: number;
  queueMs: number;
  featuresMs: number;
  inferenceMs: number;
}

export interface PipelineEvents extends EngineEvents {
  result(result: WindowResult): void;
  /** The model that answers from the next window on; also called after the start and after a fall-back. */
  modelChanged(model: InstalledModel): void;
}

export interface PipelineOptions {
  startEngine: StartEngine;
  /** The model that stands in where another one cannot run: the bundled one. */
  fallback: InstalledModel;
  rateHz: number;
  /** null: the model's own. */
  windowSeconds: number | null;
  threads: number;
  /** Seconds of sound to keep for a swap: what the longest installed window needs. */
  keepSeconds: number;
  log: Logger;
  events: PipelineEvents;
  /** How long to wait before an engine that died is started again. */
  restartDelays?: { firstMs: number; maxMs: number };
  /** How long to wait before a model that was given up is tried again. */
  retryDelays?: { firstMs: number; maxMs: number };
}

/** A window that is due and not served yet. */
interface DueWindow {
  position: number;
  endMs: number;
  arrivedAt: number;
}

/** How much more than the longest window is kept, for windows that wait. */
const SLACK_SECONDS = 2;
/** How far a source that can wait may run ahead of the oldest unanswered window: well within the slack. */
const AHEAD_SECONDS = 1;

/**
 * From the capture stream to scores: keeps the last seconds, decides when a window is due, has one engine answer
 * it, and swaps engines between two windows. Where sound cannot wait, the oldest unserved window is dropped;
 * where it can (files), `chunk` returns a promise that holds the source back.
 */
export class Pipeline {
  private readonly options: PipelineOptions;
  private readonly keeper: EngineKeeper;
  private scheduler: Scheduler | null = null;
  private ring: Ring | null = null;
  private captureRate = 0;
  private realTime = true;
  /** Streams that receive every chunk: the current one and, during a swap, the next. */
  private readonly live = new Set<ModelStream>();
  private current: InferenceEngine | null = null;
  private stream: ModelStream | null = null;
  /** Counts the streams of sound: what was begun for an earlier one is of no use for this one. */
  private generation = 0;
  /** Up to which capture position the sound has been told of in frames. */
  private takenUntil = 0;
  /** Counts the breaks (another stream, a pause, the loss of sound): no answer is told across one. */
  private row = 0;
  private queue: DueWindow[] = [];
  /** Whether an engine is at work on a window, of this row or of an earlier one. */
  private busy = false;
  /** The window of this row that is being answered. */
  private serving: DueWindow | null = null;
  /** When the oldest window was due that nothing has been answered since (performance.now()). */
  private waitedSince: number | null = null;
  /** How long the engine worked on its last window. */
  private usualMs = 0;
  private idleWaiters: (() => void)[] = [];
  /** What is to happen between two windows: the switch to another engine. */
  private atBoundary: (() => void) | null = null;
  private roomWaiters: (() => void)[] = [];
  /** `yields`: an attempt of our own, for which nobody who wants another model has to wait. */
  private swapping: { abort: AbortController; settled: Promise<unknown>; yields: boolean } | null = null;
  private seq = 0;
  private rateHz: number;
  private keepSeconds: number;
  private isPaused = false;
  private processedCount = 0;
  private droppedCount = 0;

  constructor(options: PipelineOptions) {
    this.options = options;
    this.keeper = createEngineKeeper({
      startEngine: options.startEngine,
      threads: options.threads,
      fallback: options.fallback,
      restartDelays: options.restartDelays,
      retryDelays: options.retryDelays,
      tryAgain: async (model) => {
        await this.changeTo(model, {}, true);
      },
      events: options.events,
      onRestarted: (engine) => this.adopt(engine, null),
    });
    this.rateHz = options.rateHz;
    this.keepSeconds = this.atLeastWindow(options.keepSeconds);
  }

  get model(): InstalledModel {
    return this.keeper.wanted;
  }

  /** Ids of the processes that hold models. */
  get pids(): number[] {
    return this.current === null ? [] : [this.current.pid];
  }

  /** Whether a model is loaded and answers. */
  get ready(): boolean {
    return this.current !== null;
  }

  /** The model that was given up, for which `model` stands in; null where that is the one that is wanted. */
  get givenUp(): GivenUp | null {
    return this.keeper.givenUp;
  }

  /** The model at work is the one that is wanted, whatever it stands in for. */
  settleForModel(): void {
    this.keeper.settleFor();
  }

  /**
   * For how long the oldest window has been waited for, in ms; 0 where none is due. `usualMs`: what the last one
   * took. A model that is being started again is waited for as well.
   */
  waiting(now: number = performance.now()): { forMs: number; usualMs: number } {
    return { forMs: this.waitedSince === null ? 0 : now - this.waitedSince, usualMs: this.usualMs };
  }

  counters(): { processed: number; dropped: number; restarts: number } {
    return { processed: this.processedCount, dropped: this.droppedCount, restarts: this.keeper.restarts };
  }

  /**
   * Loads the first model; where that fails, the fall-back model, and says so. Throws where neither loads. A swap
   * that was asked for meanwhile and is done earlier wins. Where the machine has no process to give for now, it
   * resolves all the same, and the model is started once there is one.
   */
  async start(model: InstalledModel): Promise<void> {
    const { fallback } = this.options;
    this.keeper.want(model);
    const first = await this.keeper.launch(model).catch((error: unknown) => {
      if (this.ready) return null;
      if (!this.keeper.stopped && codeOf(error) === 'no_resources') {
        this.keeper.failed(error);
        return null;
      }
      if (this.keeper.stopped || model.folder === fallback.folder) throw error;
      this.keeper.fallBack(error);
      return this.keeper.launch(fallback);
    });
    if (this.ready) await first?.stop();
    else if (first !== null) this.adopt(first, null);
  }

  /** Sound starts anew, at another rate perhaps: what is kept is forgotten. */
  begin(sampleRate: number, realTime: boolean): void {
    this.generation += 1;
    this.captureRate = sampleRate;
    this.realTime = realTime;
    this.ring = createRing(Math.ceil((this.keepSeconds + SLACK_SECONDS) * sampleRate));
    this.live.clear();
    this.stream = null;
    this.interrupt();
    this.takenUntil = 0;
    const { input } = this.model.manifest;
    const windowSeconds = this.options.windowSeconds ?? input.window_seconds;
    this.scheduler = createScheduler({
      sampleRate,
      rateHz: this.rateHz,
      minSeconds: Math.min(input.min_seconds, windowSeconds),
      windowSeconds,
    });
    if (this.current !== null) this.connect(this.current, null);
  }

  /**
   * Takes mono samples at the capture rate. `endMs` is the wall clock of the last one. For sources that can
   * wait the promise resolves when there is room for more.
   */
  chunk(samples: Float32Array, endMs: number): void | Promise<void> {
    const { ring, scheduler } = this;
    if (ring === null || scheduler === null || this.keeper.stopped) return;
    const arrivedAt = performance.now();
    ring.append(samples);
    for (const stream of this.live) stream.append(samples);
    if (this.isPaused) return;
    const due = scheduler.due(ring.position);
    if (due.length > 0) this.waitedSince ??= arrivedAt;
    for (const position of due) {
      const behindMs = ((ring.position - position) * 1000) / this.captureRate;
      this.queue.push({ position, endMs: endMs - behindMs, arrivedAt });
    }
    if (this.realTime) {
      // Several windows may become due within one chunk at a high rate; that alone is no falling behind.
      const excess = this.queue.length - Math.max(1, due.length);
      if (excess > 0) {
        this.queue.splice(0, excess);
        this.drop(excess);
      }
    }
    this.dispatch();
    if (!this.hasRoom()) return this.room();
  }

  /** Sound breaks off: what waits or is being answered would be told as if it were heard now. */
  interrupt(): void {
    this.row += 1;
    this.takenUntil = this.ring?.position ?? 0;
    this.queue = [];
    this.serving = null;
    this.waitedSince = null;
    this.wakeRoomWaiters();
    this.wakeIdleWaiters();
  }

  setRate(rateHz: number): void {
    this.rateHz = rateHz;
    this.scheduler?.setRate(rateHz, this.ring?.position ?? 0);
  }

  setPaused(paused: boolean): void {
    if (paused === this.isPaused) return;
    this.isPaused = paused;
    if (paused) this.interrupt();
    else {
      // What was to be heard during the pause is not to be told after it.
      this.takenUntil = this.ring?.position ?? 0;
      this.scheduler?.resume(this.takenUntil);
    }
  }

  /** How many seconds of sound have to be kept for a swap to a model with a longer window. */
  keep(seconds: number): void {
    this.keepSeconds = this.atLeastWindow(seconds);
    this.ring?.resize(Math.ceil((this.keepSeconds + SLACK_SECONDS) * this.captureRate));
  }

  /** Resolves when no window is waiting or being answered, an engine that has to be started again included. */
  async idle(): Promise<void> {
    while (!this.keeper.stopped && (this.busy || this.queue.length > 0)) {
      await new Promise<void>((resolve) => this.idleWaiters.push(resolve));
    }
  }

  /**
   * Hot swap: starts a second process with the model, feeds it the last seconds, lets it answer once, and
   * switches between two windows. Until then the old model goes on; on any error it simply stays. Throws a
   * SoundpostError: `busy` while another swap runs, else what is wrong with the model.
   */
  async swap(
    model: InstalledModel,
    options: { signal?: AbortSignal; onProgress?: (progress: number) => void } = {},
  ): Promise<{ loadMs: number }> {
    while (this.swapping?.yields === true) {
      this.swapping.abort.abort();
      await this.swapping.settled;
      await nextTurn();
    }
    const changed = await this.changeTo(model, options, false);
    this.keeper.settleFor();
    return changed;
  }

  private async changeTo(
    model: InstalledModel,
    options: { signal?: AbortSignal; onProgress?: (progress: number) => void },
    yields: boolean,
  ): Promise<{ loadMs: number }> {
    if (this.swapping !== null) {
      throw new SoundpostError('busy', 'another model is being loaded: try again when it is done');
    }
    const abort = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, abort.signal]) : abort.signal;
    const work = this.loadAndSwitch(model, signal, options.onProgress ?? (() => undefined));
    this.swapping = { abort, settled: Promise.allSettled([work]), yields };
    try {
      return await work;
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new SoundpostError('aborted', `loading ${model.manifest.id} was given up`, { cause: error });
    } finally {
      this.swapping = null;
    }
  }

  async stop(): Promise<void> {
    const launched = this.keeper.stop();
    this.generation += 1;
    this.swapping?.abort.abort();
    this.live.clear();
    this.interrupt();
    this.atBoundary?.();
    const engine = this.current;
    this.current = null;
    this.stream = null;
    await Promise.allSettled([engine?.stop(), this.swapping?.settled, launched]);
  }

  private async loadAndSwitch(
    model: InstalledModel,
    signal: AbortSignal,
    onProgress: (progress: number) => void,
  ): Promise<{ loadMs: number }> {
    onProgress(0.1);
    const engine = await this.keeper.launch(model, signal);
    let stream: ModelStream | null = null;
    // A network that hangs would keep a swap that was called off.
    const giveUp = () => {
      if (engine !== this.current) void engine.stop();
    };
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      onProgress(0.7);
      stream = await this.prime(engine);
      onProgress(0.9);
      const old = await this.switchTo(engine, stream, signal);
      onProgress(1);
      await old?.stop();
      return { loadMs: engine.loadMs };
    } catch (error) {
      if (stream !== null && stream !== this.stream) this.live.delete(stream);
      if (engine !== this.current) await engine.stop();
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Makes an engine the current one; between two windows only. */
  private adopt(engine: InferenceEngine, primed: ModelStream | null): void {
    if (this.stream !== null) this.live.delete(this.stream);
    this.stream = null;
    this.current = engine;
    void engine.exited.then(async ({ reason }) => {
      // Where a window was being answered, its error says more.
      await nextTurn();
      this.lost(engine, new SoundpostError('inference_died', reason));
    });
    this.options.events.modelChanged(engine.model);
    this.connect(engine, primed);
  }

  /** Gives the current engine its stream: the one it has been primed with, or a new one from the kept sound. */
  private connect(engine: InferenceEngine, primed: ModelStream | null): void {
    if (primed !== null && this.live.has(primed)) {
      this.stream = primed;
      this.dispatch();
      return;
    }
    this.attach(engine).then(
      (stream) => {
        if (stream === null || !this.live.has(stream)) return;
        if (engine !== this.current) {
          this.live.delete(stream);
          return;
        }
        this.stream = stream;
        this.dispatch();
      },
      (error: unknown) => this.lost(engine, error),
    );
  }

  /** Between two windows, makes a primed engine the current one. Resolves to the one before it. */
  private switchTo(
    engine: InferenceEngine,
    stream: ModelStream | null,
    signal: AbortSignal,
  ): Promise<InferenceEngine | null> {
    let end: string | null = null;
    void engine.exited.then(({ reason }) => (end = reason));
    return new Promise((resolve, reject) => {
      const act = () => {
        if (signal.aborted || end !== null) {
          reject(new SoundpostError('inference_died', `the inference process ended: ${end ?? 'called off'}`));
          return;
        }
        const old = this.current;
        this.keeper.want(engine.model);
        this.adopt(engine, stream);
        resolve(old);
      };
      if (this.busy) this.atBoundary = act;
      // In a later turn, so that an end that is known already is seen.
      else queueMicrotask(() => (this.busy ? (this.atBoundary = act) : act()));
    });
  }

  /**
   * Gives an engine its stream and fills it with the sound that is kept, in slices, so that the event loop stays
   * free. From the return on the stream receives every chunk. Null before there is any sound, and where the sound
   * starts anew meanwhile.
   */
  private async attach(engine: InferenceEngine): Promise<ModelStream | null> {
    const { ring, generation, captureRate } = this;
    if (ring === null) return null;
    const slice = new Float32Array(Math.ceil(captureRate / 2));
    for (;;) {
      let at = 0;
      const stream = await createModelStream({
        engine,
        captureRate,
        startPosition: () => (at = ring.oldest),
        windowSeconds: this.options.windowSeconds,
        slackSeconds: SLACK_SECONDS,
        quality: 'live',
      });
      while (generation === this.generation && at >= ring.oldest && at < ring.position) {
        const part = slice.subarray(0, Math.min(slice.length, ring.position - at));
        ring.read(at, at + part.length, part);
        stream.append(part);
        at += part.length;
        if (at < ring.position) await nextTurn();
      }
      if (generation !== this.generation) return null;
      if (at < ring.oldest) continue;
      this.live.add(stream);
      return stream;
    }
  }

  /** Lets a new engine answer the latest window once: the last check, and its features are warm afterwards. */
  private async prime(engine: InferenceEngine): Promise<ModelStream | null> {
    const stream = await this.attach(engine);
    if (stream === null || this.ring === null) return null;
    const { position } = this.ring;
    const request = stream.request(position, position);
    if (typeof request !== 'object') return stream;
    try {
      await engine.infer(request);
      return stream;
    } catch (error) {
      this.live.delete(stream);
      throw error;
    }
  }

  /** Sends the next due window to the engine, if it is free. */
  private dispatch(): void {
    while (!this.busy && !this.isPaused && this.queue.length > 0) {
      const { current: engine, stream } = this;
      if (engine === null || stream === null) return;
      const window = this.queue.shift()!;
      this.wakeRoomWaiters();
      const request = stream.request(window.position, this.takenUntil);
      if (request === 'too_early') continue;
      if (request === 'gone') {
        this.drop(1);
        continue;
      }
      this.busy = true;
      this.serving = window;
      void this.serve(engine, window, request).finally(() => this.windowDone());
    }
    if (!this.busy && this.queue.length === 0) {
      // Where there is no engine what was due is still waited for, though it has been dropped.
      if (this.stream !== null) this.waitedSince = null;
      this.wakeIdleWaiters();
    }
  }

  /** Has one window answered. Never rejects. */
  private async serve(engine: InferenceEngine, window: DueWindow, request: StreamRequest): Promise<void> {
    const { row } = this;
    try {
      const result = await engine.infer(request);
      // What comes from before a break would switch on what has just been switched off.
      if (row === this.row) this.answered(engine, window, request, result);
    } catch (error) {
      if (row === this.row) {
        // A file's window is answered by the next engine; live sound has moved on.
        if (this.realTime) this.drop(1);
        else this.queue.unshift(window);
      }
      this.lost(engine, error);
    }
  }

  private windowDone(): void {
    this.busy = false;
    this.serving = null;
    const action = this.atBoundary;
    this.atBoundary = null;
    action?.();
    this.wakeRoomWaiters();
    this.dispatch();
  }

  private hasRoom(): boolean {
    if (this.realTime || this.isPaused || this.keeper.stopped) return true;
    const oldest = this.serving ?? this.queue[0];
    if (oldest === undefined || this.ring === null) return true;
    const ahead = this.ring.position - oldest.position;
    return this.queue.length <= 1 && ahead <= AHEAD_SECONDS * this.captureRate;
  }

  private async room(): Promise<void> {
    while (!this.hasRoom()) await new Promise<void>((resolve) => this.roomWaiters.push(resolve));
  }

  private atLeastWindow(seconds: number): number {
    return Math.max(seconds, this.options.windowSeconds ?? 0);
  }

  private answered(
    engine: InferenceEngine,
    window: DueWindow,
    request: StreamRequest,
    result: InferenceResult,
  ): void {
    this.seq += 1;
    this.processedCount += 1;
    this.keeper.answered();
    this.waitedSince = this.queue[0]?.arrivedAt ?? null;
    this.usualMs = result.featuresMs + result.inferenceMs;
    const answeredAt = performance.now();
    const report: WindowResult = {
      seq: this.seq,
      model: engine.model,
      startMs: window.endMs - (request.endSeconds - request.startSeconds) * 1000,
      endMs: window.endMs,
      scores: result.scores,
      fresh: this.take(engine, window, request, result),
      arrivedAt: window.arrivedAt,
      answeredAt,
      queueMs: Math.max(0, answeredAt - window.arrivedAt - result.featuresMs - result.inferenceMs),
      featuresMs: result.featuresMs,
      inferenceMs: result.inferenceMs,
    };
    try {
      this.options.events.result(report);
    } catch (error) {
      // A listener that fails is no reason to give the engine up.
      this.options.log.error({ code: codeOf(error) }, `a result could not be used: ${messageOf(error)}`);
    }
  }

  /** Takes the frames of a window that are new; each piece of sound is taken once. */
  private take(
    engine: InferenceEngine,
    window: DueWindow,
    request: StreamRequest,
    result: InferenceResult,
  ): FreshFrames | null {
    const taken = this.takenUntil / this.captureRate;
    const frames = newFramesOf(engine.model.manifest, request, result, taken);
    if (frames === null) return null;
    this.takenUntil = frames.endSeconds * this.captureRate;
    return inMilliseconds(frames, window.endMs - (window.position * 1000) / this.captureRate);
  }

  private drop(windows: number): void {
    this.seq += windows;
    this.droppedCount += windows;
  }

  /** The engine failed or died: forget it, and have its model started again. */
  private lost(engine: InferenceEngine, error: unknown): void {
    if (engine !== this.current || this.keeper.stopped) return;
    this.current = null;
    if (this.stream !== null) this.live.delete(this.stream);
    this.stream = null;
    engine.stop().catch((stopError: unknown) => {
      this.options.log.warn({ code: 'inference_stop' }, messageOf(stopError));
    });
    this.keeper.failed(error);
  }

  private wakeRoomWaiters(): void {
    for (const wake of this.roomWaiters.splice(0)) wake();
  }

  private wakeIdleWaiters(): void {
    for (const wake of this.idleWaiters.splice(0)) wake();
  }
}
