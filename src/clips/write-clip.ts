import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { resampleWhole } from '../audio/resample.js';
import { writeFileAtomic } from '../common/atomic-file.js';
import { codeOfErrno } from '../common/errno.js';
import { messageOf, SoundpostError } from '../common/errors.js';
import { encodeFlac } from './flac.js';
import { toFloat32, toInt16 } from './int16.js';
import type { ClipJob } from './job.js';

/** Nobody else on the machine has to be able to listen. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

/**
 * Encodes a clip and writes it, with its note: both whole, or neither. The note comes last; sound without a note is
 * what was left by a writer that was killed, and goes with the next start.
 *
 * @returns how many bytes both files have
 * @throws SoundpostError `disk_full`, `disk_write`
 */
export async function writeClip(job: ClipJob): Promise<number> {
  const flac = await encodeFlac(await atFileRate(job), job.sampleRateHz);
  const sound = join(job.folder, `${job.id}.flac`);
  try {
    await mkdir(dirname(job.folder), { recursive: true, mode: FOLDER_MODE });
    await mkdir(job.folder, { recursive: true, mode: FOLDER_MODE });
    await writeFileAtomic(sound, flac, { mode: FILE_MODE });
    await writeFileAtomic(join(job.folder, `${job.id}.json`), job.note, { mode: FILE_MODE });
  } catch (error) {
    await rm(sound, { force: true }).catch(() => undefined);
    const isFull = ['ENOSPC', 'EDQUOT'].includes(codeOfErrno(error));
    throw new SoundpostError(isFull ? 'disk_full' : 'disk_write', messageOf(error), { cause: error });
  }
  return flac.length + Buffer.byteLength(job.note);
}

async function atFileRate({ samples, captureRateHz, sampleRateHz }: ClipJob): Promise<Int16Array> {
  // Bit for bit what the microphone gave.
  if (captureRateHz === sampleRateHz) return samples;
  const resampled = await resampleWhole(toFloat32(samples), captureRateHz, sampleRateHz);
  const out = new Int16Array(resampled.length);
  toInt16(resampled, out, 0);
  return out;
}
