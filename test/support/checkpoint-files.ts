import { deflateRawSync } from 'node:zlib';

/** Pieces of a pickle (opcodes of CPython's Lib/pickletools.py), to be joined. */
export const pickle = {
  proto: (version = 2): Buffer => Buffer.from([0x80, version]),
  stop: Buffer.from('.'),
  global: (module: string, name: string): Buffer => Buffer.from(`c${module}\n${name}\n`),
  text: (text: string): Buffer => {
    const raw = Buffer.from(text);
    const head = Buffer.from('X\0\0\0\0');
    head.writeUInt32LE(raw.length, 1);
    return Buffer.concat([head, raw]);
  },
  shortText: (text: string): Buffer =>
    Buffer.from(`\x8c${String.fromCharCode(text.length)}${text}`, 'latin1'),
  int: (value: number): Buffer => {
    // LONG1 with 8 bytes takes every safe integer.
    const raw = Buffer.from([0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    raw.writeBigInt64LE(BigInt(value), 2);
    return raw;
  },
  tuple: (...items: Buffer[]): Buffer => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]),
  list: (...items: Buffer[]): Buffer => Buffer.concat([Buffer.from(']('), ...items, Buffer.from('e')]),
  dict: (entries: readonly (readonly [string, Buffer])[]): Buffer =>
    Buffer.concat([
      Buffer.from('}('),
      ...entries.flatMap(([key, value]) => [pickle.text(key), value]),
      Buffer.from('u'),
    ]),
  reduce: (callable: Buffer, args: Buffer): Buffer => Buffer.concat([callable, args, Buffer.from('R')]),
  persistent: (id: Buffer): Buffer => Buffer.concat([id, Buffer.from('Q')]),
  none: Buffer.from('N'),
  no: Buffer.from([0x89]),
  whole: (...parts: Buffer[]): Buffer => Buffer.concat([pickle.proto(), ...parts, pickle.stop]),
};

export interface TensorRecipe {
  /** FloatStorage and the like. */
  storage?: string;
  key?: string;
  /** Of the storage. */
  elements: number;
  offset?: number;
  shape: readonly number[];
  strides: readonly number[];
}

/** A tensor as torch pickles it. */
export function tensor(recipe: TensorRecipe): Buffer {
  const { text, int, tuple } = pickle;
  const storage = pickle.persistent(
    tuple(
      text('storage'),
      pickle.global('torch', recipe.storage ?? 'FloatStorage'),
      text(recipe.key ?? '0'),
      text('cpu'),
      int(recipe.elements),
    ),
  );
  const hooks = pickle.reduce(pickle.global('collections', 'OrderedDict'), Buffer.from(')'));
  return pickle.reduce(
    pickle.global('torch._utils', '_rebuild_tensor_v2'),
    tuple(
      storage,
      int(recipe.offset ?? 0),
      tuple(...recipe.shape.map(int)),
      tuple(...recipe.strides.map(int)),
      pickle.no,
      hooks,
    ),
  );
}

export interface ZipRecipe {
  name: string;
  data: Buffer;
  deflate?: boolean;
  /** What the directory says instead of the truth. */
  uncompressed?: number;
  compressed?: number;
  offset?: number;
  method?: number;
  flags?: number;
  /** Numbers go into the 64-bit extra field. */
  wide?: boolean;
}

/** A zip file as it should be, or as the recipe says otherwise. */
export function zipFile(
  entries: readonly ZipRecipe[],
  options: { entries?: number; wide?: boolean } = {},
): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let position = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const stored = entry.deflate ? deflateRawSync(entry.data) : entry.data;
    const method = entry.method ?? (entry.deflate ? 8 : 0);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt16LE(name.length, 26);
    locals.push(local, name, stored);
    directory.push(directoryEntry(entry, name, method, stored.length, position));
    position += local.length + name.length + stored.length;
  }
  const central = Buffer.concat(directory);
  const count = options.entries ?? entries.length;
  return Buffer.concat([
    ...locals,
    central,
    ...endOfZip(count, central.length, position, options.wide ?? false),
  ]);
}

function directoryEntry(
  entry: ZipRecipe,
  name: Buffer,
  method: number,
  stored: number,
  position: number,
): Buffer {
  const numbers = [
    entry.uncompressed ?? entry.data.length,
    entry.compressed ?? stored,
    entry.offset ?? position,
  ] as const;
  const head = Buffer.alloc(46);
  const extra = Buffer.alloc(entry.wide ? 28 : 0);
  head.writeUInt32LE(0x02014b50, 0);
  head.writeUInt16LE(entry.flags ?? 0, 8);
  head.writeUInt16LE(method, 10);
  head.writeUInt16LE(name.length, 28);
  head.writeUInt16LE(extra.length, 30);
  for (const [n, at] of [24, 20, 42].entries()) {
    head.writeUInt32LE(entry.wide ? 0xffffffff : numbers[n]!, at);
  }
  if (entry.wide) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    for (const [n, value] of numbers.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * n);
  }
  return Buffer.concat([head, name, extra]);
}

function endOfZip(count: number, bytes: number, offset: number, wide: boolean): Buffer[] {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(wide ? 0xffff : count, 10);
  end.writeUInt32LE(wide ? 0xffffffff : bytes, 12);
  end.writeUInt32LE(wide ? 0xffffffff : offset, 16);
  if (!wide) return [end];
  const end64 = Buffer.alloc(56);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(44n, 4);
  end64.writeBigUInt64LE(BigInt(count), 32);
  end64.writeBigUInt64LE(BigInt(bytes), 40);
  end64.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(offset + bytes), 8);
  return [end64, locator, end];
}

/** A file of torch.save in the zip format: a pickle and the storages. */
export function torchZip(object: Buffer, storages: Readonly<Record<string, Buffer>> = {}): Buffer {
  return zipFile([
    { name: 'archive/data.pkl', data: object },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ]);
}

/** A file of safetensors. `header` is written as it is. */
export function safetensors(header: unknown, data: Buffer): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

/** Little-endian float32. */
export const float32Bytes = (values: readonly number[]): Buffer => {
  const raw = Buffer.alloc(4 * values.length);
  values.forEach((value, n) => raw.writeFloatLE(value, 4 * n));
  return raw;
};
