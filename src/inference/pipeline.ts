import { codeOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InstalledModel } from '../models/registry.js';
import { createAnswering, type Answering } from './answering.js';
import type { EngineStream, StartEngine } from './engine.js';
import { createEngineKeeper, type EngineEvents, type EngineKeeper } from './engine-keeper.js';
import { createEngineSeat, type EngineSeat } from './engine-seat.js';
import { fullWindowSeconds } from './full-window.js';
import { createHotSwap, type HotSwap, type SwapOptions } from './hot-swap.js';
import { createLearning, type Learning, type LearningParts } from './learning.js';
import type { HeadsInForce, LearntHead } from './learnt-heads.js';
import type { GivenUp } from './second-chance.js';
import { createSourceFeed, type OnColumns, type SourceCounters, type SourceFeed } from './source-feed.js';
import type { WindowResult } from './window-report.js';

export interface PipelineEvents extends EngineEvents {
  result(result: WindowResult): void;
  /**
   * The model that answers from the next window on, with the learnt labels that stand behind its own; also called after
   * the start and after a fall-back.
   */
  modelChanged(model: InstalledModel, heads: readonly LearntHead[]): void;
  /**
   * The learnt labels that stand behind those of the model from the next result on, and those that do not fit to it.
   * After `modelChanged` those hold that it names, until this is called.
   */
  headsChanged?(model: InstalledModel, heads: HeadsInForce): void;
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
  /** How many sources there are; 1 where it is left out. */
  sources?: number;
  /**
   * Windows whose new sound is quieter than this everywhere are answered as silence, without a run, unless something
   * is on at their source; none are where it is left out. Told the level by `PipelineSource.piece`.
   */
  idle?: { belowDbfs: number; isOn: (source: number) => boolean };
  log: Logger;
  events: PipelineEvents;
  /** How long to wait before an engine that died is started again. */
  restartDelays?: { firstMs: number; maxMs: number };
  /** How long to wait before a model that was given up is tried again. */
  retryDelays?: { firstMs: number; maxMs: number };
}

/** One source, as it talks to the pipeline. */
export interface PipelineSource {
  /**
   * Sound starts anew, at another rate (Hz) perhaps: what is kept is forgotten.
   * @param realTime the sound cannot wait
   */
  begin(sampleRate: number, realTime: boolean): void;
  /** The level of a short piece of the sound of the next chunk; `endPosition` in samples since `begin`. */
  piece(endPosition: number, dbfs: number): void;
  /**
   * Takes mono samples at the capture rate. `endMs` is the wall clock of the last one. For sources that can
   * wait the promise resolves when there is room for more.
   */
  chunk(samples: Float32Array, endMs: number): void | Promise<void>;
  /** Sound breaks off: what waits or is being answered would be told as if it were heard now. */
  interrupt(): void;
  /** In a pause sound is kept, and no window is due. */
  setPaused(paused: boolean): void;
  /** Resolves when none of its windows is waiting or being answered, an engine that has to be started again included. */
  idle(): Promise<void>;
  counters(): SourceCounters;
  /** Has somebody look at the log-mel that the network sees, or nobody (null). */
  look(onColumns: OnColumns | null): void;
}

/**
 * From the capture streams to scores: keeps the last seconds of each source, decides when a window is due, has one
 * engine answer those of all sources, and swaps engines between two windows. Where sound cannot wait, the oldest
 * unserved window of a source is dropped; where it can (files), `chunk` returns a promise that holds the source back.
 *
 * Each part holds one piece of the state: the keeper which model is wanted, a feed what has been heard of a source and
 * what is due of it, the seat which engine is at work, the answering whose turn it is, the swap which engine is to come.
 */
export class Pipeline {
  /** In the order of their numbers; at least one. */
  readonly sources: readonly PipelineSource[];
  /** Sounds of one's own. */
  readonly learning: Learning;
  private readonly options: PipelineOptions;
  private readonly keeper: EngineKeeper;
  private readonly feeds: readonly SourceFeed[];
  private readonly seat: EngineSeat;
  private readonly answering: Answering;
  private readonly hotSwap: HotSwap;

  constructor(options: PipelineOptions) {
    const { events, log, windowSeconds, rateHz, keepSeconds, idle } = options;
    this.options = options;
    const learning: LearningParts = createLearning({
      startEngine: options.startEngine,
      seat: () => this.seat,
      answering: () => this.answering,
      wanted: () => this.keeper.wanted,
      windowSeconds,
      onHeadsChanged: (model, heads) => events.headsChanged?.(model, heads),
    });
    this.learning = learning;
    this.keeper = createEngineKeeper({
      startEngine: learning.startEngine,
      threads: options.threads,
      fallback: options.fallback,
      restartDelays: options.restartDelays,
      retryDelays: options.retryDelays,
      tryAgain: (model) => this.hotSwap.attempt(model),
      events,
      onRestarted: (engine) => this.seat.adopt(engine, []),
    });
    this.feeds = Array.from({ length: options.sources ?? 1 }, (_, source) =>
      createSourceFeed({
        source,
        rateHz,
        keepSeconds,
        windowSeconds,
        idleBelowDbfs: idle?.belowDbfs ?? null,
      }),
    );
    const sounds = this.feeds.map(({ sound }) => sound);
    this.seat = createEngineSeat({
      sounds,
      onAdopted(engine) {
        events.modelChanged(engine.model, learning.headsOf(engine));
        learning.adopted(engine);
      },
      onReady: () => this.answering.dispatch(),
      onLost: (error) => this.keeper.failed(error),
      log,
    });
    this.answering = createAnswering({
      feeds: this.feeds,
      seat: this.seat,
      isOn: idle?.isOn ?? (() => false),
      learning,
      onResult: (result) => {
        if (!result.idle) this.keeper.answered();
        events.result(result);
      },
      log,
    });
    const { keeper, seat, answering } = this;
    this.hotSwap = createHotSwap({ keeper, sounds, seat, answering });
    this.sources = this.feeds.map((feed) => this.sourceOf(feed));
  }

  private sourceOf(feed: SourceFeed): PipelineSource {
    const { keeper, seat, answering } = this;
    return {
      begin: (captureRate, realTime) => {
        const { windowSeconds } = this;
        const minSeconds = Math.min(this.model.manifest.input.min_seconds, windowSeconds);
        feed.begin({ captureRate, realTime, minSeconds, windowSeconds });
        answering.breakOff(feed);
        seat.reconnect(feed.source);
      },
      piece: (endPosition, dbfs) => feed.piece(endPosition, dbfs),
      chunk(samples, endMs) {
        if (keeper.stopped) return;
        const arrivedAt = performance.now();
        const due = feed.take(samples, seat.streamOf(feed.source));
        return answering.due(feed, due, endMs, arrivedAt);
      },
      interrupt: () => answering.breakOff(feed),
      setPaused(paused) {
        if (!feed.setPaused(paused)) return;
        if (paused) answering.breakOff(feed);
        // What was to be heard during the pause is not to be told after it.
        else answering.skipToNow(feed);
      },
      idle: () => answering.idle([feed]),
      counters: () => feed.counters(),
      look(onColumns) {
        feed.onColumns = onColumns;
      },
    };
  }

  get model(): InstalledModel {
    return this.keeper.wanted;
  }

  /**
   * Length of a full window of `model`, in seconds: the configured one where it takes that. Before a model is loaded nobody
   * knows whether its window is fixed.
   */
  get windowSeconds(): number {
    const fixedWindow = this.seat.engine?.fixedWindow ?? false;
    return fullWindowSeconds({ manifest: this.model.manifest, fixedWindow }, this.options.windowSeconds);
  }

  /** Ids of the processes that hold models. */
  get pids(): number[] {
    const { engine } = this.seat;
    return engine === null ? [] : [engine.pid];
  }

  /** How the model at work is computed as a stream; null where it is not. */
  get stream(): EngineStream | null {
    return this.seat.engine?.stream ?? null;
  }

  /** Whether a model is loaded and answers. */
  get ready(): boolean {
    return this.seat.engine !== null;
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
    return this.answering.waiting(now);
  }

  /** Windows of all sources, and engines started again, since the start. */
  counters(): SourceCounters & { restarts: number } {
    const all = this.feeds.map((feed) => feed.counters());
    const sum = (key: keyof SourceCounters) => all.reduce((total, counters) => total + counters[key], 0);
    return {
      processed: sum('processed'),
      dropped: sum('dropped'),
      idle: sum('idle'),
      streamed: sum('streamed'),
      begun: sum('begun'),
      restarts: this.keeper.restarts,
    };
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
    else if (first !== null) this.seat.adopt(first, []);
  }

  /** The inference rate of all sources in Hz, from the last window on. */
  setRate(rateHz: number): void {
    for (const feed of this.feeds) feed.setRate(rateHz);
  }

  /** How many seconds of sound have to be kept for a swap to a model with a longer window. */
  keep(seconds: number): void {
    for (const { sound } of this.feeds) sound.keep(seconds);
  }

  /** Resolves when no window is waiting or being answered, an engine that has to be started again included. */
  idle(): Promise<void> {
    return this.answering.idle(this.feeds);
  }

  /**
   * Hot swap: starts a second process with the model, feeds it the last seconds of each source, lets it answer once for
   * each, and switches all of them between two windows. Until then the old model goes on; on any error it simply stays.
   * Throws a SoundpostError: `busy` while another swap runs, else what is wrong with the model.
   */
  async swap(model: InstalledModel, options: SwapOptions = {}): Promise<{ loadMs: number }> {
    const changed = await this.hotSwap.to(model, options);
    this.keeper.settleFor();
    return changed;
  }

  /** Ends every engine, and resolves when none is left. */
  async stop(): Promise<void> {
    const launched = this.keeper.stop();
    for (const { sound } of this.feeds) sound.end();
    const swapped = this.hotSwap.stop();
    this.answering.stop();
    const engine = this.seat.vacate();
    await Promise.allSettled([engine?.stop(), swapped, launched]);
  }
}
