import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SoundpostError } from '../../src/common/errors.js';
import { createBudget, LIMITS } from '../../src/convert/checkpoint/limits.js';
import {
  openCheckpoint,
  type Checkpoint,
  type OpenCheckpointOptions,
} from '../../src/convert/checkpoint/open.js';
import {
  float32Bytes,
  pickle,
  safetensors,
  tensor,
  torchZip,
  zipFile,
  type TensorRecipe,
} from '../support/checkpoint-files.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

interface ExpectedTensor {
  name: string;
  shape: number[];
  dtype: string;
  values: (number | string)[];
}

interface ExpectedFile {
  must: string;
  format?: string;
  why?: string;
  tensors?: ExpectedTensor[];
}

const GOLDEN = projectPath('test', 'golden', 'checkpoint-formats');
const expected = JSON.parse(readFileSync(join(GOLDEN, 'expected.json'), 'utf8')) as {
  tensors: ExpectedTensor[];
  files: Record<string, ExpectedFile>;
};

/** What each bad file is refused for. */
const REFUSALS: Record<string, { code: string; says: RegExp }> = {
  'evil_zip_os_system.pt': { code: 'checkpoint_forbidden', says: /posix\.system/ },
  'evil_legacy_os_system.pth': { code: 'checkpoint_forbidden', says: /posix\.system/ },
  'evil_zip_eval.pt': { code: 'checkpoint_forbidden', says: /__builtin__\.eval/ },
  'evil_pickle_protocol4_eval.pkl': { code: 'checkpoint_forbidden', says: /builtins\.eval/ },
  'evil_raw_os_system.pkl': { code: 'checkpoint_forbidden', says: /os\.system/ },
  'truncated_zip.pt': { code: 'checkpoint_unreadable', says: /no directory/ },
  'truncated_legacy.pth': { code: 'checkpoint_unreadable', says: /cut off/ },
  'truncated_legacy_in_pickle.pth': { code: 'checkpoint_unreadable', says: /cut off/ },
  'empty.pt': { code: 'checkpoint_unreadable', says: /is empty/ },
  'not_a_checkpoint.pt': { code: 'checkpoint_unreadable', says: /neither .* torch\.save nor .* safetensors/ },
  'short_storage_zip.pt': { code: 'checkpoint_unreadable', says: /data\/0 has 8 bytes instead of 96/ },
  'missing_storage_zip.pt': { code: 'checkpoint_unreadable', says: /data\/0 is missing/ },
  'oob_view_zip.pt': { code: 'checkpoint_unreadable', says: /conv\.weight \[200, 2, 2, 2\] reaches past/ },
};

async function open(t: Test, path: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(path, options);
  t.teardown(() => checkpoint.close());
  return checkpoint;
}

/** Writes a file and opens it. */
async function openBytes(
  t: Test,
  bytes: Buffer,
  options: OpenCheckpointOptions & { name?: string } = {},
): Promise<Checkpoint> {
  const path = join(temporaryFolder(t), options.name ?? 'weights.pt');
  writeFileSync(path, bytes);
  return open(t, path, options);
}

async function refuses(t: Test, bytes: Buffer, code: string, says: RegExp): Promise<void> {
  const path = join(temporaryFolder(t), 'weights.pt');
  writeFileSync(path, bytes);
  await t.rejects(openCheckpoint(path), { name: 'SoundpostError', code, message: says }, String(says));
}

const valuesOf = async (checkpoint: Checkpoint, name: string): Promise<number[]> =>
  Array.from(await checkpoint.read(name));

const oneTensor = (recipe: TensorRecipe): Buffer => pickle.whole(pickle.dict([['w', tensor(recipe)]]));

t.test('reads the good files, whatever their format', async (t) => {
  for (const [file, facts] of Object.entries(expected.files)) {
    if (!facts.must.startsWith('load')) continue;
    await t.test(file, async (t) => {
      const checkpoint = await open(t, join(GOLDEN, file));
      t.equal(checkpoint.format, facts.format);
      // Names are as training wrote them; which of their parts are a wrapper's is for the architecture to say.
      const wrapped = [...checkpoint.tensors.keys()].every((name) => name.startsWith('module.'));
      const tensors = (facts.tensors ?? expected.tensors).map((fact) => ({
        ...fact,
        name: wrapped ? `module.${fact.name}` : fact.name,
      }));
      t.same(
        [...checkpoint.tensors.values()],
        tensors.map(({ name, shape, dtype, values }) => ({ name, shape, dtype, elements: values.length })),
      );
      for (const { name, values } of tensors) {
        t.same(await checkpoint.read(name), Float32Array.from(values, Number), name);
      }
    });
  }
});

t.test('refuses the bad files and says why', async (t) => {
  const bad = Object.entries(expected.files).filter(([, facts]) => facts.must === 'reject');
  t.same(bad.map(([file]) => file).sort(), Object.keys(REFUSALS).sort());
  for (const [file, facts] of bad) {
    const path = join(GOLDEN, file);
    const error: unknown = await openCheckpoint(path).catch((e: unknown) => e);
    if (!(error instanceof SoundpostError)) throw new Error(`${file} was not refused: ${facts.why ?? ''}`);
    t.equal(error.code, REFUSALS[file]!.code, file);
    t.match(error.message, REFUSALS[file]!.says);
    t.ok(error.message.includes(path), 'names the file');
  }
});

t.test('reads a real checkpoint', { skip: skipWithoutShared() }, async (t) => {
  const checkpoint = await open(t, sharedPath('checkpoints', 'mn04_as_mAP_432.pt'));
  const golden = JSON.parse(readFileSync(sharedPath('golden', 'architectures', 'mn04.json'), 'utf8')) as {
    state_dict: [string, number[], string][];
  };
  t.equal(checkpoint.tensors.size, 312);
  t.same(
    [...checkpoint.tensors.values()].map(({ name, shape, dtype }) => [name, shape, dtype]),
    golden.state_dict,
  );
  const digest = createHash('sha256');
  for (const name of checkpoint.tensors.keys())
    digest.update(new Uint8Array((await checkpoint.read(name)).buffer));
  // What torch 1.13 gives: sha256 over v.float().contiguous().numpy().tobytes() of every v in torch.load(…).values().
  t.equal(digest.digest('hex'), 'bbc296c910fe0fcc6a2bfd4428e3770265cca480da7a05b4be883944d8c9999a');
});

t.test('finds the state dict', async (t) => {
  const w = tensor({ elements: 2, shape: [2], strides: [1] });
  const data = { '0': float32Bytes([1, 2]) };
  const nested = pickle.dict([
    ['epoch', pickle.int(3)],
    ['ema', pickle.dict([['weights', pickle.dict([['w', w]])]])],
  ]);

  const underStateDict = pickle.whole(pickle.dict([['state_dict', pickle.dict([['w', w]])]]));
  t.same(await valuesOf(await openBytes(t, torchZip(underStateDict, data)), 'w'), [1, 2]);

  const file = torchZip(pickle.whole(nested), data);
  t.same(await valuesOf(await openBytes(t, file), 'w'), [1, 2], 'the only one there is, wherever it is');
  const checkpoint = await openBytes(t, file, { stateDict: 'ema.weights' });
  t.same(await valuesOf(checkpoint, 'w'), [1, 2]);
  await t.rejects(openBytes(t, file, { stateDict: 'ema.w8s' }), {
    code: 'checkpoint_unreadable',
    message: /no tensors under "ema\.w8s".*its keys are epoch, ema/,
  });

  const pair = (...entries: [string, Buffer][]) => pickle.dict(entries);
  const opened = async (root: Buffer, stateDict?: string) => [
    ...(await openBytes(t, torchZip(pickle.whole(root), data), { stateDict })).tensors.keys(),
  ];
  const state = pair(['a', w], ['b', w], ['c', w]);
  const training: [string, Buffer][] = [
    ['optimizer_state_dict', pair(['a', w], ['b', w], ['c', w])],
    ['loss', pair(['weight', w])],
    ['epoch', pickle.int(3)],
  ];
  for (const key of ['model_state_dict', 'ema_state_dict', 'net', 'weights', 'generator']) {
    t.same(await opened(pair(...training, [key, state])), ['a', 'b', 'c'], key);
  }
  const both = pair(...training, ['model_state_dict', state], ['ema', pair(['shadow.params', state])]);
  await refuses(
    t,
    torchZip(pickle.whole(both), data),
    'checkpoint_unreadable',
    /2 state dicts: model_state_dict, ema\.shadow\.params\. .*--state-dict model_state_dict/,
  );
  t.same(await opened(both, 'model_state_dict'), ['a', 'b', 'c']);
  t.same(await opened(both, 'ema.shadow.params'), ['a', 'b', 'c'], 'keys may have dots in them');
  const lightning = pair(['state_dict', pair(['model.a', w], ['ema.a', w], ['ema.b', w])]);
  t.same(await opened(lightning), ['model.a', 'ema.a', 'ema.b']);
  t.same(await opened(lightning, 'state_dict.ema'), ['a', 'b'], 'the beginning of names');
  t.same(await opened(lightning, 'ema'), ['a', 'b'], 'in the usual place');
  await refuses(
    t,
    torchZip(pickle.whole(pair(['epoch', pickle.int(3)])), data),
    'checkpoint_unreadable',
    /no tensors in it.*epoch/,
  );
  // The same dict a hundred times in itself, in four steps a hundred million places.
  const many = Array.from({ length: 100 }, (_, n): [string, Buffer] => [`k${n}`, Buffer.from('h\x00')]);
  const knot = Buffer.concat([
    Buffer.from('}q\x00('),
    ...many.flatMap(([key, value]) => [pickle.text(key), value]),
    Buffer.from('u'),
  ]);
  await refuses(t, torchZip(pickle.whole(knot), data), 'checkpoint_unreadable', /no tensors in it/);

  const proto = pickle.whole(
    pickle.dict([
      ['__proto__', w],
      ['constructor', w],
      ['n', pickle.none],
    ]),
  );
  const odd = await openBytes(t, torchZip(proto, data));
  t.same([...odd.tensors.keys()], ['__proto__', 'constructor']);
  t.same(await valuesOf(odd, '__proto__'), [1, 2]);
  await t.rejects(odd.read('n'), { code: 'checkpoint_unreadable', message: /no tensor n/ });
});

t.test('skips what training left beside the weights', async (t) => {
  const w = tensor({ elements: 2, shape: [2], strides: [1] });
  // A numpy array as protocol 2 has it, larger than what is kept of a text.
  const { global, reduce, tuple, text, int } = pickle;
  const bytes = (content: string): Buffer =>
    reduce(global('_codecs', 'encode'), tuple(text(content), text('latin1')));
  const dtype = Buffer.concat([
    reduce(global('numpy', 'dtype'), tuple(text('i8'), int(0), int(1))),
    tuple(int(3), text('<'), pickle.none, pickle.none, pickle.none, int(-1), int(-1), int(0)),
    Buffer.from('b'),
  ]);
  const array = Buffer.concat([
    reduce(
      global('numpy.core.multiarray', '_reconstruct'),
      tuple(global('numpy', 'ndarray'), tuple(int(0)), bytes('b')),
    ),
    tuple(int(1), tuple(int(250_000)), dtype, pickle.no, bytes('\u00e9'.repeat(2_000_000))),
    Buffer.from('b'),
  ]);
  const queue = pickle.list(...Array.from({ length: 5000 }, (_, n) => int(n)));
  const root = pickle.dict([
    ['iteration', int(600_000)],
    ['model', pickle.dict([['w', w]])],
    [
      'sampler',
      pickle.dict([
        ['indexes_per_class', pickle.list(array, array)],
        ['queue', queue],
      ]),
    ],
  ]);
  const budget = createBudget();
  const checkpoint = await openBytes(t, torchZip(pickle.whole(root), { '0': float32Bytes([1, 2]) }), {
    budget,
  });
  t.same(await valuesOf(checkpoint, 'w'), [1, 2]);
  t.ok(budget.used < 1_000_000, `8 MB of arrays take no memory (${budget.used} bytes in all)`);
});

t.test('converts every type of number', async (t) => {
  const int16 = Buffer.alloc(4);
  int16.writeInt16LE(-300, 0);
  int16.writeInt16LE(300, 2);
  const cases: [string, string, Buffer, number[]][] = [
    [
      'HalfStorage',
      'F16',
      Buffer.from([0x00, 0x7c, 0x00, 0xfc, 0x01, 0x80]),
      [Infinity, -Infinity, -(2 ** -24)],
    ],
    [
      'BFloat16Storage',
      'BF16',
      Buffer.from([0xc0, 0x3f, 0x49, 0xc0, 0x80, 0x7f]),
      [1.5, -3.140625, Infinity],
    ],
    ['ShortStorage', 'I16', int16, [-300, 300]],
    ['CharStorage', 'I8', Buffer.from([0x80, 0x7f]), [-128, 127]],
    ['ByteStorage', 'U8', Buffer.from([0x80, 0xff]), [128, 255]],
    ['BoolStorage', 'BOOL', Buffer.from([0, 1, 2]), [0, 1, 1]],
    ['IntStorage', 'I32', Buffer.from([0xff, 0xff, 0xff, 0x7f]), [2 ** 31]],
    ['LongStorage', 'I64', Buffer.from('feffffffffffffff', 'hex'), [-2]],
    ['DoubleStorage', 'F64', Buffer.from('000000000000f8bf', 'hex'), [-1.5]],
  ];
  for (const [storage, dtype, raw, values] of cases) {
    const shape = [values.length];
    const torch = oneTensor({ storage, elements: values.length, shape, strides: [1] });
    t.same(await valuesOf(await openBytes(t, torchZip(torch, { '0': raw })), 'w'), values, storage);
    const file = safetensors({ w: { dtype, shape, data_offsets: [0, raw.length] } }, raw);
    const checkpoint = await openBytes(t, file, { name: 'w.safetensors' });
    t.equal(checkpoint.format, 'safetensors');
    t.same(await valuesOf(checkpoint, 'w'), values, dtype);
  }
  const nan = safetensors({ w: { dtype: 'F16', shape: [], data_offsets: [0, 2] } }, Buffer.from([1, 0x7e]));
  t.same(await valuesOf(await openBytes(t, nan), 'w'), [NaN]);
});

t.test('reads tensors larger than a piece, in order', async (t) => {
  const count = 3_000_000;
  const raw = Buffer.alloc(2 * count);
  for (let n = 0; n < count; n += 1) raw.writeInt16LE((n % 60_000) - 30_000, 2 * n);
  const checkpoint = await openBytes(
    t,
    torchZip(oneTensor({ storage: 'ShortStorage', elements: count, shape: [count], strides: [1] }), {
      '0': raw,
    }),
  );
  const values = await checkpoint.read('w');
  t.ok(values.every((value, n) => value === (n % 60_000) - 30_000));
});

t.test('honours strides, offsets and deflated entries', async (t) => {
  const storage = float32Bytes(Array.from({ length: 24 }, (_, n) => n));
  const recipe = { elements: 24, offset: 1, shape: [2, 1, 3], strides: [2, 99, 7] };
  const want = [1, 8, 15, 3, 10, 17];
  t.same(await valuesOf(await openBytes(t, torchZip(oneTensor(recipe), { '0': storage })), 'w'), want);
  const deflated = zipFile([
    { name: 'a/data.pkl', data: oneTensor(recipe), deflate: true },
    { name: 'a/data/0', data: storage, deflate: true },
  ]);
  t.same(await valuesOf(await openBytes(t, deflated), 'w'), want);
});

t.test('reads the 64-bit form of zip', async (t) => {
  const recipe = { elements: 2, shape: [2], strides: [1] };
  const entries = [
    { name: 'a/data.pkl', data: oneTensor(recipe), wide: true },
    { name: 'a/data/0', data: float32Bytes([3, 4]), wide: true },
  ];
  t.same(await valuesOf(await openBytes(t, zipFile(entries, { wide: true })), 'w'), [3, 4]);
});

t.test('refuses every way to name a forbidden global', async (t) => {
  const args = pickle.tuple(pickle.text('id'));
  const ways: Record<string, Buffer> = {
    GLOBAL: pickle.global('os', 'system'),
    STACK_GLOBAL: Buffer.concat([pickle.shortText('os'), pickle.shortText('system'), Buffer.from([0x93])]),
    INST: Buffer.concat([Buffer.from('('), pickle.text('id'), Buffer.from('ios\nsystem\n')]),
    'INST of protocol 0': Buffer.from("(S'id'\nios\nsystem\n"),
    OBJ: Buffer.concat([
      Buffer.from('('),
      pickle.global('os', 'system'),
      pickle.text('id'),
      Buffer.from('o'),
    ]),
    NEWOBJ: Buffer.concat([pickle.global('os', 'system'), args, Buffer.from([0x81])]),
    NEWOBJ_EX: Buffer.concat([pickle.global('os', 'system'), args, Buffer.from([0x7d, 0x92])]),
    'GLOBAL with a dotted name': pickle.global('os', 'system.__call__'),
  };
  for (const [way, body] of Object.entries(ways)) {
    await refuses(t, torchZip(pickle.whole(body)), 'checkpoint_forbidden', /os\.system/);
    await refuses(t, pickle.whole(body), 'checkpoint_forbidden', /os\.system/);
    t.pass(way);
  }
  for (const code of [0x82, 0x83, 0x84]) {
    await refuses(
      t,
      torchZip(pickle.whole(Buffer.from([code, 1, 0, 0, 0]))),
      'checkpoint_forbidden',
      /extension/,
    );
  }
  const module = pickle.persistent(pickle.tuple(pickle.text('module'), pickle.text('x')));
  await refuses(t, torchZip(pickle.whole(module)), 'checkpoint_forbidden', /"module"/);
  await refuses(t, torchZip(Buffer.from('Pstorage\n.')), 'checkpoint_forbidden', /persistent/);
  const prototype = pickle.global('__proto__', 'constructor');
  await refuses(t, torchZip(pickle.whole(prototype)), 'checkpoint_forbidden', /__proto__\.constructor/);
  // Split so that the whole name is on the list, but not as module and name.
  const split = pickle.global('torch', '_utils._rebuild_tensor_v2');
  await refuses(t, torchZip(pickle.whole(split)), 'checkpoint_forbidden', /_rebuild_tensor_v2/);
  const called = pickle.reduce(pickle.global('torch', 'FloatStorage'), pickle.tuple(pickle.int(9)));
  await refuses(t, torchZip(pickle.whole(called)), 'checkpoint_forbidden', /calls torch\.FloatStorage/);
  const controls = pickle.global('os\x1b[31m', 'system');
  const error = (await openBytes(t, torchZip(pickle.whole(controls))).catch((e: unknown) => e)) as Error;
  t.notOk(error.message.includes('\x1b'), 'control characters do not reach a terminal');
});

t.test('refuses impossible tensors', async (t) => {
  const data = { '0': float32Bytes([1, 2, 3, 4]) };
  const max = Number.MAX_SAFE_INTEGER;
  const cases: [string, TensorRecipe, string][] = [
    ['expanded', { elements: 4, shape: [1_000_000], strides: [0] }, 'checkpoint_too_large'],
    ['overlapping', { elements: 4, shape: [2, 2, 2], strides: [1, 1, 1] }, 'checkpoint_too_large'],
    ['past the end', { elements: 4, offset: 1, shape: [4], strides: [1] }, 'checkpoint_unreadable'],
    ['overflow', { elements: 4, shape: [max, max], strides: [max, max] }, 'checkpoint_unreadable'],
    ['far offset', { elements: 4, offset: max, shape: [1], strides: [1] }, 'checkpoint_unreadable'],
    ['negative', { elements: 4, shape: [-1], strides: [1] }, 'checkpoint_unreadable'],
    ['strides', { elements: 4, shape: [2, 2], strides: [1] }, 'checkpoint_unreadable'],
    [
      'dimensions',
      { elements: 4, shape: Array<number>(40).fill(1), strides: Array<number>(40).fill(1) },
      'checkpoint_too_large',
    ],
    ['huge storage', { elements: max, shape: [4], strides: [1] }, 'checkpoint_unreadable'],
    [
      'unknown type',
      { storage: 'ComplexFloatStorage', elements: 1, shape: [1], strides: [1] },
      'checkpoint_forbidden',
    ],
  ];
  for (const [title, recipe, code] of cases) {
    await t.test(title, (t) => refuses(t, torchZip(oneTensor(recipe), data), code, /weights\.pt/));
  }
  await t.test('an empty tensor of absurd shape is only empty', async (t) => {
    const empty = oneTensor({ elements: 4, shape: [max, max, 0], strides: [max, 1, 1] });
    t.same(await valuesOf(await openBytes(t, torchZip(empty, data)), 'w'), []);
  });
  await t.test('many views of one storage', async (t) => {
    const views = Array.from({ length: 2000 }, (_, n): [string, Buffer] => [
      `w${n}`,
      tensor({ elements: 250_000, shape: [250_000], strides: [1] }),
    ]);
    const file = torchZip(pickle.whole(pickle.dict(views)), { '0': Buffer.alloc(1_000_000) });
    await refuses(t, file, 'checkpoint_too_large', /2000000000 bytes together/);
  });
  await t.test('a storage declared in two ways', async (t) => {
    const both = pickle.dict([
      ['a', tensor({ elements: 4, shape: [4], strides: [1] })],
      ['b', tensor({ elements: 400, shape: [400], strides: [1] })],
    ]);
    await refuses(t, torchZip(pickle.whole(both), data), 'checkpoint_unreadable', /two ways/);
  });
  await t.test('names that are none', async (t) => {
    for (const name of ['a\nb', 'x'.repeat(600)]) {
      const dict = pickle.dict([[name, tensor({ elements: 4, shape: [4], strides: [1] })]]);
      await refuses(t, torchZip(pickle.whole(dict), data), 'checkpoint_unreadable', /no name/);
    }
  });
});

t.test('refuses pickles that would take all memory or never end', async (t) => {
  const dicts = Buffer.alloc(900_000, '}0');
  await refuses(t, torchZip(pickle.whole(dicts)), 'checkpoint_too_large', /67 MB/);
  await refuses(
    t,
    torchZip(pickle.whole(Buffer.alloc(LIMITS.stack + 1, 'N'))),
    'checkpoint_too_large',
    /stacks/,
  );
  await refuses(
    t,
    torchZip(pickle.whole(Buffer.alloc(LIMITS.stack + 1, '('))),
    'checkpoint_too_large',
    /nests/,
  );
  await refuses(
    t,
    torchZip(pickle.whole(Buffer.alloc(LIMITS.opcodes, 'N0'))),
    'checkpoint_too_large',
    /steps/,
  );
  // A list that holds itself, and tuples in tuples: nothing here walks down.
  const itself = Buffer.from(']q\0h\0a.');
  await refuses(t, torchZip(itself), 'checkpoint_unreadable', /no tensors/);
  const deep = Buffer.concat([Buffer.from(')'), Buffer.alloc(300_000, '\x85', 'latin1')]);
  await refuses(t, torchZip(pickle.whole(deep)), 'checkpoint_unreadable', /no tensors/);
  for (const lie of [
    'X\xff\xff\xff\xff',
    'B\xff\xff\xff\x7f',
    '\x8d\xff\xff\xff\xff\xff\xff\xff\xff',
    '\x8b\xff\xff\xff\x7f',
  ]) {
    const body = Buffer.from(lie, 'latin1');
    await refuses(t, torchZip(pickle.whole(body)), 'checkpoint_unreadable', /cut off|number of/);
  }
});

t.test('refuses broken and hostile zip files', async (t) => {
  const object = oneTensor({ elements: 2, shape: [2], strides: [1] });
  const good = { name: 'a/data.pkl', data: object };
  const storage = { name: 'a/data/0', data: float32Bytes([1, 2]) };
  const cases: [string, Buffer, string, RegExp][] = [
    [
      'another zip',
      zipFile([{ name: 'a.txt', data: object }]),
      'checkpoint_unreadable',
      /not one of torch\.save/,
    ],
    [
      'a bomb',
      zipFile([good, { ...storage, data: Buffer.alloc(4_000_000), deflate: true }]),
      'checkpoint_too_large',
      /inflate/,
    ],
    [
      'a modest lie',
      zipFile([good, { ...storage, deflate: true, uncompressed: 7 }]),
      'checkpoint_unreadable',
      /7 bytes instead of 8/,
    ],
    [
      'packed to more than it was',
      zipFile([good, { ...storage, data: randomBytes(4000), deflate: true, uncompressed: 8 }]),
      'checkpoint_unreadable',
      /longer packed/,
    ],
    [
      'overlap',
      zipFile([good, storage, { name: 'a/data/1', data: Buffer.alloc(8), offset: 0 }]),
      'checkpoint_unreadable',
      /reaches into/,
    ],
    [
      'into the directory',
      zipFile([good, { ...storage, compressed: 500, uncompressed: 500 }]),
      'checkpoint_unreadable',
      /reaches into/,
    ],
    [
      'elsewhere',
      zipFile([good, { ...storage, offset: 3 }]),
      'checkpoint_unreadable',
      /not where|reaches into/,
    ],
    [
      'far away',
      zipFile([good, { ...storage, offset: 2 ** 52, wide: true }]),
      'checkpoint_unreadable',
      /reaches into/,
    ],
    ['two lengths', zipFile([good, { ...storage, compressed: 4 }]), 'checkpoint_unreadable', /two lengths/],
    ['twice', zipFile([good, storage, storage]), 'checkpoint_unreadable', /twice/],
    ['encrypted', zipFile([good, { ...storage, flags: 1 }]), 'checkpoint_unreadable', /encrypted/],
    ['another method', zipFile([good, { ...storage, method: 12 }]), 'checkpoint_unreadable', /method \(12\)/],
    [
      'too many entries',
      zipFile([good, storage], { wide: true, entries: 2 ** 40 }),
      'checkpoint_too_large',
      /1099511627776 entries/,
    ],
    [
      'more entries than there are',
      zipFile([good, storage], { entries: 3 }),
      'checkpoint_unreadable',
      /too short|malformed/,
    ],
    [
      'big-endian',
      zipFile([good, storage, { name: 'a/byteorder', data: Buffer.from('big') }]),
      'checkpoint_unreadable',
      /big-endian/,
    ],
  ];
  for (const [title, file, code, says] of cases) {
    await t.test(title, (t) => refuses(t, file, code, says));
  }
  await t.test('a deflated storage that is damaged shows when it is read', async (t) => {
    const file = zipFile([good, { ...storage, data: Buffer.alloc(400), deflate: true, uncompressed: 300 }]);
    const checkpoint = await openBytes(t, file);
    await t.rejects(checkpoint.read('w'), { code: 'checkpoint_unreadable', message: /damaged/ });
  });
});

t.test('refuses broken safetensors', async (t) => {
  const w = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  const data = Buffer.alloc(8);
  const cases: [string, unknown, RegExp][] = [
    ['not JSON', '{"w":', /not JSON/],
    ['no object', '{}', /no tensors/],
    ['an unknown type', { w: { ...w, dtype: 'F8_E4M3' } }, /unknown type F8_E4M3/],
    ['no type', { w: 3 }, /no stated type/],
    ['a negative size', { w: { ...w, shape: [-2] } }, /malformed/],
    ['a fraction', { w: { ...w, shape: [0.5, 4] } }, /malformed/],
    ['an absurd shape', { w: { ...w, shape: [2 ** 53 - 1, 2 ** 53 - 1] } }, /does not fit/],
    ['outside', { w: { ...w, shape: [4], data_offsets: [0, 16] } }, /outside/],
    ['backwards', { w: { ...w, data_offsets: [8, 0] } }, /outside/],
    ['overlap', { w, v: w }, /gap or an overlap/],
    ['a gap', { w: { ...w, shape: [1], data_offsets: [4, 8] } }, /gap/],
    ['a tail', { w: { ...w, shape: [1], data_offsets: [0, 4] } }, /4 bytes at its end/],
  ];
  for (const [title, header, says] of cases) {
    const bytes = safetensors(header, title === 'no object' ? Buffer.alloc(0) : data);
    await t.test(title, (t) => refuses(t, bytes, 'checkpoint_unreadable', says));
  }
  await t.test('a header longer than the file', async (t) => {
    const path = join(temporaryFolder(t), 'w.safetensors');
    writeFileSync(path, Buffer.from('ffffffffffffffff7b7d', 'hex'));
    await t.rejects(openCheckpoint(path), { code: 'checkpoint_unreadable', message: /header is wrong/ });
  });
  await t.test('metadata and odd names are harmless', async (t) => {
    const header = `{"__metadata__":{"format":"pt"},"__proto__":${JSON.stringify(w)}}`;
    const checkpoint = await openBytes(t, safetensors(header, float32Bytes([5, 6])));
    t.same(await valuesOf(checkpoint, '__proto__'), [5, 6]);
    t.same(await valuesOf(await openBytes(t, safetensors({ 'module.w': w }, data)), 'module.w'), [0, 0]);
  });
});

t.test('says what is wrong with a path', async (t) => {
  const folder = temporaryFolder(t);
  await t.rejects(openCheckpoint(join(folder, 'none.pt')), {
    code: 'checkpoint_unreadable',
    message: /not exist/,
  });
  await t.rejects(openCheckpoint(folder), { code: 'checkpoint_unreadable', message: /is a folder/ });
  execFileSync('mkfifo', [join(folder, 'pipe.pt')]);
  await t.rejects(openCheckpoint(join(folder, 'pipe.pt')), { message: /not a regular file/ });
});

t.test('a file that is cut while it is open is an error', async (t) => {
  const path = join(temporaryFolder(t), 'weights.pt');
  writeFileSync(path, readFileSync(join(GOLDEN, 'plain_legacy.pth')));
  const checkpoint = await open(t, path);
  await truncate(path, statSync(path).size - 200);
  await t.rejects(checkpoint.read('strided.col'), {
    code: 'checkpoint_unreadable',
    message: /became shorter/,
  });
});

t.test('refuses tensors that no memory should hold', async (t) => {
  const path = join(temporaryFolder(t), 'large.safetensors');
  const elements = 2 ** 30;
  const head = safetensors(
    { w: { dtype: 'U8', shape: [elements], data_offsets: [0, elements] } },
    Buffer.alloc(0),
  );
  writeFileSync(path, head);
  // The rest is a hole: it takes no room on the disk.
  await truncate(path, head.length + elements);
  await t.rejects(openCheckpoint(path), {
    code: 'checkpoint_too_large',
    message: /w \[1073741824\] is larger/,
  });
});

t.test('can be called off', async (t) => {
  const path = join(GOLDEN, 'plain_zip.pt');
  await t.rejects(openCheckpoint(path, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  const calling = new AbortController();
  const checkpoint = await open(t, path, { signal: calling.signal });
  calling.abort();
  await t.rejects(checkpoint.read('ints'), { name: 'AbortError' });
  // In the middle of a long pickle.
  const long = join(temporaryFolder(t), 'long.pt');
  writeFileSync(long, torchZip(pickle.whole(Buffer.alloc(10_000_000, 'N0'))));
  const stopping = new AbortController();
  const opening = openCheckpoint(long, { signal: stopping.signal });
  setImmediate(() => stopping.abort());
  await t.rejects(opening, { name: 'AbortError' });
});
