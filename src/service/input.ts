import { findDevice, listInputDevices, type InputDevice } from '../audio/devices.js';
import type { Microphone } from '../audio/microphone.js';
import type { AudioSource } from '../audio/source.js';
import { SoundpostError } from '../common/errors.js';
import { persistence } from '../config/state-store.js';
import type { CommandData } from '../mqtt/command-specs.js';
import type { Listening } from './listening.js';
import type { StateHolder } from './state.js';
import { meantSource } from './which-source.js';

/** Below the time limit of the commands, so that the reply says what hangs. */
const LIST_TIMEOUT_MS = 8_000;

/** The inputs of the machine, and the change from one to another. */
export interface InputControl {
  /** Throws SoundpostError as `listInputDevices` does. */
  list(signal: AbortSignal): Promise<CommandData<'audio/list'>>;
  /**
   * Changes to the input that `device` names (part of a name, or an index), null for the default one, and
   * remembers it.
   * @param name of the source; left out: the only microphone
   *
   * Throws SoundpostError `source_unknown`, `source_required` where several are microphones, `not_a_microphone` where
   * the sound comes from elsewhere, and as `findDevice` and `listInputDevices` do; then nothing has changed.
   */
  choose(
    device: string | number | null,
    signal: AbortSignal,
    name?: string,
  ): Promise<CommandData<'audio/set'>>;
}

export function createInputControl(options: {
  sources: readonly Listening[];
  state: StateHolder;
}): InputControl {
  const { sources, state } = options;
  const inUse = () =>
    sources.flatMap(({ name, audio }) => {
      const device = openInput(audio);
      return device === undefined ? [] : [{ name, device }];
    });

  /** What is open now is in the list too: the sound system hides it while it is in use. */
  const devices = async (signal: AbortSignal): Promise<InputDevice[]> => {
    const { devices: listed } = await listInputDevices({ timeoutMs: LIST_TIMEOUT_MS, signal });
    signal.throwIfAborted();
    const hidden = inUse().filter(({ device }) => !listed.some((other) => isSame(other, device)));
    return [...hidden.map(({ device }) => device), ...listed];
  };

  /** The source that is to hear another input. */
  function meantOne(name: string | undefined): Listening {
    const microphones = sources.filter(({ audio }) => isMicrophone(audio));
    const found = meantSource(name, {
      names: sources.map((source) => source.name),
      fit: microphones.map((source) => source.name),
      what: 'microphones',
    });
    return sources.find((source) => source.name === found) ?? sources[0]!;
  }

  return {
    async list(signal) {
      const found = await devices(signal);
      const open = inUse();
      return {
        source: state.now.source,
        device: state.now.audio_device,
        devices: found.map((device) => {
          const users = open.filter((use) => isSame(use.device, device)).map((use) => use.name);
          return {
            index: device.index,
            name: device.name,
            host_api: device.hostApi,
            channels: device.channels,
            sample_rate_hz: device.defaultSampleRate,
            is_default: device.isDefault,
            in_use: users.length > 0,
            ...(sources.length > 1 && { used_by: users }),
          };
        }),
      };
    },

    async choose(device, signal, name) {
      const source = meantOne(name);
      const { audio, config, store } = source;
      if (!isMicrophone(audio)) {
        const why = sources.length === 1 ? whyNot(audio.kind) : whyNotOfSeveral(audio.kind, name);
        throw new SoundpostError('not_a_microphone', why);
      }
      const there = await devices(signal);
      const found = findDevice(there, device ?? undefined);
      const taken = sources.find((other) => other !== source && isHeldBy(other, found, there));
      if (taken !== undefined) {
        throw new SoundpostError(
          'device_in_use',
          `${found.name} is the input of the source ${taken.name}, and an input can be opened once.`,
        );
      }
      const chosen = device === null ? null : lastingName(device, found, there);
      await audio.setDevice(chosen ?? undefined);
      source.forgetLoudness();
      const shown = chosen === null ? null : String(chosen);
      source.state.change({ audio_device: shown });
      const saved = await store.set('audio_device', chosen ?? '', config.audio.device);
      return { device: shown, name: found.name, ...persistence(saved) };
    },
  };
}

function isMicrophone(source: AudioSource): source is Microphone {
  return source.kind === 'microphone';
}

/** Whether a source listens to an input, or is to as soon as it can be opened. */
function isHeldBy({ audio, state }: Listening, device: InputDevice, there: readonly InputDevice[]): boolean {
  if (!isMicrophone(audio)) return false;
  const open = audio.current();
  if (open !== undefined) return isSame(open, device);
  try {
    return isSame(findDevice(there, state.now.audio_device ?? undefined), device);
  } catch {
    // What it waits for is not there.
    return false;
  }
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

/** @param name of the source that was named; left out: none of them is a microphone */
function whyNotOfSeveral(kind: AudioSource['kind'], name: string | undefined): string {
  if (name === undefined) return 'None of the sources in audio.sources is a microphone.';
  return `The sound of ${name} comes from a ${kind}: to hear a microphone there, name it as its device in audio.sources and restart.`;
}
