import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { commandTable } from '../mqtt/command-table.js';
import { createCommandRouter, type CommandRouter } from '../mqtt/commands.js';
import type { Link } from '../mqtt/link.js';
import { createControl } from './control.js';
import type { Disk } from './disk.js';
import type { Health } from './health.js';
import type { Hearing } from './hearing.js';
import type { PublishInfo } from './info.js';
import { createInputControl } from './input.js';
import type { Keeping } from './keeping.js';
import type { Life } from './life.js';
import type { StateHolder } from './state.js';
import { createTelemetryLoop, type TelemetryLoop } from './telemetry.js';
import { createThermalControl, type ThermalControl } from './thermal.js';

/** What changes the service while it runs: commands, and the heat. */
export interface Steering {
  readonly router: CommandRouter;
  readonly telemetry: TelemetryLoop;
  readonly thermal: ThermalControl;
}

/** Builds it; none of it runs yet, and commands are answered once the link has started. */
export function createSteering(options: {
  config: Config;
  disk: Disk;
  link: Link;
  state: StateHolder;
  hearing: Hearing;
  health: Pick<Health, 'report'>;
  keeping: Keeping;
  urlOf: (clipId: string) => string | null;
  publishInfo: PublishInfo;
  life: Pick<Life, 'onStop'>;
  onRestart: () => void;
  /** A model was chosen and works. */
  onModelChosen: () => Promise<void>;
  log: Logger;
}): Steering {
  const { config, disk, link, state, hearing, log } = options;
  const { pipeline, sources } = hearing;
  const { store, wishes, registry, installer, updateLock } = disk;
  const telemetry = createTelemetryLoop({
    config,
    intervalSeconds: wishes.telemetryIntervalSeconds,
    link,
    state,
    hearing,
    refusedCommands: () => router.counters().refused,
    onError: (error) => log.warn({ code: 'telemetry' }, `telemetry could not be read: ${messageOf(error)}`),
  });
  // As fast as it can is a wish, too, and a lower rate would not slow it down.
  const asFastAsItCan = sources.every(
    ({ audio, config: { audio: wanted } }) => audio.kind === 'file' && wanted.speed === 'max',
  );
  const thermal = createThermalControl({ config, isIdle: asFastAsItCan, pipeline, state, log });
  const control = createControl({
    config,
    registry,
    installer,
    updateLock,
    pipeline,
    sources,
    telemetry,
    input: createInputControl({ sources, state }),
    state,
    store,
    thermal,
    keeping: options.keeping,
    learn: hearing.teaching.commands,
    urlOf: options.urlOf,
    health: () => options.health.report(),
    publishInfo: options.publishInfo,
    onRestart: options.onRestart,
    onModelChosen: options.onModelChosen,
    log,
  });
  const router = createCommandRouter({
    commands: commandTable(control),
    topics: link.topics,
    reply: (reply) => link.reply(reply),
    foreignResponseTopics: config.mqtt.foreign_response_topics,
    log,
  });
  options.life.onStop(() => link.stop());
  options.life.onStop(() => control.stop());
  options.life.onStop(() => router.stop());
  return { router, telemetry, thermal };
}
