import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Absolute path of something in the project: walks up from the compiled test to package.json. */
export function projectPath(...parts: string[]): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return join(folder, ...parts);
}

/** Absolute path of something in the folder of reference material beside the project. */
export function sharedPath(...parts: string[]): string {
  return projectPath('..', 'shared', ...parts);
}

/**
 * For tap's `skip` option: false where the folder of reference material is there, else the reason to skip. With
 * SOUNDPOST_TEST_STRICT=1 it throws instead, so that a skip cannot pass for a success.
 */
export function skipWithoutShared(): string | false {
  if (existsSync(sharedPath())) return false;
  const reason = `optional reference material (recordings, checkpoints and outputs of the original programs, too large for the project) is not in ${sharedPath()}; "For developers" in README.md`;
  if (process.env['SOUNDPOST_TEST_STRICT'] === '1') throw new Error(reason);
  return reason;
}
