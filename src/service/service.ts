import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createLevelMeter } from '../audio/level.js';
import { chunkSecondsFor, type AudioSink } from '../audio/source.js';
import { removeTemporaries } from '../common/atomic-file.js';
import { createHealthFile } from './health-file.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { ProblemFeed } from '../common/problem-feed.js';
import type { Config } from '../config/schema.js';
import { openStateStore } from '../config/state-store.js';
import { optimizedFolderIn } from '../inference/optimized-copy.js';
import { Pipeline } from '../inference/pipeline.js';
import { withSelfTest } from '../inference/self-test.js';
import { createStartEngine } from '../inference/start-engine.js';
import { convertCheckpoint } from '../convert/convert.js';
import { createInstaller } from '../install/installer.js';
import { createUpdateLock, updateLockPath } from '../install/update-lock.js';
import { BUNDLED_MODEL } from '../models/bundled.js';
import { createRegistry } from '../models/registry.js';
import { startEmbeddedBroker, type EmbeddedBroker } from '../mqtt/broker.js';
import { commandTable } from '../mqtt/command-table.js';
import { createCommandRouter } from '../mqtt/commands.js';
import { isoTime } from '../mqtt/contract.js';
import { openDiskOutbox } from '../mqtt/disk-outbox.js';
import { clientIdOf, createLink } from '../mqtt/link.js';
import { createAnnouncer } from './announcer.js';
import { brokerAccess } from './broker-access.js';
import { chooseSource } from './choose-source.js';
import { createClockWatch } from './clock-watch.js';
import { createControl } from './control.js';
import { createHealth } from './health.js';
import { forwardProblems } from './forward-problems.js';
import { openHomeAssistant } from '../home-assistant/home-assistant.js';
import { createInfo, knownModels } from './info.js';
import { createInputControl } from './input.js';
import { openLabelMemory } from './label-memory.js';
import { watchModels } from './model-watch.js';
import {
  logRemembered,
  safeModeMessage,
  safeWishes,
  startingWishes,
  withUsableLabels,
} from './remembered.js';
import { createState, initialState, shownState, standIn } from './state.js';
import { createTelemetryLoop } from './telemetry.js';
import { createThermalControl } from './thermal.js';
import { createLatencyRecorder } from '../telemetry/latency.js';
import { createRateMeter } from '../telemetry/rate.js';

const LEVEL_INTERVAL_MS = 5_000;

/** A reason of whatever origin with one full stop at its end. */
const sentence = (text: string): string => `${text.replace(/\.+$/, '')}.`;

export interface Service {
  /** Resolves when everything is at work. Throws SoundpostError where it cannot work at all. */
  start(): Promise<void>;
  /** Ends what is on, says offline, and leaves no process and no timer behind. Idempotent. */
  stop(): Promise<void>;
}

/**
 * The composition root: builds the parts, wires them, starts them in order and stops them in the reverse one.
 * Sound flows source → level, pipeline → announcer → link; commands flow link → router → control.
 */
export function createService(options: {
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
}): Service {
  const { config, root, version, log } = options;
  const undo: (() => void | Promise<void>)[] = [];
  let starting: Promise<void> = Promise.resolve();
  let stopping: Promise<void> | null = null;

  let isAtWork = false;
  function atWork(): void {
    if (!isAtWork) options.onAtWork?.();
    isAtWork = true;
  }

  /** A start takes a while; a stop that comes in the middle of it must not be overtaken by the rest of it. */
  function goOn(): void {
    if (stopping !== null) throw new SoundpostError('aborted', 'The start was called off');
  }

  async function start(): Promise<void> {
    await mkdir(join(config.data_dir, 'run'), { recursive: true }).catch((error: unknown) => {
      throw new SoundpostError(
        'data_dir',
        `data_dir ${config.data_dir} cannot be written to (${messageOf(error)}): choose another folder or change its owner`,
      );
    });
    for (const folder of [config.data_dir, join(config.data_dir, 'run')]) await removeTemporaries(folder);
    const store = await openStateStore({ dataDir: config.data_dir, log });
    undo.push(() => store.stop());
    let safeMode = options.safeMode ?? null;
    const wishes =
      safeMode === null
        ? withUsableLabels(startingWishes(config, store), config, log)
        : safeWishes(config, BUNDLED_MODEL);
    if (safeMode === null) logRemembered(wishes, config, log);
    else log.error({ code: 'safe_mode' }, safeModeMessage(safeMode.reason, BUNDLED_MODEL));

    const registry = createRegistry({
      bundledFolder: join(root, 'models'),
      dataDir: config.data_dir,
      log,
    });
    const updateLock = createUpdateLock({ path: options.updateLockPath ?? updateLockPath({}), log });
    const optimizedFolder = optimizedFolderIn(config.data_dir);
    const installer = createInstaller({
      registry,
      bundledFolder: join(root, 'models'),
      settings: {
        mirror: config.models.mirror,
        allowedHosts: config.models.allowed_hosts,
        requireDigest: config.models.require_digest,
      },
      convert: convertCheckpoint,
      startEngine: createStartEngine({ log }),
      threads: config.model.threads,
      optimizedFolder,
      updateLock,
      log,
    });
    await installer.removeLeftovers();
    const fallback = await registry.get(BUNDLED_MODEL);
    const wanted = await registry.get(wishes.modelId).catch((error: unknown) => {
      log.error({ code: codeOf(error) }, `${messageOf(error)} Going on with ${BUNDLED_MODEL}`);
      return fallback;
    });

    const outbox = await openDiskOutbox({
      folder: join(config.data_dir, 'outbox'),
      maxBytes: config.mqtt.outbox.max_mb * 1_000_000,
      log,
    });
    undo.push(() => outbox.close());
    goOn();

    const broker: EmbeddedBroker | null =
      config.mqtt.url === ''
        ? await startEmbeddedBroker({ ...config.broker, ownClientId: clientIdOf(config.device.id), log })
        : null;
    if (broker !== null) undo.push(() => broker.stop());
    goOn();

    const source = await chooseSource({
      config,
      device: wishes.audioDevice,
      chunkSeconds: chunkSecondsFor(wishes.rateHz),
      root,
      demoAllowed: broker !== null,
      log,
    });
    goOn();

    // The link and the router know each other; requests only come once the link has started.
    const link = createLink({
      url: broker?.url ?? config.mqtt.url,
      ...(broker === null ? brokerAccess(config) : { openStream: () => broker.connect() }),
      protocolVersion: broker === null ? config.mqtt.protocol_version : 4,
      keepaliveSeconds: config.mqtt.keepalive_seconds,
      baseTopic: config.mqtt.base_topic,
      deviceId: config.device.id,
      outbox,
      log,
      onRequest: (message) => router.handle(message),
      ...(config.homeassistant.enabled && {
        birthTopic: config.homeassistant.status_topic,
        onBirth: (text: string) => homeAssistant.birth(text),
      }),
    });
    const state = createState(initialState(wishes, source.kind), (now) => {
      homeAssistant.stateChanges(now);
      link.publish('state', shownState(now));
    });
    const installed = await registry.list();
    const latency = createLatencyRecorder();
    const rate = createRateMeter();
    const labelMemory = openLabelMemory({ dataDir: config.data_dir, log });
    undo.push(() => labelMemory.stop());
    const announcer = createAnnouncer({
      link,
      settings: wishes.tagging,
      // In safe mode those set over MQTT are not in effect.
      keptLabels: safeMode === null ? [] : startingWishes(config, store).tagging.labels,
      installed,
      topK: config.tagging.top_k,
      memory: labelMemory,
      latency,
      log,
    });
    const level = createLevelMeter();
    const windowLevel = level.reader();
    const pipeline = new Pipeline({
      startEngine: withSelfTest(createStartEngine({ log, optimizedFolder }), log),
      fallback,
      rateHz: wishes.rateHz,
      windowSeconds: config.inference.window_seconds,
      threads: config.model.threads,
      keepSeconds: Math.max(...installed.map(({ manifest }) => manifest.input.window_seconds)),
      log,
      events: {
        result(result) {
          atWork();
          rate.window(result.answeredAt);
          announcer.result(result, windowLevel.take()?.dbfs ?? null);
        },
        modelChanged(model) {
          announcer.modelChanged(model);
          state.change({ model: model.manifest.id, stand_in: standIn(pipeline.givenUp, model) });
          // A model that stands in may say more or less finely when a sound is; a swap tells of that itself.
          if (isInformed && state.now.swap.state === 'idle') refreshInfo();
        },
        engineLost({ code, reason, delayMs }) {
          announcer.close();
          log.error(
            { code },
            `${sentence(reason)} Starting the model again in ${Math.ceil(delayMs / 1000)} s`,
          );
        },
        fellBack({ from, to, reason, retryAtMs }) {
          announcer.close();
          log.error(
            { code: 'model_given_up' },
            `${from.manifest.id} is given up: ${sentence(reason)} Going on with ${to.manifest.id}; it is tried again at ${isoTime(retryAtMs)}`,
          );
        },
        stillOut({ model, reason, retryAtMs }) {
          log.warn(
            { code: 'model_given_up' },
            `${model.manifest.id} was tried again and does not work yet: ${sentence(reason)} The next try is at ${isoTime(retryAtMs)}`,
          );
          state.change({ stand_in: standIn(pipeline.givenUp, pipeline.model) });
        },
        cameBack(model) {
          log.info({}, `${model.manifest.id} works again and has taken over`);
          state.change({ stand_in: null });
        },
      },
    });
    pipeline.setPaused(wishes.paused);

    const health = createHealth({
      log,
      file: createHealthFile({ dataDir: config.data_dir }),
      dataDir: config.data_dir,
      link,
      pipeline,
      state,
    });
    const homeAssistant = openHomeAssistant({
      config,
      version,
      link,
      catalogue: await knownModels(installer, log),
      watched: () => announcer.named(),
      keepsGone: safeMode !== null || options.configIncomplete === true,
      log,
    });
    undo.push(() => homeAssistant.stop());
    const publishInfo = createInfo({
      config,
      version,
      configProblems: options.configProblems ?? [],
      safeModeReason: () => safeMode?.reason ?? null,
      model: () => (pipeline.ready ? pipeline.model : null),
      thresholds: () => announcer.thresholds(),
      registry,
      installer,
      link,
      installed: (ids) => homeAssistant.installed(ids),
      log,
    });
    let isInformed = false;
    const refreshInfo = () => {
      publishInfo().catch((error: unknown) => {
        log.warn({ code: codeOf(error) }, `The models cannot be listed: ${messageOf(error)}`);
      });
    };
    const telemetry = createTelemetryLoop({
      config,
      intervalSeconds: wishes.telemetryIntervalSeconds,
      link,
      state,
      pipeline,
      source,
      latency,
      rate,
      refusedCommands: () => router.counters().refused,
      onError: (error) => log.warn({ code: 'telemetry' }, `telemetry could not be read: ${messageOf(error)}`),
    });
    // As fast as it can is a wish, too, and a lower rate would not slow it down.
    const asFastAsItCan = source.kind === 'file' && config.audio.speed === 'max';
    const thermal = createThermalControl({ config, isIdle: asFastAsItCan, pipeline, state, log });
    const control = createControl({
      config,
      registry,
      installer,
      updateLock,
      pipeline,
      announcer,
      telemetry,
      input: createInputControl({ config, source, state, store }),
      state,
      store,
      tagging: wishes.tagging,
      rate,
      thermal,
      health: () => health.report(),
      publishInfo,
      onRestart: options.onRestart ?? (() => undefined),
      async onModelChosen() {
        await safeMode?.modelChosen();
        safeMode = null;
      },
      log,
    });
    const router = createCommandRouter({
      commands: commandTable(control),
      topics: link.topics,
      reply: (reply) => link.reply(reply),
      foreignResponseTopics: config.mqtt.foreign_response_topics,
      log,
    });
    undo.push(() => link.stop());
    undo.push(() => control.stop());
    undo.push(() => router.stop());

    const clock = createClockWatch();
    /** No event and no window may have its beginning on the old clock and its end on the new one. */
    const clockWasSet = (jumpedMs: number) => {
      log.warn(
        { code: 'clock_set' },
        `The clock went ${jumpedMs < 0 ? 'back' : 'ahead'} by ${Math.round(Math.abs(jumpedMs) / 1000)} s (it was set, or the machine slept): what is on ends, and begins anew`,
      );
      announcer.close();
      pipeline.interrupt();
    };

    const sink: AudioSink = {
      begin({ sampleRate, name }) {
        announcer.close();
        rate.reset();
        windowLevel.take();
        pipeline.begin(sampleRate, source.realTime);
        log.info({}, `Hearing ${name} at ${sampleRate} Hz`);
      },
      chunk(samples, endTimeMs) {
        const jumpedMs = clock.look(Date.now(), performance.now());
        if (jumpedMs !== 0) clockWasSet(jumpedMs);
        level.add(samples);
        return pipeline.chunk(samples, endTimeMs);
      },
      status(status) {
        health.audio(status);
        link.publish('audio/status', status.state);
        if (status.state === 'offline') pipeline.interrupt();
        announcer.setAudible(status.state === 'online');
      },
      end() {
        void pipeline.idle().then(() => {
          sink.status({ state: 'offline', code: 'ended', reason: 'the recording is over' });
          log.info({}, 'The recording is over; nothing more to hear');
        });
      },
    };

    await link.start();
    goOn();
    undo.push(forwardProblems(options.problems, link));
    link.publish('audio/status', 'offline');
    // The broker may have what an earlier life was at: loading the model takes a while.
    link.publish('state', shownState(state.now));
    undo.push(() => announcer.close());
    undo.push(() => pipeline.stop());
    await pipeline.start(wanted);
    thermal.start();
    undo.push(() => thermal.stop());
    await publishInfo();
    isInformed = true;
    undo.push(watchModels({ folder: registry.installedFolder, onChange: refreshInfo }));
    goOn();

    undo.push(() => source.stop());
    await source.start(sink);
    goOn();

    telemetry.start();
    undo.push(() => telemetry.stop());
    const levelTimer = setInterval(() => {
      const now = level.take();
      if (now !== null) {
        link.publish('level', {
          ts: isoTime(Date.now()),
          dbfs: Math.round(now.dbfs * 10) / 10,
          peak_dbfs: Math.round(now.peakDbfs * 10) / 10,
        });
      }
    }, LEVEL_INTERVAL_MS);
    undo.push(() => clearInterval(levelTimer));
    health.start();
    undo.push(() => health.stop());
    // From here on, first of all: no command may begin something in what is being taken down.
    undo.push(() => router.stop());

    // Without sound, or paused, nothing is answered; being there for the broker is all the work there is.
    if (pipeline.ready) {
      link.onStatus(({ state: now }) => {
        if (now === 'connected') atWork();
      });
    }

    const { base } = link.topics;
    log.info(
      {},
      `Tagging ${source.kind} with ${pipeline.model.manifest.id} at ${wishes.rateHz} Hz as ${base}`,
    );
    if (broker !== null) {
      log.info(
        {},
        `Read along: mosquitto_sub -h ${new URL(broker.url).hostname} -p ${broker.port}${config.broker.password === '' ? '' : ` -u ${config.broker.username} -P …`} -t '${base}/#' -v`,
      );
    }
  }

  async function stopAll(): Promise<void> {
    for (const step of undo.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        log.warn({ code: 'stop' }, `while stopping: ${messageOf(error)}`);
      }
    }
  }

  return {
    start: () =>
      (starting = start().catch(async (error: unknown) => {
        await stopAll();
        throw error;
      })),
    stop: () =>
      (stopping ??= (async () => {
        // What has begun is ended first: that is what makes a start that hangs give up.
        await stopAll();
        await starting.catch(() => undefined);
      })()),
  };
}
