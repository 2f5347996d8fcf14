import { join } from 'node:path';
import { listInputDevices } from '../audio/devices.js';
import { createFileSource } from '../audio/file-source.js';
import { createMicrophone } from '../audio/microphone.js';
import type { AudioSource } from '../audio/source.js';
import { createStreamSource } from '../audio/stream-source.js';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { SourceConfig } from '../config/sources.js';

/** The recording that plays where there is no microphone, relative to the program's folder. */
const DEMO_RECORDING = join('models', 'demo', 'day-at-home.wav');

/**
 * Makes the source that the configuration asks for: the one there is, or one of several (`sourcesOf`). `auto` is the
 * microphone; only where there is none **and** nobody but this machine listens (`demoAllowed`: the broker is the embedded
 * one), it is the demo recording: a demo must never trigger something at a real broker.
 *
 * Throws SoundpostError `config` where the source lacks what it needs.
 */
export async function chooseSource(options: {
  audio: SourceConfig['audio'];
  /** The folder of the service, in which a capture process works. */
  dataDir: string;
  /** In place of `audio.device`: the name of the microphone, a part of it, or its index; empty for the default. */
  device?: string | number;
  /** How much sound the source hands over at a time; see `chunkSecondsFor`. */
  chunkSeconds: number;
  root: string;
  demoAllowed: boolean;
  log: Logger;
}): Promise<AudioSource> {
  const { audio, dataDir, chunkSeconds, root, demoAllowed, log } = options;
  const device = options.device ?? audio.device;
  const channel = audio.channel === 'mix' ? {} : { channel: audio.channel };
  const { track } = audio;
  const microphone = () =>
    createMicrophone({
      device: device === '' ? undefined : device,
      ...channel,
      ...(audio.sample_rate !== null && { sampleRate: audio.sample_rate }),
      workFolder: join(dataDir, 'run'),
      timing: { chunkMs: 1000 * chunkSeconds },
      log,
    });
  const demo = () =>
    createFileSource({
      kind: 'demo',
      path: join(root, DEMO_RECORDING),
      loop: true,
      speed: 1,
      chunkSeconds,
      log,
    });

  switch (audio.source) {
    case 'microphone':
      return microphone();
    case 'file':
      if (audio.file === '') {
        throw new SoundpostError(
          'config',
          'audio.source is "file" but audio.file is empty: name a recording',
        );
      }
      return createFileSource({
        kind: 'file',
        path: audio.file,
        loop: audio.loop,
        speed: audio.speed,
        chunkSeconds,
        track,
        ...channel,
        log,
      });
    case 'stream': {
      const address = audio.url === '' ? audio.file : audio.url;
      if (address === '') {
        throw new SoundpostError(
          'config',
          'audio.source is "stream" but audio.url is empty: give its address',
        );
      }
      return createStreamSource({ address, track, ...channel, log });
    }
    case 'demo':
      return demo();
    case 'auto': {
      if (!demoAllowed) return microphone();
      const missing = await whyNoMicrophone();
      if (missing === null) return microphone();
      log.warn(
        { code: 'demo' },
        `No microphone (${missing}). Playing the demo recording instead, so that there is something to hear: nothing of it is real. Plug in a microphone and start again, or set audio.source`,
      );
      return demo();
    }
  }
}

/** Why no input of this machine can be listened to; null where there is one, or may come to be. */
async function whyNoMicrophone(): Promise<string | null> {
  try {
    const { devices } = await listInputDevices();
    return devices.length > 0 ? null : 'this machine has no audio input';
  } catch (error) {
    return messageOf(error);
  }
}
