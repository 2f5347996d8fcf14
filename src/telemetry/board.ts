import { join } from 'node:path';
import { readSystemFile } from './system-file.js';

/** What the machine is, for `B/info`. */
export interface Board {
  /** `Raspberry Pi 4 Model B Rev 1.4`, a PC's product name, or null where nothing tells. */
  model: string | null;
}

/** Reads the board's name from the device tree (where it ends with a NUL), or from the firmware tables of a PC. */
export async function readBoard(options: { sysRoot: string; procRoot: string }): Promise<Board> {
  const places = [
    join(options.procRoot, 'device-tree/model'),
    join(options.sysRoot, 'firmware/devicetree/base/model'),
    join(options.sysRoot, 'class/dmi/id/product_name'),
  ];
  for (const place of places) {
    const model = (await readSystemFile(place))?.replaceAll('\0', '').trim();
    if (model) return { model };
  }
  return { model: null };
}
