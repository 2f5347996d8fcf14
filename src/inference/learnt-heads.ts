import type { LinearHead } from '../common/linear-head.js';
import type { InstalledModel } from '../models/registry.js';
import { embeddingOf, noEmbedding } from './embedding-kind.js';

/** What makes a label of the embedding of one model, and of no other. */
export interface LearntHead extends LinearHead {
  readonly slug: string;
  /** SHA-256 of the network that it was made with, as in the manifest. */
  readonly modelSha256: string;
}

/** A head that is not applied, and why, for people. */
export interface RefusedHead {
  readonly slug: string;
  /** `other_model`: it has to be taught again; `no_embedding`: the model cannot learn; `bad_head`: it is damaged. */
  readonly code: 'other_model' | 'no_embedding' | 'bad_head';
  readonly reason: string;
}

/** The heads that a model's process applies, in the order of their scores, and those that it does not. */
export interface HeadsInForce {
  readonly heads: readonly LearntHead[];
  readonly refused: readonly RefusedHead[];
}

export const NO_HEADS: HeadsInForce = { heads: [], refused: [] };

/** Which heads fit to a model, as far as can be said without its embedding. */
export function headsFor(
  { manifest }: Pick<InstalledModel, 'manifest'>,
  heads: readonly LearntHead[],
): HeadsInForce {
  const fitting: LearntHead[] = [];
  const refused: RefusedHead[] = [];
  const mute = embeddingOf(manifest) === null ? noEmbedding(manifest).message : null;
  for (const head of heads) {
    const { slug } = head;
    if (mute !== null) refused.push({ slug, code: 'no_embedding', reason: mute });
    else if (head.modelSha256 !== manifest.onnx_sha256) {
      refused.push({
        slug,
        code: 'other_model',
        reason: `"${slug}" was learnt with another model than ${manifest.id}: it has to be taught again.`,
      });
    } else if (!isFinite(head)) {
      refused.push({ slug, code: 'bad_head', reason: damaged(slug) });
    } else fitting.push(head);
  }
  return { heads: fitting, refused };
}

/** Takes out the heads that are not as wide as the embedding. */
export function headsOfWidth(
  { manifest: { id } }: Pick<InstalledModel, 'manifest'>,
  { heads, refused }: HeadsInForce,
  features: number,
): HeadsInForce {
  const wrong = heads.filter(({ weights }) => weights.length !== features);
  return {
    heads: heads.filter(({ weights }) => weights.length === features),
    refused: [
      ...refused,
      ...wrong.map(({ slug, weights }) => ({
        slug,
        code: 'bad_head' as const,
        reason: `${damaged(slug)} It has ${weights.length} weights, the embedding of ${id} ${features} numbers.`,
      })),
    ],
  };
}

const damaged = (slug: string) => `What was learnt of "${slug}" is damaged: it has to be taught again.`;

function isFinite({ weights, bias }: LinearHead): boolean {
  return Number.isFinite(bias) && weights.every((weight) => Number.isFinite(weight));
}
