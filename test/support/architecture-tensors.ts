/**
 * The text of models/architectures.json, from the state dicts of the originals. To write it anew:
 * node dist/test/support/architecture-tensors.js > models/architectures.json
 */
import { argv } from 'node:process';
import { formatArchitectureTensors, type TensorShape } from '../../src/bench/models/architecture-tensors.js';
import { isTrainingOnly } from '../../src/convert/architecture.js';
import { architectures } from '../../src/convert/architectures/index.js';
import { readGoldenArchitecture } from './golden-architectures.js';

export function architectureTensorsText(): string {
  const all = new Map<string, TensorShape[]>();
  for (const { name, unused = isTrainingOnly } of architectures) {
    // The same networks behind another front end: they have no golden file of their own.
    const { state_dict: tensors } = readGoldenArchitecture(name.replace(/_hop500$/, ''));
    all.set(
      name,
      tensors
        .filter(([tensor]) => !isTrainingOnly(tensor) && !unused(tensor))
        .map(([tensor, shape]) => ({ name: tensor, shape })),
    );
  }
  return formatArchitectureTensors(all);
}

if (argv[1] === import.meta.filename) process.stdout.write(architectureTensorsText());
