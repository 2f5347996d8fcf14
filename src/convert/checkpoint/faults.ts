import { codeOfErrno } from '../../common/errno.js';
import { SoundpostError } from '../../common/errors.js';

export type FaultCode = 'checkpoint_unreadable' | 'checkpoint_forbidden' | 'checkpoint_too_large';

const ADVICE: Record<FaultCode, string> = {
  checkpoint_unreadable: 'Compare its size and digest with those its author gives, and fetch it again.',
  checkpoint_forbidden:
    'It may run code on a machine that loads it with PyTorch; it is not run here. Ask its author for the weights alone (the state dict, or safetensors).',
  checkpoint_too_large:
    'No checkpoint of a network that Soundpost knows looks like this; fetch it again from its author.',
};

/**
 * What is wrong with a checkpoint, in words that follow "the checkpoint <file> cannot be used: ". The readers throw
 * it; `namingFile` turns it into the SoundpostError that leaves this room.
 */
export class Fault extends Error {
  constructor(
    readonly code: FaultCode,
    what: string,
    /** What to do, as a sentence. */
    readonly advice: string = ADVICE[code],
  ) {
    super(what);
  }
}

export const unreadable = (what: string): Fault => new Fault('checkpoint_unreadable', what);
export const forbidden = (what: string): Fault => new Fault('checkpoint_forbidden', what);
export const tooLarge = (what: string): Fault => new Fault('checkpoint_too_large', what);
/** Nothing is wrong with the file, but with what was given as one. */
export const notAFile = (what: string): Fault =>
  new Fault('checkpoint_unreadable', what, 'Give the path of a checkpoint file.');

/** Runs a step of reading and names the file in whatever fault it ends with. Aborts and defects pass as they are. */
export async function namingFile<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const fault = asFault(error);
    if (fault === undefined) throw error;
    throw new SoundpostError(
      fault.code,
      `the checkpoint ${path} cannot be used: ${fault.message}. ${fault.advice}`,
      { cause: error },
    );
  }
}

function asFault(error: unknown): Fault | undefined {
  if (error instanceof Fault) return error;
  if (error instanceof Error && 'syscall' in error) return ofErrno(codeOfErrno(error));
  return undefined;
}

function ofErrno(code: string): Fault {
  if (code === 'ENOENT' || code === 'ENOTDIR') return notAFile('it does not exist');
  if (code === 'EACCES' || code === 'EPERM') return notAFile('this user may not read it');
  return unreadable(`reading it failed (${code})`);
}

/** Text from a file as it may stand in a message: short, on one line, without what steers a terminal. */
export function shown(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return short.replace(/[^ \p{L}\p{M}\p{N}\p{P}\p{S}]/gu, '?');
}
