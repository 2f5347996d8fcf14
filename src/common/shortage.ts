import { codeOfErrno } from './errno.js';
import { SoundpostError } from './errors.js';

/** What a machine may lack for a moment, in words; nothing is wrong with the thing that wanted it. */
const NO_HANDLES = 'this process has no file handles left (EMFILE)';
const SHORTAGES: Readonly<Record<string, string>> = {
  EMFILE: NO_HANDLES,
  ENFILE: 'the machine has no file handles left (ENFILE)',
  EAGAIN: 'the machine has no processes left (EAGAIN)',
  ENOMEM: 'the machine has no memory left (ENOMEM)',
};

/**
 * SoundpostError `no_resources` where the system's error is a shortage, which may be over at any moment; else null.
 * @param failed what did not work, as the beginning of a sentence: "ffmpeg could not be started"
 */
export function shortageOf(failed: string, error: unknown): SoundpostError | null {
  const lacks = SHORTAGES[codeOfErrno(error)];
  return lacks === undefined ? null : shortage(failed, lacks, error);
}

/** The same where Node has swallowed the system's EMFILE. */
export function noHandles(failed: string): SoundpostError {
  return shortage(failed, NO_HANDLES);
}

function shortage(failed: string, lacks: string, cause?: unknown): SoundpostError {
  return new SoundpostError(
    'no_resources',
    `${failed}: ${lacks}. Other programs may hold too many, or the limit is too low ("ulimit -n"); try again later.`,
    { cause },
  );
}
