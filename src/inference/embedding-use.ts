import type { Tensor } from 'onnxruntime-node';
import { scoreOf } from '../common/linear-head.js';
import type { Manifest } from '../models/manifest.js';
import { embeddingOf } from './embedding-kind.js';
import type { InferenceRequest } from './engine.js';
import type { LearnRequest, ProcessResult } from './protocol.js';

/** What is made of a model's embedding in its process: scores of learnt labels, and samples. */
export interface EmbeddingUse {
  /** The output that a request needs besides; null where nobody wants anything of it, and then it is not computed. */
  outputFor(request: InferenceRequest): string | null;
  /** What is wanted from now on; heads of another width than `features` are left out. */
  learn(request: LearnRequest, features: number): void;
  /** Adds what is made of the embedding to an answer. Returns what is wrong with the output; undefined: nothing. */
  answer(request: InferenceRequest, result: Tensor | undefined, answer: Scored): string | undefined;
}

/** The part of an answer that the embedding has a say in. */
export type Scored = Pick<ProcessResult, 'scores' | 'frames' | 'embeddings' | 'pieces'>;

/** Embeddings in a row, as the network gives them, and which of them are wanted. */
interface Rows {
  readonly values: Float32Array;
  readonly features: number;
  readonly from: number;
  /** Not included. */
  readonly to: number;
}

export function createEmbeddingUse(manifest: Manifest, labelCount: number): EmbeddingUse {
  const output = embeddingOf(manifest);
  const perFrame = output?.kind === 'frames';
  let heads: LearnRequest['heads'] = [];

  function rowsOf(result: Tensor | undefined, { frames }: InferenceRequest): Rows | undefined {
    if (result === undefined || !(result.data instanceof Float32Array)) return undefined;
    const { dims, data: values } = result;
    const features = dims.at(-1) ?? 0;
    const fits = perFrame ? dims.length === 2 || (dims.length === 3 && dims[0] === 1) : isOne(dims);
    if (!fits || features < 1) return undefined;
    const count = values.length / features;
    if (!perFrame || frames === undefined) return { values, features, from: 0, to: count };
    const from = Math.min(frames.from, count);
    return { values, features, from, to: Math.max(from, Math.min(frames.to, count)) };
  }

  /** The scores of the heads behind those of the model, in the window and in each frame. */
  function widen({ values, features, from, to }: Rows, answer: Scored): void {
    const { scores: own, frames: ownFrames } = answer;
    const width = labelCount + heads.length;
    const scores = new Float32Array(width);
    scores.set(own);
    const count = ownFrames === null ? 0 : ownFrames.length / labelCount;
    const frames = ownFrames === null ? null : new Float32Array(count * width);
    for (let row = 0; row < count; row += 1) {
      for (let at = 0; at < labelCount; at += 1) {
        frames![row * width + at] = ownFrames![row * labelCount + at]!;
      }
    }
    for (let each = 0; each < heads.length; each += 1) {
      const place = labelCount + each;
      let highest = 0;
      for (let row = from; row < to; row += 1) {
        const score = scoreOf(heads[each]!, values, row * features);
        if (perFrame && row - from < count) frames![(row - from) * width + place] = score;
        if (score > highest) highest = score;
      }
      scores[place] = highest;
      // What holds for the window holds for each frame: nobody knows better.
      if (!perFrame) for (let row = 0; row < count; row += 1) frames![row * width + place] = scores[place];
    }
    answer.scores = scores;
    answer.frames = frames;
  }

  /** Copies: a view would take all of the output with it on its way to the service. */
  function sample({ values, features, from, to }: Rows, answer: Scored): void {
    answer.embeddings = values.slice(from * features, to * features);
    answer.pieces = to - from;
  }

  return {
    outputFor({ embeddings = false }) {
      if (output === null) return null;
      return heads.length > 0 || embeddings ? output.name : null;
    },
    learn(request, features) {
      heads = request.heads.filter(({ weights }) => weights.length === features);
    },
    answer(request, result, answer) {
      const rows = rowsOf(result, request);
      if (rows === undefined || (heads.length > 0 && rows.features !== heads[0]!.weights.length)) {
        return `its output "${output!.name}" is ${result?.type} [${result?.dims.join(', ')}] where an embedding is needed`;
      }
      if (heads.length > 0) widen(rows, answer);
      if (request.embeddings === true) sample(rows, answer);
      return undefined;
    },
  };
}

/** [features] or [1, features], whatever is left of the axes that were pooled. */
function isOne(dims: readonly number[]): boolean {
  return dims.length > 0 && dims.slice(0, -1).every((size) => size === 1);
}

/** The number of the source of sound that is handed in for its embedding: none that is listened to has it. */
export const ASIDE = 255;
