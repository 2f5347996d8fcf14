import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { crc32c } from '../common/crc32c.js';
import { messageOf } from '../common/errors.js';
import { createJsonMemory, readCheckedMemory, setAside, type JsonMemory } from '../common/json-memory.js';
import type { Logger } from '../common/log.js';
import { sha256Hex } from '../common/rules.js';
import { slugOf } from '../tagging/slug.js';
import type { TimeSpan } from './background.js';
import { MOST_EXAMPLES } from './examples.js';
import { exampleSchema, nameSchema, type LearntExample } from './labels-store.js';
import type { EmbeddedExample } from './leave-one-out.js';
import { quantise, restore } from './quantised.js';
import type { Rows } from './rows.js';
import type { SoundingPart } from './sounding.js';

/*
 * What is being taught, in `<data_dir>/learnt/<slug>.begun.json`: one file for each sound, written whole or not at all,
 * gone when the sound is taught or given up. Of the examples it holds what the network made of them, a byte for each
 * number as in the background, and no sound.
 */

/** 50 examples of half a minute take 30 MB; three of a doorbell 0.1 MB. */
const MOST_BYTES = 64 * 1024 * 1024;
/** What is heard in a home is nobody else's business. */
const MODE = 0o600;
const ENDING = '.begun.json';

const finite = z.number().refine(Number.isFinite);
const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/);
const rowsSchema = z
  .strictObject({
    count: z.number().int().nonnegative(),
    dim: z.number().int().positive().max(16_384),
    codes: base64,
    /** Float32, little-endian. */
    scales: base64,
  })
  .refine(({ count, dim, codes, scales }) => {
    const bytes = (text: string) => Buffer.from(text, 'base64').length;
    return bytes(codes) === count * dim && bytes(scales) === 4 * count;
  });

const fileSchema = z.strictObject({
  version: z.literal(1),
  name: nameSchema,
  slug: z.string(),
  since_ms: finite,
  touched_ms: finite,
  examples: z
    .array(
      z.strictObject({
        name: z.string().max(1000),
        model: sha256Hex,
        part: z.strictObject({ from_seconds: finite, to_seconds: finite, peak_dbfs: finite }),
        origin: exampleSchema,
        span: z.strictObject({ from_ms: finite, to_ms: finite }).nullable(),
        plain: rowsSchema,
        taught: rowsSchema,
      }),
    )
    .max(MOST_EXAMPLES),
  /** CRC-32C of all that is before it: a number that is damaged is a number too. */
  crc: z.number().int(),
});

/** An example that was given. */
export interface KeptExample extends EmbeddedExample {
  /** What messages call it, as the beginning of a sentence. */
  readonly name: string;
  /** SHA-256 of the network whose embeddings these are. */
  readonly modelSha256: string;
  readonly part: SoundingPart;
  readonly origin: LearntExample;
  /** When it was heard; null where that is not known. */
  readonly span: TimeSpan | null;
}

/** A sound that is being taught. */
export interface KeptTeaching {
  readonly name: string;
  /** When it began, ms since the epoch. */
  readonly sinceMs: number;
  /** When something was said of it last, ms since the epoch. */
  readonly touchedMs: number;
  readonly examples: readonly KeptExample[];
}

/** What is being taught, on the disk. */
export interface BegunStore {
  /** What was being taught when the service ended. Damaged files are told of, set aside and left out. */
  load(): Promise<KeptTeaching[]>;
  /**
   * Keeps what `teaching` is from now on. Resolves to whether it is on the disk; where it is not, it is written again
   * until it stands. Never rejects.
   */
  keep(teaching: KeptTeaching): Promise<boolean>;
  /** Forgets it. Never rejects. */
  drop(name: string): Promise<void>;
  /** A last attempt for what is not on the disk yet. */
  stop(): Promise<void>;
}

export function openBegunStore({ dataDir, log }: { dataDir: string; log: Logger }): BegunStore {
  const folder = join(dataDir, 'learnt');
  const pathOf = (slug: string) => join(folder, `${slug}${ENDING}`);
  const kept = new Map<string, { teaching: KeptTeaching; memory: JsonMemory }>();
  /** One thing after the other is done: a file that is removed must not be written by what came before. */
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  }

  const warn = (what: string, error: unknown) => {
    log.warn({ code: 'learn_not_kept' }, `${what}: ${messageOf(error)}. Check that the disk has room.`);
  };

  function memoryOf(slug: string, name: string): JsonMemory {
    return createJsonMemory({
      path: pathOf(slug),
      mode: MODE,
      content: () => sealed(JSON.stringify(fileOf(slug, kept.get(slug)!.teaching))),
      failing: (error) =>
        warn(`What is being taught as "${name}" cannot be written, a restart forgets it`, error),
      saved: () => log.info({}, `What is being taught as "${name}" is written`),
    });
  }

  /** For people; null where nothing is, or no file is there. */
  function whatIsWrong(found: ReturnType<typeof read>, path: string): string | null {
    if ('problem' in found) return found.problem === 'none' ? null : `${found.reason}; ${found.fate}`;
    if (found.text !== sealed(found.text.replace(CRC, '}'))) return `is damaged; ${setAside(path)}`;
    return pathOf(found.value.slug) === path ? null : 'has the name of another sound';
  }

  return {
    async load() {
      const names = await readdir(folder).catch(() => []);
      return names.flatMap((name) => {
        if (!name.endsWith(ENDING)) return [];
        const path = join(folder, name);
        const found = read(path);
        // A file that was renamed by hand would be another sound under this name.
        const why = whatIsWrong(found, path);
        if ('value' in found && why === null) return [teachingOf(found.value)];
        if (why === null) return [];
        log.warn(
          { code: 'learnt_unreadable' },
          `A sound that was being taught is left out: ${path} ${why}. Begin again with learn/begin.`,
        );
        return [];
      });
    },
    keep(teaching) {
      const slug = slugOf(teaching.name);
      return inTurn(async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 }).catch(() => undefined);
        const memory = kept.get(slug)?.memory ?? memoryOf(slug, teaching.name);
        kept.set(slug, { teaching, memory });
        return memory.save();
      });
    },
    drop(name) {
      const slug = slugOf(name);
      return inTurn(async () => {
        await kept.get(slug)?.memory.stop();
        kept.delete(slug);
        await rm(pathOf(slug), { force: true }).catch((error: unknown) => {
          warn(`What was being taught as "${name}" cannot be removed`, error);
        });
      });
    },
    stop: () =>
      inTurn(async () => {
        for (const { memory } of kept.values()) await memory.stop();
      }),
  };
}

type File = z.infer<typeof fileSchema>;

const CRC = /,"crc":\d+\}$/;
const read = (path: string) => readCheckedMemory(path, MOST_BYTES, fileSchema);

/** The text of an object with its CRC as the last of its values. */
function sealed(text: string): string {
  return `${text.slice(0, -1)},"crc":${crc32c(Buffer.from(text))}}`;
}

function fileOf(slug: string, { name, sinceMs, touchedMs, examples }: KeptTeaching): Omit<File, 'crc'> {
  return {
    version: 1,
    ...{ name, slug, since_ms: sinceMs, touched_ms: touchedMs },
    examples: examples.map(({ name: example, modelSha256, part, origin, span, plain, taught }) => ({
      name: example,
      model: modelSha256,
      part: { from_seconds: part.fromSeconds, to_seconds: part.toSeconds, peak_dbfs: part.peakDbfs },
      origin,
      span: span === null ? null : { from_ms: span.fromMs, to_ms: span.toMs },
      plain: textOfRows(plain),
      taught: textOfRows(taught),
    })),
  };
}

function teachingOf({ name, since_ms: sinceMs, touched_ms: touchedMs, examples }: File): KeptTeaching {
  return {
    ...{ name, sinceMs, touchedMs },
    examples: examples.map(({ name: example, model, part, origin, span, plain, taught }) => ({
      name: example,
      modelSha256: model,
      part: { fromSeconds: part.from_seconds, toSeconds: part.to_seconds, peakDbfs: part.peak_dbfs },
      origin,
      span: span === null ? null : { fromMs: span.from_ms, toMs: span.to_ms },
      plain: rowsOfText(plain),
      taught: rowsOfText(taught),
    })),
  };
}

function textOfRows(rows: Rows): z.infer<typeof rowsSchema> {
  const { codes, scales, count, dim } = quantise(rows);
  const bytes = Buffer.alloc(4 * count);
  scales.forEach((scale, n) => bytes.writeFloatLE(scale, 4 * n));
  return {
    ...{ count, dim },
    codes: Buffer.from(codes.buffer, codes.byteOffset, codes.length).toString('base64'),
    scales: bytes.toString('base64'),
  };
}

function rowsOfText({ count, dim, codes, scales }: z.infer<typeof rowsSchema>): Rows {
  const bytes = Buffer.from(scales, 'base64');
  const all = Array.from({ length: count }, (_, n) => n);
  return restore(
    {
      codes: Int8Array.from(Buffer.from(codes, 'base64')),
      scales: Float32Array.from(all, (n) => bytes.readFloatLE(4 * n)),
      ...{ count, dim },
    },
    all,
  );
}
