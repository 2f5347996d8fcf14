import {
  PACED_TOOLS,
  skipWithoutMicrophone,
  startPacedMicrophone,
  type PacedMicrophone,
} from '../../test/support/microphone.js';
import { beeps, RATE } from './rig.js';
import type { Owner } from './scope.js';
import { NotHere } from './verdict.js';

/* A microphone that is none, for the built service. */

export const MICROPHONE_RATE = 48_000;

export const microphoneSettings = { AUDIO_SOURCE: 'microphone', AUDIO_FILE: '', AUDIO_LOOP: 'false' };

/** Beeps as the microphone delivers them. */
export function microphoneBeeps(): Int16Array {
  const samples = beeps();
  const times = MICROPHONE_RATE / RATE;
  return Int16Array.from({ length: samples.length * times }, (_, index) =>
    Math.round(32_767 * samples[Math.floor(index / times)]!),
  );
}

/** A microphone in real time, with beeps. */
export async function startMicrophone(owner: Owner): Promise<PacedMicrophone> {
  const missing = skipWithoutMicrophone(...PACED_TOOLS);
  if (missing !== false) throw new NotHere(missing);
  const microphone = await startPacedMicrophone({
    samples: microphoneBeeps(),
    sampleRate: MICROPHONE_RATE,
    channels: 1,
  });
  owner.teardown(() => microphone.stop());
  return microphone;
}
