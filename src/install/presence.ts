import { SoundpostError } from '../common/errors.js';
import { currentModelId } from '../models/bundled.js';
import { catalogueEntry, type Catalogue, type CatalogueEntry } from '../models/catalogue.js';
import { modelIdSchema } from '../models/manifest.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';

/** Which models are here already. A broken one counts as absent, for it may be replaced. */
export interface Presence {
  /** The model where it is there, else what the catalogue says of it. Throws SoundpostError `model_unknown`. */
  find(id: string): Promise<{ model: InstalledModel } | { known: Catalogue; entry: CatalogueEntry }>;
  /** Throws SoundpostError `invalid_id`, and `model_exists` where there is one with this id. */
  refuse(id: string): Promise<void>;
}

export function createPresence(
  registry: Pick<ModelRegistry, 'list'>,
  catalogue: () => Promise<Catalogue>,
): Presence {
  return {
    async find(id) {
      const models = await registry.list();
      const model = models.find(({ manifest }) => manifest.id === currentModelId(id));
      if (model !== undefined) return { model };
      const known = await catalogue();
      const ids = models.map(({ manifest }) => manifest.id);
      return { known, entry: catalogueEntry(known, id, ids) };
    },

    async refuse(id) {
      if (!modelIdSchema.safeParse(id).success) {
        throw new SoundpostError(
          'invalid_id',
          `"${id}" cannot be the id of a model: letters, digits, ".", "_" and "-" only, at most 64.`,
        );
      }
      const there = (await registry.list()).find(({ manifest }) => manifest.id === currentModelId(id));
      if (there === undefined) return;
      throw new SoundpostError(
        'model_exists',
        there.bundled
          ? `${id} stands for the bundled model, which cannot be replaced. Choose another id.`
          : `There is a model ${id} already. Remove it first ("npx soundpost models remove ${id}"), or choose another id.`,
      );
    },
  };
}
