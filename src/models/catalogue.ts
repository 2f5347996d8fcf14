import { join } from 'node:path';
import { z } from 'zod';
import { didYouMean } from '../common/nearest.js';
import { SoundpostError } from '../common/errors.js';
import { sha256Hex } from '../common/rules.js';
import { readSmallText } from './files.js';
import { modelIdSchema } from './manifest.js';
import { parseJson } from './validate.js';

const MAX_BYTES = 4 << 20;

const text = z.string().min(1);
const count = z.number().int().positive();

/** What is known of a released checkpoint. Null is "not known": nothing here is guessed. */
const entrySchema = z.strictObject({
  /**
   * Our name for it, and that of the folder it is installed into: the official name of the weights where they have
   * one (`mn10_as`), else that of the architecture in lower case (`cnn14_16k`). Where several sets of weights share
   * a name, the better known has it and the others carry a number (`mn40_as_2`).
   */
  id: modelIdSchema,
  title: text,
  family: text,
  /** As the converter and `models import --architecture` name it. */
  architecture: text,
  /** Name of the file, as it is looked for in a mirror. */
  file: text.regex(/^[^/\\]+$/, 'a file name without folders'),
  url: z.url({ protocol: /^https$/ }).nullable(),
  bytes: count.nullable(),
  /** Four bytes for each number in it: close enough to plan with. */
  approximate_bytes: count,
  sha256: sha256Hex.nullable(),
  /** Where what is said of the file comes from. */
  evidence: z
    .strictObject({ url: text.exactOptional(), bytes: text.exactOptional(), sha256: text.exactOptional() })
    .default({}),
  /** A digest that others have published. It finds damage, but proves nothing about the origin. */
  md5: z.strictObject({ value: z.string().regex(/^[0-9a-f]{32}$/), evidence: text }).nullable(),
  licence: z.strictObject({
    code: text.nullable(),
    weights: text.nullable(),
    note: text.nullable(),
    /** Who made the weights and where they are from, in the words to be given where they are passed on. */
    attribution: text.nullable().default(null),
    /** Where the licence of the weights is stated. */
    evidence: text.nullable().default(null),
  }),
  audioset_map: z.number().min(0).max(1).nullable(),
  parameters: count,
  /** Multiply-accumulates of the network for 10 s of sound, without the front end. */
  macs: count,
  /** Name of the label set. */
  labels: text,
  sample_rate: count,
  /** The kind of log-mel, or null where the network takes samples. */
  frontend: text.nullable(),
  note: text.nullable(),
});

const catalogueSchema = z
  .strictObject({
    /** Where the checkpoints lie, redirects included; `*.example.org` is every host below it. */
    hosts: z.array(text).min(1),
    models: z.array(entrySchema).min(1),
    /** Released checkpoints that cannot be converted: the ids they would have, and why. */
    not_buildable: z.array(z.strictObject({ ids: z.array(modelIdSchema), reason: text })).optional(),
  })
  .superRefine(({ models }, context) => {
    const seen = new Set<string>();
    models.forEach(({ id }, index) => {
      if (seen.has(id)) {
        context.addIssue({ code: 'custom', path: ['models', index, 'id'], message: `"${id}" comes twice` });
      }
      seen.add(id);
    });
  });

export type CatalogueEntry = z.infer<typeof entrySchema>;
export type Catalogue = z.infer<typeof catalogueSchema>;

/**
 * The known checkpoints, from `catalogue.json` beside the bundled models.
 * @throws SoundpostError `catalogue` naming what is wrong with the file.
 */
export async function readCatalogue(bundledFolder: string): Promise<Catalogue> {
  const path = join(bundledFolder, 'catalogue.json');
  return parseJson(catalogueSchema, await readSmallText(path, MAX_BYTES, 'catalogue'), path, 'catalogue');
}

/** Why there is no entry of this id, where there is a released checkpoint that it would name. */
export function whyNotBuildable(catalogue: Pick<Catalogue, 'not_buildable'>, id: string): string | undefined {
  const reason = catalogue.not_buildable?.find(({ ids }) => ids.includes(id))?.reason;
  return reason === undefined ? undefined : `${id} cannot be converted: ${reason}.`;
}

/**
 * The error where a model was named that is not here: how to get it where the catalogue has it, else which id may have
 * been meant.
 * @param catalogue left out where only an installed model would do.
 */
export function modelUnknown(
  id: string,
  known: {
    installed: readonly string[];
    catalogue?: Pick<Catalogue, 'models' | 'not_buildable'> | undefined;
  },
): SoundpostError {
  const { installed, catalogue } = known;
  const fail = (message: string) => new SoundpostError('model_unknown', message);
  if (catalogue?.models.some((entry) => entry.id === id) === true)
    return fail(`The model ${id} is not installed. ${howToGet(id)}`);
  const why = catalogue && whyNotBuildable(catalogue, id);
  if (why !== undefined) return fail(why);
  const meant = didYouMean(id, [...installed, ...(catalogue?.models ?? []).map((entry) => entry.id)]);
  const here = `Installed: ${installed.join(', ') || 'none'}.`;
  return catalogue === undefined
    ? fail(`There is no model "${id}" here.${meant} ${here}`)
    : fail(
        `There is no model "${id}", neither here nor in the catalogue.${meant} ${here} "npx soundpost models list" shows all.`,
      );
}

/** What to do to have a model of the catalogue. */
export function howToGet(id: string): string {
  return `Get it with "npx soundpost models pull ${id}" (over MQTT: request/model/pull with {"id":"${id}"}).`;
}

/**
 * @param installed ids of the models that are here
 * @throws SoundpostError `model_unknown`, with the id that was probably meant, or why it cannot be had.
 */
export function catalogueEntry(
  catalogue: Catalogue,
  id: string,
  installed: readonly string[],
): CatalogueEntry {
  const entry = catalogue.models.find((candidate) => candidate.id === id);
  if (entry === undefined) throw modelUnknown(id, { installed, catalogue });
  return entry;
}

/** The licences of code and weights in a few words; what is not stated is said to be so. */
export function licenceOf({ licence }: CatalogueEntry): string {
  return `code ${licence.code ?? 'not stated'}, weights ${licence.weights ?? 'not stated'}`;
}
