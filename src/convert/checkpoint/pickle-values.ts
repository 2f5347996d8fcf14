import type { Dtype } from './dtypes.js';

/** What an unpickled object may be. Plain data only: nothing in it can be called or has behaviour of its own. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleList
  | PickleTuple
  | PickleDict
  | KnownGlobal
  | Storage
  | TensorView
  | Inert;

/** A dict or an OrderedDict; a Map, so that keys such as `__proto__` are keys like any other. */
export type PickleDict = Map<PickleValue, PickleValue>;

/** A list or a set. */
export class PickleList {
  readonly items: PickleValue[] = [];
}

/** A tuple, a frozenset or a torch.Size. */
export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

/** Something that was there and does not matter: bytes, numpy arrays, skipped long texts. */
export class Inert {
  constructor(readonly what: string) {}
}

/** A global of the list in `pickle-globals.ts`; `storage` where it names a storage class. */
export class KnownGlobal {
  constructor(
    readonly name: string,
    readonly storage: Dtype | null,
  ) {}
}

/** A one-dimensional array of the file that tensors are views of. */
export class Storage {
  constructor(
    readonly key: string,
    readonly dtype: Dtype,
    /** Number of elements. */
    readonly elements: number,
  ) {}
}

/** A tensor as the pickle declares it; `checkView` in `views.ts` says whether it is one. */
export class TensorView {
  constructor(
    readonly storage: Storage,
    /** In elements of the storage, as are the strides. */
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}
