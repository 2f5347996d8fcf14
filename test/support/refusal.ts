import { SoundpostError } from '../../src/common/errors.js';

/** The message with which a configuration is refused; whatever else is thrown is a fault. */
export function refusalOf(load: () => unknown): string {
  try {
    load();
  } catch (error) {
    if (error instanceof SoundpostError && error.code === 'config') return error.message;
    throw error;
  }
  throw new Error('was accepted');
}
