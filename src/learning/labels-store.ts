import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { removeTemporaries, syncFolder, writeFileAtomic } from '../common/atomic-file.js';
import { messageOf, SoundpostError } from '../common/errors.js';
import { readCheckedMemory } from '../common/json-memory.js';
import type { Logger } from '../common/log.js';
import { clipId, sha256Hex } from '../common/rules.js';
import { shortageOf } from '../common/shortage.js';
import { modelIdSchema } from '../models/manifest.js';
import { slugOf } from '../tagging/slug.js';
import { DOUBTS } from './doubts.js';
import type { Head } from './head.js';

const MOST_BYTES = 1024 * 1024;
const MOST_DIM = 16_384;
const FLOAT_BYTES = 4;
/** What is heard in a home is nobody else's business. */
const MODE = 0o600;

const finite = z.number().refine(Number.isFinite);
const score = z.number().min(0).max(1);

/** Float32 numbers, little-endian, in base64: to the last bit what was taught. */
const weightsSchema = z
  .string()
  .max(Math.ceil((MOST_DIM * FLOAT_BYTES * 4) / 3) + 4)
  .regex(/^[A-Za-z0-9+/]+={0,2}$/)
  .refine((text) => weightsOf(text) !== null);

export const nameSchema = z
  .string()
  .min(1)
  .max(100)
  .regex(/^\P{Cc}*$/u);

/** Where an example came from, so that it can be embedded anew for another model. */
export const exampleSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('clip'), clip: clipId }),
  z.strictObject({ kind: z.literal('file'), name: z.string().max(255), sha256: sha256Hex }),
  /** From what was just heard; its sound was not kept. */
  z.strictObject({ kind: z.literal('heard'), source: z.string().max(64), from_ms: finite, to_ms: finite }),
]);

const fileSchema = z.strictObject({
  version: z.literal(1),
  name: nameSchema,
  slug: z.string().regex(/^[a-z0-9_]{1,72}$/),
  model: z.strictObject({ id: modelIdSchema, sha256: sha256Hex }),
  head: z.strictObject({ weights: weightsSchema, bias: finite }),
  threshold: score,
  examples: z.array(exampleSchema).max(1000),
  made_at: z.iso.datetime(),
  quality: z.strictObject({
    found: z.number().int().nonnegative(),
    of: z.number().int().nonnegative(),
    false_alarms_per_day: z.strictObject({ low: z.number().min(0), high: z.number().min(0) }).nullable(),
    heard_hours: z.number().min(0),
    is_extrapolated: z.boolean(),
    // What was taught by an earlier version says nothing of these.
    heard_before: z.number().int().nonnegative().default(0),
    doubts: z.array(z.enum(DOUBTS)).default([]),
  }),
});

type LabelFile = z.infer<typeof fileSchema>;
export type LearntExample = z.infer<typeof exampleSchema>;

/** A label that was taught. */
export interface LearntLabel extends Omit<LabelFile, 'version' | 'slug' | 'head'> {
  readonly head: Head;
}

/** The same with the name of its file and topic. */
export type StoredLabel = LearntLabel & { readonly slug: string };

/** `<data_dir>/learnt`: one file for each taught label, written whole or not at all. */
export interface LearntLabels {
  /** What the folder holds, by slug. Damaged files are told of in the log, set aside and left out. */
  load(): Promise<StoredLabel[]>;
  /**
   * Keeps a label.
   * @throws SoundpostError `learn_exists` where there is one of this name, unless it is to be replaced; `no_resources`,
   * `disk_write`. What was there before is then still there.
   */
  save(label: LearntLabel, options?: { replace?: boolean }): Promise<StoredLabel>;
  /** @throws SoundpostError `learn_unknown`, `disk_write`. */
  remove(name: string): Promise<void>;
}

export function openLearntLabels({ dataDir, log }: { dataDir: string; log: Logger }): LearntLabels {
  const folder = join(dataDir, 'learnt');
  const pathOf = (slug: string) => join(folder, `${slug}.json`);

  function read(slug: string): StoredLabel | null {
    const found = readCheckedMemory(pathOf(slug), MOST_BYTES, fileSchema);
    if ('value' in found) {
      // A file that was renamed by hand would be another label under this name.
      if (found.value.slug === slug) return labelOf(found.value);
      warn(
        `${pathOf(slug)} holds the sound "${found.value.name}" and should be called ${found.value.slug}.json`,
      );
      return null;
    }
    if (found.problem === 'none') return null;
    warn(`${pathOf(slug)} ${found.reason}${found.fate === '' ? '' : `; ${found.fate}`}`);
    return null;
  }

  const warn = (what: string) => {
    log.warn({ code: 'learnt_unreadable' }, `A taught sound is left out: ${what}. Teach it again.`);
  };

  async function slugs(): Promise<string[]> {
    const names = await readdir(folder).catch(() => []);
    return names.flatMap((name) => /^([a-z0-9_]{1,72})\.json$/.exec(name)?.[1] ?? []).sort();
  }

  return {
    async load() {
      await removeTemporaries(folder);
      return (await slugs()).flatMap((slug) => read(slug) ?? []);
    },
    async save(label, { replace = false } = {}) {
      const slug = slugOf(label.name);
      const there = read(slug);
      if (there !== null && !replace) {
        throw new SoundpostError(
          'learn_exists',
          `There is a taught sound "${there.name}" already. Choose another name, or remove it first.`,
        );
      }
      const stored = { ...label, slug };
      const content = fileSchema.parse(fileOf(stored));
      await mkdir(folder, { recursive: true, mode: 0o700 }).catch(() => undefined);
      await writing(`The sound "${label.name}" could not be kept`, () =>
        writeFileAtomic(pathOf(slug), `${JSON.stringify(content, null, 2)}\n`, { mode: MODE }),
      );
      return stored;
    },
    async remove(name) {
      const slug = slugOf(name);
      const known = await slugs();
      if (!known.includes(slug)) {
        const list = known.length === 0 ? 'Nothing has been taught yet' : `There are ${known.join(', ')}`;
        throw new SoundpostError('learn_unknown', `No sound "${name}" has been taught. ${list}.`);
      }
      await writing(`The sound "${name}" could not be removed`, () => rm(pathOf(slug)));
      await syncFolder(folder);
    },
  };
}

async function writing(failed: string, work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => {
    throw (
      shortageOf(failed, error) ??
      new SoundpostError('disk_write', `${failed}: ${messageOf(error)}. Nothing was changed.`, {
        cause: error,
      })
    );
  });
}

function fileOf({ head, ...label }: StoredLabel): LabelFile {
  const bytes = Buffer.alloc(head.weights.length * FLOAT_BYTES);
  head.weights.forEach((weight, n) => bytes.writeFloatLE(weight, n * FLOAT_BYTES));
  return { version: 1, ...label, head: { weights: bytes.toString('base64'), bias: head.bias } };
}

function labelOf(file: LabelFile): StoredLabel {
  const { name, slug, model, head, threshold, examples, made_at, quality } = file;
  const { weights, bias } = head;
  return {
    ...{ name, slug, model, threshold, examples, made_at, quality },
    head: { weights: weightsOf(weights)!, bias },
  };
}

/** The numbers, or null where they are none. */
function weightsOf(text: string): Float32Array | null {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0 || bytes.length % FLOAT_BYTES !== 0) return null;
  const weights = Float32Array.from({ length: bytes.length / FLOAT_BYTES }, (_, n) =>
    bytes.readFloatLE(n * FLOAT_BYTES),
  );
  return weights.every(Number.isFinite) ? weights : null;
}
