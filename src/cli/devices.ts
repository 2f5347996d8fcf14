import { listInputDevices } from '../audio/devices.js';
import type { CommandContext } from './context.js';
import { table } from './table.js';

/** `soundpost devices`: the audio inputs of this machine. */
export async function devicesCommand({ json, stdout }: CommandContext): Promise<number> {
  const { devices } = await listInputDevices();
  if (json) {
    stdout.write(`${JSON.stringify({ devices })}\n`);
    return 0;
  }
  if (devices.length === 0) {
    stdout.write(
      'This machine has no audio input. Plug in a microphone; in a container it needs /dev/snd, and the user the group "audio".\n',
    );
    return 0;
  }
  stdout.write(
    table([
      ['INDEX', 'NAME', 'CHANNELS', 'RATE', 'HOST API', ''],
      ...devices.map((device) => [
        String(device.index),
        device.name,
        String(device.channels),
        `${device.defaultSampleRate} Hz`,
        device.hostApi,
        device.isDefault ? 'default' : '',
      ]),
    ]),
  );
  stdout.write('\nSet audio.device to a name or a part of it; names survive re-plugging, numbers may not.\n');
  return 0;
}
