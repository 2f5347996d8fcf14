import { open } from 'node:fs/promises';
import { pickle, tensor } from './checkpoint-files.js';
import { syntheticParameters, type SyntheticArchitecture } from './synthetic.js';

/** Written once in front of every file of torch.save before 1.6. */
const MAGIC = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
const PROTOCOL = 1001;
const BYTES: Record<string, number> = { float32: 4, int64: 8 };

type Entry = SyntheticArchitecture['state_dict'][number];

/**
 * Writes the synthetic weights of an architecture as training code did when PANNs were published: the format of
 * torch.save before 1.6, the state dict under "model". What is not synthetic (tables of the front end, counters) is
 * there and zero. `rename`: under which name a tensor is in the file. One tensor at a time, since the largest networks have hundreds of megabytes.
 */
export async function writeSyntheticCheckpoint(
  path: string,
  architecture: SyntheticArchitecture,
  rename: (tensor: string) => string = (tensor) => tensor,
): Promise<void> {
  const { int, text, list, dict, whole } = pickle;
  const keys = architecture.state_dict.map((_, index) => String(index));
  const states = architecture.state_dict.map(([name, shape, dtype], index) => {
    const storage = dtype === 'int64' ? 'LongStorage' : 'FloatStorage';
    const recipe = { storage, key: keys[index]!, elements: count(shape), shape, strides: stridesOf(shape) };
    return [rename(name), tensor(recipe)] as const;
  });
  const parameters = syntheticParameters(architecture);
  let next = parameters.next();
  const file = await open(path, 'wx');
  try {
    await file.write(MAGIC);
    await file.write(whole(int(PROTOCOL)));
    await file.write(whole(dict([['protocol_version', int(PROTOCOL)]])));
    await file.write(
      whole(
        dict([
          ['iteration', int(1)],
          ['model', dict(states)],
        ]),
      ),
    );
    await file.write(whole(list(...keys.map(text))));
    for (const [name, shape, dtype] of architecture.state_dict) {
      const length = Buffer.alloc(8);
      length.writeBigInt64LE(BigInt(count(shape)));
      await file.write(length);
      if (next.done !== true && next.value.name === name) {
        const { buffer, byteOffset, byteLength } = next.value.data;
        await file.write(new Uint8Array(buffer, byteOffset, byteLength));
        next = parameters.next();
      } else {
        await file.write(Buffer.alloc(count(shape) * BYTES[dtype]!));
      }
    }
  } finally {
    await file.close();
  }
}

function count(shape: Entry[1]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function stridesOf(shape: Entry[1]): number[] {
  return shape.map((_, axis) => count(shape.slice(axis + 1)));
}
