import { SoundpostError } from '../common/errors.js';
import type { Manifest } from '../models/manifest.js';

/** What a model can be taught with: an embedding of each frame, or one of the whole window. */
export type EmbeddingKind = 'frames' | 'window';

/** The output that sounds are learnt from; that of the frames where there is one, since it says when. Null: none. */
export function embeddingOf({
  output: { embedding, frames },
}: Pick<Manifest, 'output'>): { kind: EmbeddingKind; name: string } | null {
  if (frames?.embedding != null) return { kind: 'frames', name: frames.embedding };
  return embedding === null ? null : { kind: 'window', name: embedding };
}

/** Why nothing can be learnt with a model that has no embedding, for people. */
export function noEmbedding({ id }: Pick<Manifest, 'id'>): SoundpostError {
  return new SoundpostError(
    'no_embedding',
    `The model ${id} gives no embedding (its model.json names no output for it), so no sounds of your own can be learnt with it. Choose a model that does, such as soundpost-home.`,
  );
}
