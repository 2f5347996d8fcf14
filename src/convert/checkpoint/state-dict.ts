import { Fault, shown, unreadable } from './faults.js';
import { TensorView, type PickleDict, type PickleValue } from './pickle-values.js';

/** Where official checkpoints keep their weights when they are not the state dict itself. */
const USUAL_KEYS = ['model', 'state_dict'];
/** What training keeps beside the weights, with tensors as large as they are. */
const NO_WEIGHTS = /optim|sched|scaler|callback/i;
/** How deep containers are looked into. */
const MOST_DEPTH = 4;
/** A dict with fewer tensors than this share of the largest one is not a second network. */
const LEAST_SHARE = 0.5;

/** A state dict of a checkpoint. */
export interface StateDict {
  /** The keys that lead to it, with dots between them; empty where it is the checkpoint itself. */
  path: string;
  tensors: Map<string, TensorView>;
}

/**
 * The tensors of a checkpoint by name: those at `path`, or where none is given of the dict under "model" or
 * "state_dict", of the checkpoint itself, or of the only dict in it that holds a network's worth of them. `path` is made
 * of keys with dots between them (`ema.weights`); what is left of it where a state dict is reached is the beginning of
 * the names that are meant. What is no tensor is left out (counters, hyper-parameters). Throws faults.
 */
export function findStateDict(root: PickleValue, path?: string): StateDict {
  const found = path === undefined ? findUsual(root) : { path, tensors: follow(root, path) };
  const { tensors } = found;
  if (path !== undefined && tensors.size === 0) {
    const usual = findUsual(root);
    const behind = chooseBehind(usual.tensors, path);
    if (behind.size > 0) return { path: joined(usual.path, path), tensors: behind };
  }
  if (tensors.size === 0) throw unreadable(`there are no tensors ${placeOf(path)}; ${keysOf(root)}`);
  return found;
}

/** A path below another. */
export function joined(path: string, rest: string): string {
  return path === '' ? rest : `${path}.${rest}`;
}

function findUsual(root: PickleValue): StateDict {
  const itself = { path: '', tensors: tensorsOf(root) };
  if (!(root instanceof Map)) return itself;
  for (const key of USUAL_KEYS) {
    const inner = root.get(key);
    if (inner instanceof Map && hasTensors(inner)) return { path: key, tensors: tensorsOf(inner) };
  }
  if (itself.tensors.size > 0) return itself;
  const found = stateDictsIn(root, '', MOST_DEPTH, new Set());
  const most = Math.max(...found.map(({ tensors }) => tensors.size));
  const networks = found.filter(({ tensors }) => tensors.size >= LEAST_SHARE * most);
  const [only] = networks;
  if (only === undefined) return itself;
  if (networks.length === 1) return only;
  const paths = networks.map(({ path }) => shown(path));
  throw new Fault(
    'checkpoint_unreadable',
    `it holds ${networks.length} state dicts: ${paths.join(', ')}`,
    `Choose one with --state-dict, for instance --state-dict ${paths[0]}.`,
  );
}

/** The dicts with tensors below a container. A pickle may hold the same dict in any number of places. */
function stateDictsIn(dict: PickleDict, before: string, depth: number, seen: Set<PickleDict>): StateDict[] {
  return [...dict].flatMap(([key, inner]): StateDict[] => {
    if (typeof key !== 'string' || NO_WEIGHTS.test(key) || !(inner instanceof Map) || seen.has(inner))
      return [];
    seen.add(inner);
    const path = `${before}${key}`;
    if (hasTensors(inner)) return [{ path, tensors: tensorsOf(inner) }];
    return depth > 1 ? stateDictsIn(inner, `${path}.`, depth - 1, seen) : [];
  });
}

/** Keys may have dots in them, so the longest that fits is taken. */
function follow(value: PickleValue, path: string): Map<string, TensorView> {
  if (!(value instanceof Map)) return new Map();
  const direct = value.get(path);
  if (direct instanceof Map) return tensorsOf(direct);
  const keys = [...value.keys()].filter(
    (key): key is string =>
      typeof key === 'string' && path.startsWith(`${key}.`) && value.get(key) instanceof Map,
  );
  const key = keys.sort((a, b) => b.length - a.length)[0];
  if (key !== undefined) return follow(value.get(key)!, path.slice(key.length + 1));
  return chooseBehind(tensorsOf(value), path);
}

/** The tensors whose names begin with a path, without it; all of them where there is none. */
export function chooseBehind<T>(tensors: Map<string, T>, path: string | undefined): Map<string, T> {
  if (path === undefined) return tensors;
  const prefix = `${path}.`;
  return new Map(
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  );
}

const placeOf = (path?: string): string =>
  path === undefined || path === '' ? 'in it or in a dict in it' : `under "${shown(path)}"`;

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
