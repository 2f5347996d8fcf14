import { shown, unreadable } from './faults.js';
import { TensorView, type PickleDict, type PickleValue } from './pickle-values.js';

/** Where official checkpoints keep their weights when they are not the state dict itself. */
const USUAL_KEYS = ['model', 'state_dict'];
/** What torch.nn.DataParallel puts before every name. */
const DATA_PARALLEL = 'module.';

/**
 * The tensors of a checkpoint by name: those of the dict at `path`, or where none is given, of the one under "model"
 * or "state_dict", or else of the checkpoint itself. What is no tensor is left out (counters, hyper-parameters).
 * Throws faults.
 */
export function findStateDict(root: PickleValue, path?: readonly string[]): Map<string, TensorView> {
  const dict = path === undefined ? findUsual(root) : follow(root, path);
  const tensors = tensorsOf(dict);
  if (tensors.size === 0) throw unreadable(`there are no tensors ${placeOf(path)}; ${keysOf(root)}`);
  return withoutPrefix(tensors);
}

function findUsual(root: PickleValue): PickleValue {
  if (!(root instanceof Map)) return root;
  for (const key of USUAL_KEYS) {
    const inner = root.get(key);
    if (inner instanceof Map && hasTensors(inner)) return inner;
  }
  return root;
}

function follow(root: PickleValue, path: readonly string[]): PickleValue {
  let value: PickleValue = root;
  for (const key of path) {
    const inner: PickleValue | undefined = value instanceof Map ? value.get(key) : undefined;
    if (inner === undefined) throw unreadable(`there is nothing ${placeOf(path)}; ${keysOf(root)}`);
    value = inner;
  }
  return value;
}

const placeOf = (path?: readonly string[]): string =>
  path === undefined || path.length === 0
    ? `in it or under "${USUAL_KEYS.join('" or "')}"`
    : `under "${path.join('.')}"`;

function keysOf(root: PickleValue): string {
  if (!(root instanceof Map)) return 'it holds no dict';
  const keys = [...root.keys()].filter((key) => typeof key === 'string');
  if (keys.length === 0) return 'its dict is empty';
  const more = keys.length > 8 ? ', …' : '';
  return `its keys are ${keys.slice(0, 8).map(shown).join(', ')}${more}`;
}

function hasTensors(dict: PickleDict): boolean {
  for (const value of dict.values()) if (value instanceof TensorView) return true;
  return false;
}

function tensorsOf(dict: PickleValue): Map<string, TensorView> {
  const tensors = new Map<string, TensorView>();
  if (!(dict instanceof Map)) return tensors;
  for (const [key, value] of dict) {
    if (typeof key === 'string' && value instanceof TensorView) tensors.set(key, value);
  }
  return tensors;
}

/** Takes "module." off where every name has it, so that no two names can become one. */
export function withoutPrefix<T>(tensors: Map<string, T>): Map<string, T> {
  const names = [...tensors.keys()];
  if (!names.every((name) => name.startsWith(DATA_PARALLEL) && name.length > DATA_PARALLEL.length)) {
    return tensors;
  }
  return new Map([...tensors].map(([name, tensor]) => [name.slice(DATA_PARALLEL.length), tensor]));
}
