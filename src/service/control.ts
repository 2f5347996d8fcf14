import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import type { StateStore } from '../config/state-store.js';
import type { Pipeline } from '../inference/pipeline.js';
import type { Installer } from '../install/installer.js';
import type { UpdateLock } from '../install/update-lock.js';
import type { ModelRegistry } from '../models/registry.js';
import type { ServiceControl } from '../mqtt/command-table.js';
import { createClipCommands } from './commands/find-clips.js';
import { createModelChoice } from './commands/choose-model.js';
import { createModelInstalls } from './commands/install-models.js';
import { listModels } from './commands/list-models.js';
import { createPaceCommands } from './commands/set-pace.js';
import { createThresholdCommands } from './commands/suggest-thresholds.js';
import { createTaggingCommands } from './commands/set-tagging.js';
import type { HealthReport } from './health-file.js';
import type { PublishInfo } from './info.js';
import type { InputControl } from './input.js';
import type { Keeping } from './keeping.js';
import type { Listening } from './listening.js';
import type { StateHolder } from './state.js';
import type { TelemetryLoop } from './telemetry.js';
import type { ThermalControl } from './thermal.js';

/**
 * What commands do to the service. Each change is applied, remembered, and then shown in `B/state`. `commands/` has them
 * by family.
 */
export function createControl(options: {
  config: Config;
  registry: ModelRegistry;
  installer: Installer;
  updateLock: UpdateLock;
  pipeline: Pipeline;
  sources: readonly Listening[];
  telemetry: TelemetryLoop;
  input: InputControl;
  state: StateHolder;
  store: StateStore;
  thermal: Pick<ThermalControl, 'request'>;
  keeping: Pick<Keeping, 'commands' | 'clips' | 'history'>;
  learn: ServiceControl['learn'];
  /** Where the page has a clip; null where there is no page. */
  urlOf: (clipId: string) => string | null;
  health: () => HealthReport;
  /** Publishes `B/info`, which has the thresholds in force too, and resolves to it. */
  publishInfo: PublishInfo;
  onRestart: () => void;
  /** A model was chosen and works. */
  onModelChosen?: () => Promise<void>;
  log: Logger;
}): ServiceControl & { stop(): void } {
  const { registry, installer, input, keeping, publishInfo } = options;
  const tagging = createTaggingCommands(options);
  const thresholds = createThresholdCommands({
    history: keeping.history,
    sources: options.sources.map(({ name, announcer, tally }) => ({
      name,
      tally,
      namesLabels: () => announcer.namesLabels(),
    })),
    setThreshold: (value, label, source) => tagging.setThreshold(value, label, source),
  });
  return {
    ...createModelChoice(options),
    ...createModelInstalls(options),
    models: () => listModels(registry, installer),
    ...createPaceCommands(options),
    ...tagging,
    thresholds,
    inputs: (signal) => input.list(signal),
    setInput: (device, signal, source) => input.choose(device, signal, source),
    restart: () => options.onRestart(),
    info: () => publishInfo(),
    health: () => Promise.resolve({ ...options.health() }),
    history: keeping.commands,
    learn: options.learn,
    clips: createClipCommands(keeping.clips, options.urlOf),
  };
}
