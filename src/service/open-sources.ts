import { chunkSecondsFor } from '../audio/source.js';
import { namedLogger, type Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { sourcesOf } from '../config/sources.js';
import type { StateStore } from '../config/state-store.js';
import { chooseSource } from './choose-source.js';
import type { ListeningTo } from './listening.js';
import { logRememberedOf, sourceWishes, withUsableLabels } from './remembered.js';

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
  const kept = configured.map((source): Kept => {
    const { tagging, name } = source;
    const store = options.store.of(isOne ? null : name);
    const wishes = sourceWishes(source, isSafeMode ? { get: () => undefined } : store);
    return {
      config: source,
      store,
      wishes: withUsableLabels(wishes, isOne ? { tagging } : { tagging, name }, log),
    };
  });
  const opened: ListeningTo[] = [];
  for (const { config: source, store, wishes } of withFreeDevices(kept, log)) {
    const { name } = source;
    if (!isSafeMode) logRememberedOf(wishes, source, isOne ? '' : ` at ${name}`, log);
    const audio = await chooseSource({
      audio: source.audio,
      dataDir: config.data_dir,
      device: wishes.audioDevice,
      chunkSeconds: chunkSecondsFor(rateHz),
      root,
      demoAllowed,
      log: isOne ? log : namedLogger(log, name),
    });
    opened.push({ config: source, audio, wishes, store });
  }
  return opened;
}

type Kept = Omit<ListeningTo, 'audio'>;

/**
 * The same sources, with the configured microphone where the one that was chosen over MQTT has become that of another
 * source: an input can be opened once, and one of the two would never be heard. What the configuration says is the newer
 * wish; its microphones differ (`source-rules.ts`), so that in the end all do.
 */
function withFreeDevices(kept: readonly Kept[], log: Logger): readonly Kept[] {
  const microphones = kept.filter(({ config }) => config.audio.source === 'microphone');
  const loser = firstLoser(microphones);
  if (loser === undefined) return kept;
  const { config, wishes } = loser;
  const { device } = config.audio;
  log.warn(
    { code: 'device_in_use' },
    `The microphone "${wishes.audioDevice || 'default input'}" that was chosen over MQTT for ${config.name} is that of another source now: going on with "${device || 'default input'}", as the configuration says`,
  );
  const settled = { ...loser, wishes: { ...wishes, audioDevice: device } };
  return withFreeDevices(
    kept.map((one) => (one === loser ? settled : one)),
    log,
  );
}

/** The first source whose chosen microphone is that of another one by its configuration, or by an earlier choice. */
function firstLoser(microphones: readonly Kept[]): Kept | undefined {
  const keyOf = (device: string | number) => String(device).toLowerCase();
  const isChosen = ({ config, wishes }: Kept) => keyOf(wishes.audioDevice) !== keyOf(config.audio.device);
  const taken = new Set(
    microphones.filter((one) => !isChosen(one)).map(({ wishes }) => keyOf(wishes.audioDevice)),
  );
  return microphones.filter(isChosen).find(({ wishes }) => {
    const key = keyOf(wishes.audioDevice);
    const isTaken = taken.has(key);
    taken.add(key);
    return isTaken;
  });
}
