import type { Dtype } from './dtypes.js';
import { forbidden, shown, tooLarge, unreadable } from './faults.js';
import { LIMITS, type Budget } from './limits.js';
import {
  Inert,
  KnownGlobal,
  PickleList,
  PickleTuple,
  Storage,
  TensorView,
  type PickleDict,
  type PickleValue,
} from './pickle-values.js';

type Call = (args: readonly PickleValue[], budget: Budget) => PickleValue;

/** The classes of torch whose objects are the storages of a file. */
const STORAGES: Record<string, Dtype> = {
  DoubleStorage: 'float64',
  FloatStorage: 'float32',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  LongStorage: 'int64',
  IntStorage: 'int32',
  ShortStorage: 'int16',
  CharStorage: 'int8',
  ByteStorage: 'uint8',
  BoolStorage: 'bool',
};

const DTYPES = [
  'float16 float32 float64 half float double bfloat16',
  'uint8 int8 int16 int32 int64 short int long bool',
]
  .join(' ')
  .split(' ');

/** Part of pickled numpy arrays: what stands for them is not looked at. */
const inert =
  (what: string): Call =>
  () =>
    new Inert(what);

/**
 * Every global a checkpoint may name, with our own reading of a call of it; null where it may only be named. There is
 * no way from here to code that the file chooses.
 */
const CALLS: ReadonlyMap<string, Call | null> = new Map<string, Call | null>([
  ['collections.OrderedDict', orderedDict],
  ['torch._utils._rebuild_tensor_v2', rebuildTensor],
  ['torch._utils._rebuild_parameter', rebuildParameter],
  ['torch.Size', size],
  ...Object.keys(STORAGES).map((name): [string, null] => [`torch.${name}`, null]),
  ...DTYPES.map((name): [string, null] => [`torch.${name}`, null]),
  // numpy 2 calls its core _core.
  ...['numpy.core.multiarray', 'numpy._core.multiarray'].flatMap((module): [string, Call][] => [
    [`${module}._reconstruct`, inert('a numpy array')],
    [`${module}.scalar`, inert('a numpy scalar')],
  ]),
  ['numpy.ndarray', null],
  ['numpy.dtype', inert('a numpy dtype')],
  ['_codecs.encode', inert('bytes')],
]);

/** The global of a pickle; throws the fault `checkpoint_forbidden` for any that is not on the list. */
export function lookUp(module: string, name: string): KnownGlobal {
  const full = `${module}.${name}`;
  // A dot in the parts would let two spellings name one thing ("a" "b.c" and "a.b" "c").
  if (name.includes('.') || !CALLS.has(full)) {
    throw forbidden(`it refers to ${shown(full)}, which has no place in a file of weights`);
  }
  const storage = module === 'torch' && Object.hasOwn(STORAGES, name) ? STORAGES[name]! : null;
  return new KnownGlobal(full, storage);
}

/** What a call of a global gives, whichever opcode asks for it. */
export function call(target: PickleValue, args: PickleValue, budget: Budget): PickleValue {
  if (!(target instanceof KnownGlobal) || !(args instanceof PickleTuple)) {
    throw unreadable('its pickle calls what cannot be called');
  }
  const known = CALLS.get(target.name);
  if (known === undefined || known === null) {
    throw forbidden(`it calls ${target.name}, which has no place in a file of weights`);
  }
  budget.charge(64);
  return known(args.items, budget);
}

/** `OrderedDict()` or, as Python 2 writes it, `OrderedDict([[key, value], …])`. */
function orderedDict(args: readonly PickleValue[], budget: Budget): PickleDict {
  const dict: PickleDict = new Map();
  budget.charge(200);
  const [pairs] = args;
  if (pairs === undefined) return dict;
  if (!(pairs instanceof PickleList) || args.length > 1)
    throw unreadable('an OrderedDict in it is malformed');
  budget.charge(64 * pairs.items.length);
  for (const pair of pairs.items) {
    const items = pair instanceof PickleList || pair instanceof PickleTuple ? pair.items : [];
    const [key, value] = items;
    if (key === undefined || value === undefined || items.length !== 2) {
      throw unreadable('an OrderedDict in it is malformed');
    }
    dict.set(key, value);
  }
  return dict;
}

function size(args: readonly PickleValue[]): PickleValue {
  const [dimensions] = args;
  if (!(dimensions instanceof PickleTuple)) throw unreadable('a torch.Size in it is malformed');
  return dimensions;
}

/** `(storage, offset, size, stride, requires_grad, backward_hooks, metadata?)`, torch/_utils.py. */
function rebuildTensor(args: readonly PickleValue[], budget: Budget): TensorView {
  const [storage, offset, shape, strides] = args;
  if (!(storage instanceof Storage) || !isCount(offset) || args.length < 4) {
    throw unreadable('a tensor in it is not made from a storage');
  }
  const view = new TensorView(storage, offset, counts(shape), counts(strides));
  budget.charge(128 + 16 * view.shape.length);
  return view;
}

/** `(tensor, requires_grad, backward_hooks)`: the tensor. */
function rebuildParameter(args: readonly PickleValue[]): TensorView {
  const [tensor] = args;
  if (!(tensor instanceof TensorView)) throw unreadable('a parameter in it is not made from a tensor');
  return tensor;
}

function counts(value: PickleValue | undefined): number[] {
  if (!(value instanceof PickleTuple)) throw unreadable('the shape of a tensor in it is malformed');
  if (value.items.length > LIMITS.dimensions) {
    throw tooLarge(`a tensor in it has ${value.items.length} dimensions`);
  }
  return value.items.map((item) => {
    if (!isCount(item)) throw unreadable('the shape of a tensor in it is malformed');
    return item;
  });
}

const isCount = (value: PickleValue | undefined): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/**
 * `('storage', class, key, location, elements)`, with a sixth part in old files that is None: where a view of a
 * storage was pickled, which torch stopped doing before 1.0. Storages of a key are one storage.
 */
export function persistent(id: PickleValue, storages: Map<string, Storage>, budget: Budget): Storage {
  const parts = id instanceof PickleTuple ? id.items : [];
  const [kind, global, key, location, elements, view] = parts;
  if (kind !== 'storage') {
    const what = typeof kind === 'string' ? `the kind "${shown(kind)}"` : 'an unknown kind';
    throw forbidden(
      `it holds a persistent object of ${what}, and only storages have a place in a file of weights`,
    );
  }
  if (!(global instanceof KnownGlobal) || global.storage === null) {
    throw unreadable('a storage in it is of no known type');
  }
  const rightViews = view === undefined || view === null;
  if (typeof key !== 'string' || typeof location !== 'string' || !isCount(elements) || !rightViews) {
    throw unreadable('a storage in it is malformed');
  }
  const known = storages.get(key);
  if (known !== undefined) {
    if (known.dtype !== global.storage || known.elements !== elements) {
      throw unreadable(`its storage "${shown(key)}" is declared in two ways`);
    }
    return known;
  }
  budget.charge(256);
  const storage = new Storage(key, global.storage, elements);
  storages.set(key, storage);
  return storage;
}
