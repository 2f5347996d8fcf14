import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { SoundpostError } from '../../src/common/errors.js';
import { createBudget, LIMITS } from '../../src/convert/checkpoint/limits.js';
import { openCheckpoint } from '../../src/convert/checkpoint/open.js';
import { OPCODES } from '../../src/convert/checkpoint/pickle-opcodes.js';
import { applyChanges, changesWith } from '../support/byte-changes.js';
import { float32Bytes, pickle, safetensors, tensor, torchZip, zipFile } from '../support/checkpoint-files.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

/**
 * Changed checkpoints: whatever is done to the bytes, the reader gives tensors or an error that is meant for people,
 * and its memory stays in proportion to the file. `npm run test:fuzz` runs many more, from a new seed each time.
 */
const RUNS = Number(process.env.SOUNDPOST_FUZZ_RUNS ?? 300);
const parameters = {
  numRuns: RUNS,
  ...(process.env.SOUNDPOST_FUZZ_RUNS === undefined ? { seed: 20_260_101 } : {}),
};
const CODES = ['checkpoint_unreadable', 'checkpoint_forbidden', 'checkpoint_too_large'];
/** Any file may cost so much: a window of reading, the parts of a zip directory. */
const BASE_BYTES = 256 * 1024;

const golden = (file: string): Buffer =>
  readFileSync(projectPath('test', 'golden', 'checkpoint-formats', file));

const small = pickle.whole(
  pickle.dict([
    ['w', tensor({ elements: 6, offset: 1, shape: [2, 2], strides: [3, 1] })],
    ['b', tensor({ key: '1', storage: 'BFloat16Storage', elements: 3, shape: [3], strides: [1] })],
  ]),
);
const storages = { '0': float32Bytes([1, 2, 3, 4, 5, 6]), '1': Buffer.from([0, 1, 2, 3, 4, 5]) };

const GOOD: Record<string, Buffer> = {
  zip: golden('plain_zip.pt'),
  'zip, wrapped': golden('wrapped_zip.pth'),
  'zip, protocol 4': golden('plain_zip_protocol4.pt'),
  'zip of parameters': golden('parameter_zip.pt'),
  legacy: golden('plain_legacy.pth'),
  'legacy, wrapped': golden('wrapped_legacy.pth'),
  'legacy parameters': golden('parameter_legacy.pth'),
  'zip, deflated, 64-bit': zipFile(
    [
      { name: 'a/data.pkl', data: small, deflate: true, wide: true },
      { name: 'a/data/0', data: storages[0], deflate: true, wide: true },
      { name: 'a/data/1', data: storages[1] },
    ],
    { wide: true },
  ),
  safetensors: safetensors(
    {
      __metadata__: { format: 'pt' },
      w: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
      b: { dtype: 'BF16', shape: [3], data_offsets: [24, 30] },
    },
    Buffer.concat([storages[0], storages[1]]),
  ),
};

const changes = changesWith(Object.values(GOOD));
const apply = applyChanges;

let opened = 0;
let refused = 0;

/** Opens a file and reads all of it; throws where something else comes of it than values or a proper error. */
async function probe(path: string, bytes: Buffer): Promise<void> {
  writeFileSync(path, bytes);
  const budget = createBudget();
  try {
    const checkpoint = await openCheckpoint(path, { budget });
    try {
      let floats = 0;
      for (const info of checkpoint.tensors.values()) {
        const values = await checkpoint.read(info.name);
        if (values.length !== info.elements) throw new Error(`${info.name} has ${values.length} values`);
        floats += values.length;
      }
      if (floats > LIMITS.rereads * (1 + LIMITS.inflation) * bytes.length) {
        throw new Error(`${floats} values from a file of ${bytes.length} bytes`);
      }
    } finally {
      await checkpoint.close();
    }
    opened += 1;
  } catch (error) {
    if (!(error instanceof SoundpostError) || !CODES.includes(error.code)) throw error;
    if (!error.message.includes(path)) {
      throw new Error(`does not name its file: ${error.message}`, { cause: error });
    }
    refused += 1;
  }
  if (budget.used > BASE_BYTES + 400 * bytes.length) {
    throw new Error(`${budget.used} bytes of objects from a file of ${bytes.length}`);
  }
}

t.beforeEach(() => {
  opened = 0;
  refused = 0;
});

t.test('changed files give tensors or a proper error', async (t) => {
  const path = join(temporaryFolder(t), 'weights.pt');
  for (const [title, good] of Object.entries(GOOD)) {
    await probe(path, good);
    t.equal(refused, 0, `${title} is good`);
    const before = opened;
    await fc.assert(
      fc.asyncProperty(changes, (list) => probe(path, apply(good, list))),
      parameters,
    );
    t.ok(opened > before && refused > 0, `${title}: ${opened - before} opened, ${refused} refused`);
    refused = 0;
  }
});

t.test('changed pickles in an unharmed file give tensors or a proper error', async (t) => {
  const path = join(temporaryFolder(t), 'weights.pt');
  await fc.assert(
    fc.asyncProperty(changes, (list) => probe(path, torchZip(apply(small, list), storages))),
    parameters,
  );
  t.ok(opened > 0 && refused > 0, `${opened} opened, ${refused} refused`);
});

t.test('random programs for the unpickler give tensors or a proper error', async (t) => {
  const path = join(temporaryFolder(t), 'weights.pt');
  const known = [...OPCODES.keys()].filter((code) => OPCODES[code] !== undefined);
  const piece = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...known).map((code) => Buffer.from([code])) },
    fc.uint8Array({ maxLength: 6 }).map((raw) => Buffer.from(raw)),
    fc.constantFrom(
      pickle.global('collections', 'OrderedDict'),
      pickle.global('torch._utils', '_rebuild_tensor_v2'),
      pickle.global('torch', 'FloatStorage'),
      pickle.global('numpy', 'dtype'),
      pickle.text('storage'),
      pickle.text('0'),
      pickle.tuple(pickle.int(2), pickle.int(3)),
      tensor({ elements: 6, shape: [6], strides: [1] }),
      pickle.dict([['w', tensor({ elements: 6, shape: [6], strides: [1] })]]),
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 60 }), (pieces) =>
      probe(path, torchZip(pickle.whole(...pieces), storages)),
    ),
    parameters,
  );
  t.ok(opened > 0 && refused > 0, `${opened} opened, ${refused} refused`);
});

t.test('none of it is kept', (t) => {
  // Buffers outside of the heap; a file here has at most some kilobytes.
  t.ok(process.memoryUsage().arrayBuffers < 64 * 1024 * 1024, `${process.memoryUsage().arrayBuffers} bytes`);
  t.end();
});
