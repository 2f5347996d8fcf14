import { SoundpostError } from '../common/errors.js';

/* What the lanes answer where they do not carry out a command. */

export function tooManyWait(count: number): SoundpostError {
  return new SoundpostError('busy', `${count} commands are waiting already. Try again in a moment.`);
}

export function laneTaken(name: string): SoundpostError {
  return new SoundpostError(
    'busy',
    `${name} has to wait: such work is being done already. Try again when it has ended.`,
  );
}

export function tookTooLong(name: string, ms: number): SoundpostError {
  return new SoundpostError('timeout', `${name} took longer than ${ms / 1000} s and was given up.`);
}

export function shuttingDown(): SoundpostError {
  return new SoundpostError('shutting_down', 'The service is shutting down.');
}
