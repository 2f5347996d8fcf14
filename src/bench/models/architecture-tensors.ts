import { join } from 'node:path';
import { z } from 'zod';
import { readSmallText } from '../../models/files.js';
import { parseJson } from '../../models/validate.js';

/** A tensor of a checkpoint, without its values. */
export interface TensorShape {
  name: string;
  shape: readonly number[];
}

const FILE = 'architectures.json';
const MAX_BYTES = 4 << 20;

/**
 * Architectures whose checkpoints name their tensors alike share the names: `tensors` are names and the values of
 * `shapes` lengths of axes (`64x1x3x3`), both separated by blanks and in the same order.
 */
const fileSchema = z.strictObject({
  groups: z.array(
    z.strictObject({
      tensors: z.string(),
      shapes: z.record(z.string(), z.string().regex(/^\d+(x\d+)*( \d+(x\d+)*)*$/)),
    }),
  ),
});

/**
 * The tensors that the checkpoint of each architecture holds and inference needs, from `architectures.json` beside
 * the bundled models.
 * @throws SoundpostError `architectures` naming what is wrong with the file.
 */
export async function readArchitectureTensors(
  bundledFolder: string,
): Promise<ReadonlyMap<string, readonly TensorShape[]>> {
  const path = join(bundledFolder, FILE);
  const { groups } = parseJson(
    fileSchema,
    await readSmallText(path, MAX_BYTES, 'bench_synthetic'),
    path,
    'bench_synthetic',
  );
  const all = new Map<string, TensorShape[]>();
  for (const { tensors, shapes } of groups) {
    const names = tensors.split(' ');
    for (const [architecture, text] of Object.entries(shapes)) {
      const lengths = text.split(' ').map((shape) => shape.split('x').map(Number));
      all.set(
        architecture,
        names.map((name, index) => ({ name, shape: lengths[index] ?? [] })),
      );
    }
  }
  return all;
}

/** The text of `architectures.json` for the tensors of these architectures. */
export function formatArchitectureTensors(
  architectures: ReadonlyMap<string, readonly TensorShape[]>,
): string {
  const groups = new Map<string, Record<string, string>>();
  for (const [architecture, tensors] of architectures) {
    const names = tensors.map(({ name }) => name).join(' ');
    const shapes = groups.get(names) ?? {};
    shapes[architecture] = tensors.map(({ shape }) => shape.join('x')).join(' ');
    groups.set(names, shapes);
  }
  const document = { groups: [...groups].map(([tensors, shapes]) => ({ tensors, shapes })) };
  return `${JSON.stringify(document, null, 2)}\n`;
}
