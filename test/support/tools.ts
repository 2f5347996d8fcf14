import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * A reason to skip a test, where one of the outside programs it needs is not installed; `false` where all
 * are there. With SOUNDPOST_TEST_STRICT=1 a missing program is an error instead.
 */
export function skipWithout(...commands: string[]): string | false {
  const missing = commands.filter((command) => !isInstalled(command));
  if (missing.length === 0) return false;
  const reason = `not installed: ${missing.join(', ')}`;
  if (process.env.SOUNDPOST_TEST_STRICT === '1') throw new Error(reason);
  return reason;
}

function isInstalled(command: string): boolean {
  // Daemons such as mosquitto live in sbin, which is not on every user's path.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
