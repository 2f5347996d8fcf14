import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';
import { messageOf, SoundpostError } from '../../common/errors.js';
import type { InputDevice } from './select.js';

/**
 * What is used of naudiodon 2.3. Written down here because the package is optional: where it could not be
 * built, npm leaves it out, and this program must still compile.
 */
export interface Naudiodon {
  readonly SampleFormatFloat32: number;
  getDevices(): {
    id: number;
    name: string;
    maxInputChannels: number;
    defaultSampleRate: number;
    hostAPIName: string;
  }[];
  getHostAPIs(): { defaultHostAPI: number; HostAPIs: { id: number; defaultInput: number }[] };
  AudioIO(options: { inOptions: NaudiodonInput }): NaudiodonStream;
}

export interface NaudiodonInput {
  deviceId: number;
  /** Hz. */
  sampleRate: number;
  channelCount: number;
  sampleFormat: number;
  framesPerBuffer: number;
  /** How many buffers of `framesPerBuffer` wait for a late reader before the device overruns. */
  maxQueue: number;
  /** Bytes per chunk. naudiodon spells it so; any other spelling is silently the default of 16 KiB. */
  highwaterMark: number;
  closeOnError: boolean;
}

export type NaudiodonStream = Readable & { start(): void };

/** Loads naudiodon. Throws SoundpostError `naudiodon_missing`, with what to install. */
export function loadNaudiodon(): Naudiodon {
  const require = createRequire(import.meta.url);
  try {
    return require('naudiodon') as Naudiodon;
  } catch (cause) {
    throw naudiodonMissing(cause);
  }
}

function naudiodonMissing(cause: unknown): SoundpostError {
  const absent = /Cannot find module 'naudiodon'/.test(messageOf(cause));
  const parts = [
    absent
      ? 'no microphone without naudiodon, which is not installed'
      : `no microphone: the native part of naudiodon is not built or does not load (${firstLine(messageOf(cause))})`,
    'it needs a C++ compiler, make, python3 and PortAudio (Debian: apt install g++ make python3 libportaudio2)',
  ];
  if (process.arch === 'arm64') {
    parts.push(
      "on 64-bit Arm put the system's library in the place of the shipped one first: " +
        'cp -L --remove-destination /usr/lib/aarch64-linux-gnu/libportaudio.so.2 node_modules/naudiodon/portaudio/bin/',
    );
  }
  parts.push(absent ? 'then run: npm install' : 'then run: npm rebuild naudiodon segfault-handler');
  return new SoundpostError('naudiodon_missing', parts.join('; '), { cause });
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!.trim();
}

/** The inputs among PortAudio's devices. Enumerates anew only in a process that has no stream open. */
export function enumerateInputs(naudiodon: Naudiodon): InputDevice[] {
  const devices = naudiodon.getDevices();
  const { defaultHostAPI, HostAPIs } = naudiodon.getHostAPIs();
  const defaultIndex = HostAPIs.find(({ id }) => id === defaultHostAPI)?.defaultInput;
  return devices
    .filter(({ maxInputChannels }) => maxInputChannels > 0)
    .map(({ id, name, hostAPIName, maxInputChannels, defaultSampleRate }) => ({
      index: id,
      name,
      hostApi: hostAPIName,
      channels: maxInputChannels,
      defaultSampleRate,
      isDefault: id === defaultIndex,
    }));
}
