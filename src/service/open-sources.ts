import { chunkSecondsFor } from '../audio/source.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { sourcesOf, type SourceConfig } from '../config/sources.js';
import type { StateStore } from '../config/state-store.js';
import { chooseSource } from './choose-source.js';
import type { ListeningTo } from './listening.js';
import { logRememberedOf, sourceWishes, withUsableLabels, type SourceWishes } from './remembered.js';

/**
 * What the configuration says is to be listened to, with what is remembered of it; none of it is at work yet. Throws
 * SoundpostError as `chooseSource` does.
 */
export async function openSources(options: {
  config: Config;
  store: StateStore;
  /** Without what is remembered. */
  isSafeMode: boolean;
  /** Windows a second, by which the length of chunks is chosen. */
  rateHz: number;
  root: string;
  demoAllowed: boolean;
  log: Logger;
}): Promise<readonly ListeningTo[]> {
  const { config, isSafeMode, rateHz, root, demoAllowed, log } = options;
  const configured = sourcesOf(config);
  const isOne = configured.length === 1;
  const opened: ListeningTo[] = [];
  const taken = new Set<string>();
  for (const source of configured) {
    const store = options.store.of(isOne ? null : source.name);
    const kept = sourceWishes(source, isSafeMode ? { get: () => undefined } : store);
    const { tagging, name } = source;
    const usable = withUsableLabels(kept, isOne ? { tagging } : { tagging, name }, log);
    const wishes = withFreeDevice(usable, source, taken, log);
    if (!isSafeMode) logRememberedOf(wishes, source, isOne ? '' : ` at ${name}`, log);
    const audio = await chooseSource({
      audio: source.audio,
      dataDir: config.data_dir,
      device: wishes.audioDevice,
      chunkSeconds: chunkSecondsFor(rateHz),
      root,
      demoAllowed,
      log,
    });
    opened.push({ config: source, audio, wishes, store });
  }
  return opened;
}

/**
 * The configured microphone, where the one that was chosen over MQTT has become that of a source before it: an input can
 * be opened once, and one of the two would never be heard.
 */
function withFreeDevice(
  wishes: SourceWishes,
  { name, audio }: SourceConfig,
  taken: Set<string>,
  log: Logger,
): SourceWishes {
  if (audio.source !== 'microphone') return wishes;
  const isTaken = taken.has(String(wishes.audioDevice));
  const audioDevice = isTaken ? audio.device : wishes.audioDevice;
  if (isTaken) {
    log.warn(
      { code: 'device_in_use' },
      `The microphone "${wishes.audioDevice}" that was chosen over MQTT for ${name} is that of another source now: going on with "${audio.device || 'default input'}", as the configuration says`,
    );
  }
  taken.add(String(audioDevice));
  return { ...wishes, audioDevice };
}
