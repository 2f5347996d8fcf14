/**
 * The text of models/architectures.json, from the state dicts of the originals. To write it anew:
 * node dist/test/support/architecture-tensors.js > models/architectures.json
 */
import { argv } from 'node:process';
import { formatArchitectureTensors, type TensorShape } from '../../src/bench/models/architecture-tensors.js';
import { isTrainingOnly } from '../../src/convert/architecture.js';
import { architectures } from '../../src/convert/architectures/index.js';
import { stateDictOf } from './framewise-tensors.js';

export function architectureTensorsText(): string {
  const all = new Map<string, TensorShape[]>();
  for (const { name, unused = isTrainingOnly } of architectures) {
    all.set(
      name,
      stateDictOf(name)
        .filter(([tensor]) => !isTrainingOnly(tensor) && !unused(tensor))
        .map(([tensor, shape]) => ({ name: tensor, shape })),
    );
  }
  return formatArchitectureTensors(all);
}

if (argv[1] === import.meta.filename) process.stdout.write(architectureTensorsText());
