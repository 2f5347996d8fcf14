import type { Logger } from '../common/log.js';
import type { ProblemFeed } from '../common/problem-feed.js';
import type { Config } from '../config/schema.js';
import { openHomeAssistant } from '../home-assistant/home-assistant.js';
import type { EmbeddedBroker } from '../mqtt/broker.js';
import type { Link } from '../mqtt/link.js';
import { openLink, readAlong, startOwnBroker } from './broker.js';
import { openDisk, type Disk } from './disk.js';
import { forwardProblems } from './forward-problems.js';
import { createHealth, type Health } from './health.js';
import { createHealthFile } from './health-file.js';
import { createHearing, type Hearing } from './hearing.js';
import type { ListeningTo } from './listening.js';
import { openSources } from './open-sources.js';
import { createInfo, createInfoRefresh, knownModels, type InfoRefresh } from './info.js';
import { startLevelLoop } from './level-loop.js';
import { openKeeping } from './keeping.js';
import { createLife, type Life } from './life.js';
import { createPage, type Page } from './page.js';
import { watchModels } from './model-watch.js';
import { sourceWishes } from './remembered.js';
import { startSources, stopSources } from './start-sources.js';
import { createState, initialState, shownState, type StateHolder } from './state.js';
import { createSteering, type Steering } from './steering.js';

export interface Service {
  /** Resolves when everything is at work. Throws SoundpostError where it cannot work at all. */
  start(): Promise<void>;
  /** Ends what is on, says offline, and leaves no process and no timer behind. Idempotent. */
  stop(): Promise<void>;
}

/** What the composition root is told. */
export interface ServiceOptions {
  config: Config;
  /** The program's folder, with models/ and config/. */
  root: string;
  version: string;
  log: Logger;
  /** Warnings and errors of this process, for `B/log`. */
  problems: ProblemFeed;
  /** Asked for over MQTT: the process is to end and to be started again by whoever started it. */
  onRestart?: () => void;
  /** Where balena looks for the update lock. */
  updateLockPath?: string;
  /** Called when the service does what it is there for: a window was answered, or it is whole and connected. */
  onAtWork?: () => void;
  /** What was wrong with the configuration and has been left out of it; for `B/info`. */
  configProblems?: readonly string[];
  /** Whether that was more than variables that may be somebody else's. */
  configIncomplete?: boolean;
  /**
   * Why this start does without the configured model and what is remembered (see service/start-guard.ts), and who
   * wants to know when somebody has chosen a model.
   */
  safeMode?: { reason: string; modelChosen: () => Promise<void> } | null;
}

/** What there is before anything is wired: what the disk gives, the broker in this process, and the sound. */
interface Ground {
  disk: Disk;
  /** Null where another broker is configured. */
  broker: EmbeddedBroker | null;
  /** What there is to listen to; at least one. */
  to: readonly ListeningTo[];
}

/** The parts, wired and not yet at work. */
interface Parts {
  link: Link;
  state: StateHolder;
  hearing: Hearing;
  steering: Steering;
  health: Health;
  info: InfoRefresh;
  page: Page;
}

/**
 * The composition root: builds the parts, wires them, starts them in order and stops them in the reverse one.
 * Sound flows from each source → level, pipeline → announcer → link; commands flow link → router → control.
 */
export function createService(options: ServiceOptions): Service {
  let isAtWork = false;
  const atWork = () => {
    if (!isAtWork) options.onAtWork?.();
    isAtWork = true;
  };
  return createLife(async (life) => {
    const ground = await prepare(options, life);
    const parts = await wire(options, ground, life, atWork);
    await setToWork(options, ground, parts, life);
    // Without sound, or paused, nothing is answered; being there for the broker is all the work there is.
    if (parts.hearing.pipeline.ready) {
      parts.link.onStatus(({ state }) => {
        if (state === 'connected') atWork();
      });
    }
    sayReady(options, ground, parts);
  }, options.log);
}

async function prepare(options: ServiceOptions, life: Life): Promise<Ground> {
  const { config, root, log } = options;
  const disk = await openDisk(
    {
      config,
      root,
      updateLockPath: options.updateLockPath,
      safeModeReason: options.safeMode?.reason ?? null,
      log,
    },
    life,
  );
  life.goOn();
  const broker = await startOwnBroker(config, log, life);
  life.goOn();
  const to = await openSources({
    config,
    store: disk.store,
    isSafeMode: options.safeMode != null,
    rateHz: disk.wishes.rateHz,
    root,
    demoAllowed: broker !== null,
    log,
  });
  life.goOn();
  return { disk, broker, to };
}

/** Makes the parts known to each other. Some are named before they are made: they are only called later. */
async function wire(
  options: ServiceOptions,
  { disk, broker, to }: Ground,
  life: Life,
  onAnswered: () => void,
): Promise<Parts> {
  const { config, version, log } = options;
  const { wishes, registry, installer, outbox } = disk;
  let safeMode = options.safeMode ?? null;
  const keeping = openKeeping({
    config,
    sources: to.map((one) => one.config.name),
    life,
    log,
  });
  disk.onMadeEnd((event) => keeping.event(event));
  const page = createPage({
    config,
    root: options.root,
    link: openLink({
      config,
      broker,
      outbox,
      sources: to.length > 1 ? to.map((one) => one.config.name) : [],
      onRequest: (message) => steering.router.handle(message),
      onBirth: (text) => homeAssistant.birth(text),
      log,
    }),
    execute: (command, body) => steering.router.request(command, body),
    clips: () => keeping.clips,
    sources: () => hearing.sources,
    log,
  });
  const { link } = page;
  const state = createState(initialState(wishes, to), (now) => {
    homeAssistant.stateChanges(now);
    link.publish('state', shownState(now));
  });
  const hearing = createHearing({
    config,
    disk,
    to,
    // In safe mode those set over MQTT are not in effect.
    keptLabels(source) {
      const one = to[source]!;
      return safeMode === null ? [] : sourceWishes(one.config, one.store).tagging.labels;
    },
    installed: await registry.list(),
    link,
    state,
    keeping,
    life,
    onAnswered,
    // A model that stands in may say more or less finely when a sound is; a swap tells of that itself.
    onOtherModel: () => info.again(),
    onLearntChanged() {
      // What is described to Home Assistant is looked at with every change of the state.
      state.change({});
      info.again();
    },
    log,
  });
  const { pipeline, sources } = hearing;
  const file = createHealthFile({ dataDir: config.data_dir });
  const health = createHealth({ log, file, dataDir: config.data_dir, link, hearing, state });
  const homeAssistant = openHomeAssistant({
    config,
    version,
    link,
    catalogue: await knownModels(installer, log),
    sources: sources.map(({ name, announcer, config: { audio } }) => ({
      name,
      watched: () => announcer.named(),
      calibrated: audio.calibration_db !== null,
      remembers: keeping.history !== null,
    })),
    keepsGone: safeMode !== null || options.configIncomplete === true,
    log,
  });
  life.onStop(() => homeAssistant.stop());
  const publishInfo = createInfo({
    config,
    version,
    configProblems: options.configProblems ?? [],
    safeModeReason: () => safeMode?.reason ?? null,
    model: () => (pipeline.ready ? pipeline.model : null),
    windowSeconds: () => pipeline.windowSeconds,
    thresholds: () =>
      sources.flatMap(({ announcer, link: { source } }) =>
        announcer.thresholds().map((one) => (source === null ? one : { ...one, source })),
      ),
    registry,
    installer,
    link,
    installed: (ids) => homeAssistant.installed(ids),
    log,
  });
  const info = createInfoRefresh(publishInfo, log);
  const steering = createSteering({
    config,
    disk,
    link,
    state,
    hearing,
    health,
    keeping,
    urlOf: (id) => page.urlOf(id),
    publishInfo,
    life,
    onRestart: options.onRestart ?? (() => undefined),
    async onModelChosen() {
      await safeMode?.modelChosen();
      safeMode = null;
    },
    log,
  });
  return { link, state, hearing, steering, health, info, page };
}

/** Starts the parts in order: what others need first, and the sound when there is a model to hear it. */
async function setToWork(
  options: ServiceOptions,
  { disk }: Ground,
  { link, state, hearing, steering, health, info, page }: Parts,
  life: Life,
): Promise<void> {
  const { pipeline, sources } = hearing;
  const { router, telemetry, thermal } = steering;
  await link.start();
  life.goOn();
  life.onStop(() => page.stop());
  await page.start();
  life.goOn();
  life.onStop(forwardProblems(options.problems, link));
  link.publish('audio/status', 'offline');
  for (const source of sources) {
    if (source.link.source !== null) source.link.publish('audio/status', 'offline');
  }
  // The broker may have what an earlier life was at: loading the model takes a while.
  link.publish('state', shownState(state.now));
  life.onStop(() => hearing.close());
  life.onStop(() => pipeline.stop());
  await hearing.teaching.start();
  life.goOn();
  await pipeline.start(disk.wanted);
  thermal.start();
  life.onStop(() => thermal.stop());
  await info.first();
  life.onStop(watchModels({ folder: disk.registry.installedFolder, onChange: () => info.again() }));
  life.goOn();

  life.onStop(() => stopSources(sources));
  await startSources(sources, life, options.log);

  telemetry.start();
  life.onStop(() => telemetry.stop());
  life.onStop(
    startLevelLoop(
      sources.map((source) => ({ ...source, calibrationDb: source.config.audio.calibration_db })),
    ),
  );
  health.start();
  life.onStop(() => health.stop());
  // From here on, first of all: no command may begin something in what is being taken down.
  life.onStop(() => router.stop());
}

/** Says in the log what the service is at. */
function sayReady(
  { config, log }: ServiceOptions,
  { disk, broker, to }: Ground,
  { link, hearing }: Parts,
): void {
  const { base } = link.topics;
  const { id } = hearing.pipeline.model.manifest;
  log.info({}, `Tagging ${heardOf(to)} with ${id} at ${disk.wishes.rateHz} Hz as ${base}`);
  if (broker !== null) log.info({}, readAlong(broker, config, base));
}

/** What is listened to, for people. */
function heardOf(to: readonly ListeningTo[]): string {
  const [first, ...others] = to;
  if (others.length === 0) return first!.audio.kind;
  return to.map(({ config, audio }) => `${config.name} (${audio.kind})`).join(', ');
}
