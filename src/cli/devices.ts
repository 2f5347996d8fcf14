import { findDevice, listInputDevices, type InputDevice } from '../audio/devices.js';
import { messageOf } from '../common/errors.js';
import { loadConfigAnyway } from '../config/load.js';
import { sourcesOf } from '../config/sources.js';
import type { CommandContext } from './context.js';
import { table } from './table.js';

/** Which of several sources listen to an input, and what is wrong with those whose input is not here. */
interface Users {
  of: ReadonlyMap<InputDevice, readonly string[]>;
  without: readonly { source: string; detail: string }[];
}

/**
 * `soundpost devices`: the audio inputs of this machine. As JSON `{"devices":[…]}`; with several sources each input has
 * `usedBy`, names of sources, and beside the list stands `sourcesWithout`: `{"source","detail"}` of each whose microphone
 * is not here.
 */
export async function devicesCommand(context: CommandContext): Promise<number> {
  const { json, stdout } = context;
  const { devices } = await listInputDevices();
  const users = configuredUsers(context, devices);
  if (json) {
    stdout.write(`${JSON.stringify(jsonOf(devices, users))}\n`);
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
        [...(device.isDefault ? ['default'] : []), ...(users?.of.get(device) ?? [])].join(', '),
      ]),
    ]),
  );
  if (users === null) {
    stdout.write(
      '\nSet audio.device to a name or a part of it; names survive re-plugging, numbers may not.\n',
    );
    return 0;
  }
  for (const { source, detail } of users.without)
    stdout.write(`\nThe source ${source} has no input: ${detail}\n`);
  stdout.write(
    '\nBehind an input stands which source listens to it. Set its device in audio.sources to a name or a part of it; names survive re-plugging, numbers may not.\n',
  );
  return 0;
}

function jsonOf(devices: readonly InputDevice[], users: Users | null): object {
  if (users === null) return { devices };
  return {
    devices: devices.map((device) => ({ ...device, usedBy: users.of.get(device) ?? [] })),
    sourcesWithout: users.without,
  };
}

/** Null where there is one source. What else is wrong with the configuration is no affair of this list. */
function configuredUsers(context: CommandContext, devices: readonly InputDevice[]): Users | null {
  const sources = sourcesOf(loadConfigAnyway(context).config);
  if (sources.length === 1) return null;
  const of = new Map<InputDevice, string[]>();
  const without: { source: string; detail: string }[] = [];
  for (const { name, audio } of sources) {
    if (audio.source !== 'microphone') continue;
    try {
      const device = findDevice(devices, audio.device);
      of.set(device, [...(of.get(device) ?? []), name]);
    } catch (error) {
      without.push({ source: name, detail: messageOf(error) });
    }
  }
  return { of, without };
}
