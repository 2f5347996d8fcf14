import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Architecture } from './architecture.js';
import { architectures } from './architectures/index.js';
import { checkShapes } from './check-shapes.js';
import type { Checkpoint, TensorInfo } from './checkpoint/open.js';
import { joined } from './checkpoint/state-dict.js';
import { TRANSPOSED } from './graph.js';
import { buildNetwork, SCORES } from './network.js';
import type { OnnxGraph } from './onnx.js';
import { createWeights, type Tensor } from './weights.js';

/*
 * Training code wraps networks in others (DataParallel, torch.compile, Lightning, a class of one's own), and each of them
 * puts a name of its own in front of every tensor: `module.`, `_orig_mod.`, `model.`, `net.backbone.`. Beside the
 * network the wrapper may have tensors that are nobody's business here (weights of a loss, a second copy with moving
 * averages). So a prefix is right when the tensors behind it, taken alone, are those of the architecture.
 */

type Tensors = ReadonlyMap<string, TensorInfo>;

/** The tensors of a checkpoint that make up a network, by the names that its architecture has for them. */
export interface Fit {
  /** What stands before these names in the checkpoint; empty, or ending in a dot. */
  prefix: string;
  tensors: Tensors;
}

/** Behind a prefix there is a network only where there are so many of all tensors: a copy or two may be beside it. */
const LEAST_SHARE = 0.2;
const MOST_PARTS = 6;
/** With more tensors than this it is none of these networks, and trying them all takes its time. */
const MOST_TENSORS = 20_000;
/** Names of what else a checkpoint may be, at most. */
const MOST_OTHERS = 4;

/**
 * Finds the tensors of an architecture's network in a checkpoint. Only shapes are looked at.
 *
 * Throws SoundpostError `checkpoint_shape` where they are not there, with the architectures that would fit, or where
 * they are there more than once; `checkpoint_labels` where the network has not `labels` classes.
 */
export function fitCheckpoint(
  architecture: Architecture,
  { tensors, stateDict }: Pick<Checkpoint, 'tensors' | 'stateDict'>,
  labels: number,
): Fit {
  const prefixes = prefixesOf(tensors);
  const trials = prefixes.map((prefix) => tryPrefix(architecture, tensors, prefix));
  const fits = outermost(trials.flatMap((trial) => ('fit' in trial ? [trial] : [])));
  const [found] = fits;
  if (found === undefined) throw unfit(architecture, tensors, prefixes, trials);
  if (fits.length > 1) {
    const names = fits.map(({ fit }) => joined(stateDict, fit.prefix.slice(0, -1)));
    throw new SoundpostError(
      'checkpoint_shape',
      `it holds the network ${fits.length} times, as ${names.join(' and ')}: choose one with --state-dict ${names[0]}.`,
    );
  }
  checkLabels(found, labels);
  return found.fit;
}

type Trial = { fit: Fit; graph: OnnxGraph; classes: number | null } | { error: unknown };
type Success = Extract<Trial, { fit: Fit }>;

/** Builds the graph of shapes alone: every tensor is there, but without its values. */
function tryPrefix(architecture: Architecture, all: Tensors, prefix: string): Trial {
  const tensors = new Map(
    [...all]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, info]) => [name.slice(prefix.length), info] as const)
      .filter(([name]) => architecture.unused?.(name) !== true),
  );
  const shapes = new Map<string, Tensor>(
    [...tensors].map(([name, { shape }]) => [name, { shape, data: new Float32Array(0) }]),
  );
  try {
    const { graph } = buildNetwork(architecture, createWeights(shapes)).model;
    const classes = checkShapes(graph).get(SCORES)?.at(-1) ?? null;
    return { fit: { prefix, tensors }, graph, classes };
  } catch (error) {
    if (codeOf(error) !== 'checkpoint_shape') throw error;
    return { error };
  }
}

/** No prefix first, then those with the most tensors behind them. */
function prefixesOf(tensors: Tensors): string[] {
  const counts = new Map<string, number>();
  for (const name of tensors.keys()) {
    for (let part = 1, end = name.indexOf('.'); end !== -1 && part <= MOST_PARTS; part += 1) {
      const prefix = name.slice(0, end + 1);
      counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
      end = name.indexOf('.', end + 1);
    }
  }
  const usual = [...counts].filter(([, count]) => count >= LEAST_SHARE * tensors.size);
  return ['', ...usual.sort((a, b) => b[1] - a[1] || a[0].length - b[0].length).map(([prefix]) => prefix)];
}

/** Where a network is found with and without a further prefix it is the same one. */
function outermost(fits: readonly Success[]): Success[] {
  return fits.filter(
    ({ fit }) =>
      !fits.some((other) => other.fit.prefix !== fit.prefix && fit.prefix.startsWith(other.fit.prefix)),
  );
}

/** Why the checkpoint is not one of this architecture, and of which it is. */
function unfit(
  architecture: Architecture,
  tensors: Tensors,
  prefixes: readonly string[],
  trials: readonly Trial[],
): SoundpostError {
  // What all names have in front is certainly none of the network's business.
  const common = prefixes.findLastIndex((prefix) =>
    [...tensors.keys()].every((name) => name.startsWith(prefix)),
  );
  const trial = trials[common] ?? trials[0];
  const why = trial !== undefined && 'error' in trial ? messageOf(trial.error) : 'its tensors are others';
  const others = architectures.filter(
    (other) =>
      other !== architecture &&
      tensors.size <= MOST_TENSORS &&
      prefixes.some((prefix) => 'fit' in tryPrefix(other, tensors, prefix)),
  );
  const names = others.slice(0, MOST_OTHERS).map(({ name }) => name);
  const more = others.length > names.length ? ' and others' : '';
  const advice =
    names.length > 0
      ? `It fits ${names.join(', ')}${more}: --architecture ${names[0]}.`
      : `It fits no architecture that Soundpost knows. Its tensors are called ${[...tensors.keys()].slice(0, 3).join(', ')}, …`;
  return new SoundpostError('checkpoint_shape', `${why} ${advice}`);
}

function checkLabels({ fit, graph, classes }: Success, labels: number): void {
  if (classes === null || classes === labels) return;
  throw new SoundpostError(
    'checkpoint_labels',
    `it is of that architecture, and the network has ${classes} classes${classTensor(graph, fit.tensors, classes)}, but there are ${labels} labels: give those it was trained with, in their order (--labels FILE).`,
  );
}

/** The weight whose outputs are the classes, for the message. */
function classTensor(graph: OnnxGraph, tensors: Tensors, classes: number): string {
  const weights = graph.nodes
    .flatMap(({ inputs }) => inputs.map((name) => name.replace(TRANSPOSED, '')))
    .filter((name) => tensors.has(name));
  const last = weights.reverse().find((name) => {
    const { shape } = tensors.get(name)!;
    return shape.length >= 2 && shape[0] === classes;
  });
  return last === undefined
    ? ''
    : ` (the tensor ${last} has the shape [${tensors.get(last)!.shape.join(', ')}])`;
}
