import { findDevice, listInputDevices, type InputDevice } from '../audio/devices.js';
import { loadConfigAnyway } from '../config/load.js';
import { sourcesOf } from '../config/sources.js';
import type { CommandContext } from './context.js';
import { table } from './table.js';

/** `soundpost devices`: the audio inputs of this machine. */
export async function devicesCommand(context: CommandContext): Promise<number> {
  const { json, stdout } = context;
  const { devices } = await listInputDevices();
  const users = configuredUsers(context, devices);
  if (json) {
    const shown = devices.map((device) => ({
      ...device,
      ...(users !== null && { usedBy: users.get(device) ?? [] }),
    }));
    stdout.write(`${JSON.stringify({ devices: shown })}\n`);
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
        [...(device.isDefault ? ['default'] : []), ...(users?.get(device) ?? [])].join(', '),
      ]),
    ]),
  );
  stdout.write('\nSet audio.device to a name or a part of it; names survive re-plugging, numbers may not.\n');
  if (users !== null)
    stdout.write('Behind an input stands which source of the configuration listens to it.\n');
  return 0;
}

/** Which of several sources name an input; null where there is one. What is wrong with them is no affair of this list. */
function configuredUsers(
  context: CommandContext,
  devices: readonly InputDevice[],
): ReadonlyMap<InputDevice, string[]> | null {
  const sources = sourcesOf(loadConfigAnyway(context).config);
  if (sources.length === 1) return null;
  const users = new Map<InputDevice, string[]>();
  for (const { name, audio } of sources) {
    if (audio.source !== 'microphone') continue;
    try {
      const device = findDevice(devices, audio.device);
      users.set(device, [...(users.get(device) ?? []), name]);
    } catch {
      // "npx soundpost doctor" says of a microphone that it is not there.
    }
  }
  return users;
}
