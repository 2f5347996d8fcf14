import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder of the installed program: the nearest one above this module with a package.json. */
export function projectRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
