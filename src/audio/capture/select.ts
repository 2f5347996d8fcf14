import { SoundpostError } from '../../common/errors.js';
import type { PhaseCancellation } from '../phase-cancellation.js';

/** An audio input as PortAudio lists it. */
export interface InputDevice {
  /** PortAudio's number; it changes when devices come and go. */
  index: number;
  /** PortAudio's name, for example `USB Audio Device: - (hw:1,0)`. */
  name: string;
  /** The sound system behind it: `ALSA`, `JACK`, … */
  hostApi: string;
  /** The most input channels it offers. */
  channels: number;
  /** Hz. */
  defaultSampleRate: number;
  isDefault: boolean;
}

/** `2: USB Audio Device: - (hw:1,0) (ALSA)`, one line per device. */
export function describeDevices(devices: readonly InputDevice[]): string {
  return devices
    .map(
      ({ index, name, hostApi, isDefault }) =>
        `${index}: ${name} (${hostApi}${isDefault ? ', default' : ''})`,
    )
    .join('; ');
}

/**
 * The device that is meant by `wanted`: nothing (or an empty text) is the default input; a number, or a text
 * of digits that is no device's name, is an index; any other text is an exact name, else a part of a name in
 * any case.
 *
 * Throws SoundpostError `no_microphone` where there is no input at all, `device_not_found` and
 * `device_ambiguous` with the inputs there are.
 */
export function findDevice(
  devices: readonly InputDevice[],
  wanted: string | number | undefined,
): InputDevice {
  if (devices.length === 0) {
    throw new SoundpostError(
      'no_microphone',
      `there is no audio input on this machine${wanted === undefined || wanted === '' ? '' : ` (wanted: ${wanted})`}: plug in a microphone; in a container, give it /dev/snd`,
    );
  }
  if (wanted === undefined || wanted === '') return devices.find((device) => device.isDefault) ?? devices[0]!;
  const matches = devicesMatching(devices, wanted);
  if (matches.length === 1) return matches[0]!;
  if (matches.length === 0) {
    throw new SoundpostError(
      'device_not_found',
      `no audio input ${typeof wanted === 'number' ? 'has the index' : 'is called'} "${wanted}"; there is ${describeDevices(devices)}`,
    );
  }
  throw new SoundpostError(
    'device_ambiguous',
    `"${wanted}" fits more than one audio input: ${describeDevices(matches)}; give the whole name or the index`,
  );
}

function devicesMatching(devices: readonly InputDevice[], wanted: string | number): InputDevice[] {
  if (typeof wanted === 'number') return devices.filter(({ index }) => index === wanted);
  const exact = devices.filter(({ name }) => name === wanted);
  if (exact.length > 0) return exact;
  if (/^\d+$/.test(wanted)) return devices.filter(({ index }) => index === Number(wanted));
  const part = wanted.toLowerCase();
  return devices.filter(({ name }) => name.toLowerCase().includes(part));
}

/**
 * Beyond this many channels an input is not a device but a converter (ALSA's `default` and `pulse` offer 32
 * or 128): two channels of it carry all there is.
 */
const MOST_REAL_CHANNELS = 8;

/**
 * How many channels to open, for a mix of all of them or to get at `channel` (1 is the first). For one channel all are
 * opened as well: asked for fewer than the device has, ALSA mixes them itself.
 */
export function channelsToOpen(device: InputDevice, channel: number | undefined): number {
  const real = device.channels <= MOST_REAL_CHANNELS ? device.channels : 2;
  if (channel === undefined) return real;
  if (channel <= device.channels) return Math.max(channel, real);
  throw new SoundpostError(
    'no_such_channel',
    `audio input "${device.name}" has ${device.channels} channel${device.channels === 1 ? '' : 's'}, there is no channel ${channel}`,
  );
}

/**
 * Makes one channel of interleaved frames: the mean of all channels, or one of them (1 is the first).
 * `interleaved` is [frames × channels]; `mono`, [frames], takes the result. `cancellation` is told of a mean.
 */
export function mixToMono(
  interleaved: Float32Array,
  channels: number,
  channel: number | undefined,
  mono: Float32Array,
  cancellation?: PhaseCancellation,
): void {
  if (channel !== undefined) {
    for (let frame = 0, at = channel - 1; frame < mono.length; frame += 1, at += channels) {
      mono[frame] = interleaved[at]!;
    }
    return;
  }
  let meanSquares = 0;
  let channelSquares = 0;
  for (let frame = 0, at = 0; frame < mono.length; frame += 1) {
    let sum = 0;
    for (let c = 0; c < channels; c += 1, at += 1) {
      const value = interleaved[at]!;
      sum += value;
      channelSquares += value * value;
    }
    const mean = sum / channels;
    mono[frame] = mean;
    meanSquares += mean * mean;
  }
  cancellation?.add(mono.length, meanSquares, channelSquares);
}
