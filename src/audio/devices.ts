import { tmpdir } from 'node:os';
import { SoundpostError } from '../common/errors.js';
import { createChatter } from './capture/chatter.js';
import { launchCapture } from './capture/launch.js';
import type { InputDevice } from './capture/select.js';

export { describeDevices, findDevice, type InputDevice } from './capture/select.js';

/**
 * The audio inputs of this machine, asked anew in a process of its own (PortAudio lists devices once per
 * process, and may hang on a sound server that does not answer). An input that this or another program holds
 * open may be missing from the list: ALSA does not let PortAudio look at it.
 *
 * Throws SoundpostError `naudiodon_missing` where naudiodon is not installed or not built,
 * `devices_timeout` where there was no answer in `timeoutMs` (default 15 s), `devices_failed` for the rest, also
 * where the signal fired.
 * A machine without inputs is an empty list.
 */
export async function listInputDevices(
  options: {
    timeoutMs?: number;
    workFolder?: string;
    env?: NodeJS.ProcessEnv;
    signal?: AbortSignal;
  } = {},
): Promise<{ devices: InputDevice[] }> {
  const timeoutMs = options.timeoutMs ?? 15_000;
  let devices: InputDevice[] | undefined;
  let failure: SoundpostError | undefined;
  const chatter = createChatter(() => undefined);
  const child = launchCapture(
    { command: 'list' },
    {
      workFolder: options.workFolder ?? tmpdir(),
      env: options.env,
      chatter,
      onMessage(message) {
        if (message.type === 'devices') devices = message.devices;
        if (message.type === 'failed') failure = new SoundpostError(message.code, message.message);
      },
    },
  );
  const timer = setTimeout(() => {
    failure ??= new SoundpostError(
      'devices_timeout',
      `the sound system did not list its inputs within ${timeoutMs / 1000} s: does a sound server hang?`,
    );
    child.kill();
  }, timeoutMs);
  const giveUp = () => child.kill();
  if (options.signal?.aborted === true) giveUp();
  options.signal?.addEventListener('abort', giveUp);
  const how = await child.ended;
  options.signal?.removeEventListener('abort', giveUp);
  clearTimeout(timer);
  if (devices !== undefined) return { devices };
  throw (
    failure ??
    new SoundpostError(
      'devices_failed',
      `the process that lists audio inputs ${how}: ${chatter.lastWords() ?? 'it said nothing'}`,
    )
  );
}
