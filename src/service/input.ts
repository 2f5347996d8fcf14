import { findDevice, listInputDevices, type InputDevice } from '../audio/devices.js';
import type { Microphone } from '../audio/microphone.js';
import type { AudioSource } from '../audio/source.js';
import { SoundpostError } from '../common/errors.js';
import type { Config } from '../config/schema.js';
import { persistence, type StateStore } from '../config/state-store.js';
import type { CommandData } from '../mqtt/command-specs.js';
import type { StateHolder } from './state.js';

/** Below the time limit of the commands, so that the reply says what hangs. */
const LIST_TIMEOUT_MS = 8_000;

/** The inputs of the machine, and the change from one to another. */
export interface InputControl {
  /** Throws SoundpostError as `listInputDevices` does. */
  list(signal: AbortSignal): Promise<CommandData<'audio/list'>>;
  /**
   * Changes to the input that `device` names (part of a name, or an index), null for the default one, and
   * remembers it. Throws SoundpostError `not_a_microphone` where the sound comes from elsewhere, and as
   * `findDevice` and `listInputDevices` do; then nothing has changed.
   */
  choose(device: string | number | null, signal: AbortSignal): Promise<CommandData<'audio/set'>>;
}

export function createInputControl(options: {
  config: Config;
  source: AudioSource;
  state: StateHolder;
  store: StateStore;
}): InputControl {
  const { config, source, state, store } = options;

  /** What is open now is in the list too: the sound system hides it while it is in use. */
  const devices = async (signal: AbortSignal): Promise<InputDevice[]> => {
    const { devices: listed } = await listInputDevices({ timeoutMs: LIST_TIMEOUT_MS, signal });
    signal.throwIfAborted();
    const open = openInput(source);
    return open === undefined || listed.some((device) => isSame(device, open)) ? listed : [open, ...listed];
  };

  return {
    async list(signal) {
      const found = await devices(signal);
      const open = openInput(source);
      return {
        source: source.kind,
        device: state.now.audio_device,
        devices: found.map((device) => ({
          index: device.index,
          name: device.name,
          host_api: device.hostApi,
          channels: device.channels,
          sample_rate_hz: device.defaultSampleRate,
          is_default: device.isDefault,
          in_use: open !== undefined && isSame(device, open),
        })),
      };
    },

    async choose(device, signal) {
      if (!isMicrophone(source)) throw new SoundpostError('not_a_microphone', whyNot(source.kind));
      const there = await devices(signal);
      const found = findDevice(there, device ?? undefined);
      const chosen = device === null ? null : lastingName(device, found, there);
      await source.setDevice(chosen ?? undefined);
      const shown = chosen === null ? null : String(chosen);
      state.change({ audio_device: shown });
      const saved = await store.set('audio_device', chosen ?? '', config.audio.device);
      return { device: shown, name: found.name, ...persistence(saved) };
    },
  };
}

function isMicrophone(source: AudioSource): source is Microphone {
  return source.kind === 'microphone';
}

function openInput(source: AudioSource): InputDevice | undefined {
  return isMicrophone(source) ? source.current() : undefined;
}

function isSame(a: InputDevice, b: InputDevice): boolean {
  return a.name === b.name && a.hostApi === b.hostApi;
}

/** An index changes when devices come and go: the name is kept instead, where it tells the input apart. */
function lastingName(
  wanted: string | number,
  found: InputDevice,
  there: readonly InputDevice[],
): string | number {
  const isNamed = typeof wanted === 'string' && found.name.toLowerCase().includes(wanted.toLowerCase());
  if (isNamed || there.filter(({ name }) => name === found.name).length > 1) return wanted;
  return found.name;
}

function whyNot(kind: AudioSource['kind']): string {
  return kind === 'demo'
    ? 'The demo recording plays, because there was no microphone at the start or because audio.source says so. Plug in a microphone and restart.'
    : `The sound comes from a ${kind}: set audio.source to "microphone" and restart.`;
}
