import { closeSync, fstatSync, fsyncSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { createJsonMemory, readCheckedMemory } from '../common/json-memory.js';
import { messageOf } from '../common/errors.js';
import { SOURCE_NAME } from '../common/rules.js';
import type { Logger } from '../common/log.js';

/**
 * Which `B/label/<slug>` and `B/source/<source>/label/<slug>` have ever been published. They are retained: after a
 * crash or a loss of power one may stand at ON for ever, so the next start has to know them, whatever is watched by
 * then.
 */
export interface LabelMemory {
  /** The labels of one source by its name; null: those of a device with one source. */
  of(source: string | null): SourceLabels;
  /** Whose labels are remembered. */
  sources(): readonly (string | null)[];
  /** A last attempt for what is not on the disk yet. */
  stop(): Promise<void>;
}

/** What is remembered of the labels of one source. */
export interface SourceLabels {
  /** In the order of their last use. */
  slugs(): readonly string[];
  /** Slugs may be missing: an earlier life could not write them down. */
  readonly isIncomplete: boolean;
  /** Remembers a slug. Only a new one is written, so the disk is left alone in the long run. */
  add(slug: string): void;
  /** Its topic has been cleared. */
  forget(slug: string): void;
}

/** Groups are named by whoever may send commands, so there is no end to the names: those used last are kept. */
const MAX_LABELS = 10_000;
/** Above what so many take. */
const MAX_BYTES = 2 * 1024 * 1024;
const SLUG = /^[a-z0-9_]{1,128}$/;
/** `<slug>`, or `<source>/<slug>` of one of several sources. */
const fileSchema = z.array(
  z.string().refine((entry) => {
    const { source, slug } = partsOf(entry);
    return SLUG.test(slug) && (source === null || SOURCE_NAME.test(source));
  }),
);

/** In place of the newline at the end of the file: slugs were published since that could not be written to it. */
const INCOMPLETE = '\t';
const COMPLETE_AFTER_MS = 120_000;

const entryOf = (source: string | null, slug: string): string =>
  source === null ? slug : `${source}/${slug}`;

/** The source of an entry, null where it names none, and its slug. */
function partsOf(entry: string): { source: string | null; slug: string } {
  const slash = entry.indexOf('/');
  if (slash < 0) return { source: null, slug: entry };
  return { source: entry.slice(0, slash), slug: entry.slice(slash + 1) };
}

/**
 * Reads `<dataDir>/labels.json`; a file that is absent is an empty memory, one that is broken an incomplete one. It is
 * there from the first start on, so that it can be marked when the disk is full later.
 */
export function openLabelMemory(options: { dataDir: string; log: Logger }): LabelMemory {
  const { log } = options;
  const path = join(options.dataDir, 'labels.json');
  const found = read(path, log);
  /** In the order of their last use. */
  const known = new Set(found.entries);
  let { isIncomplete } = found;
  const memory = createJsonMemory({
    path,
    content: () => `${JSON.stringify([...known])}${isIncomplete ? INCOMPLETE : '\n'}`,
    failing(error) {
      mark(path);
      log.warn(
        { code: 'labels_not_written' },
        `${path} cannot be written (${messageOf(error)}): it is written again until it stands. Check that the disk has room and that this user may write there.`,
      );
    },
  });
  if (found.isNew) createEmpty(path);
  let timer: NodeJS.Timeout | null = null;
  if (isIncomplete) {
    // By then the broker has been told; a start that is cut short before that leaves it to the next one.
    timer = setTimeout(() => {
      isIncomplete = false;
      void memory.save();
    }, COMPLETE_AFTER_MS);
    timer.unref();
  }

  return {
    of: (source) => ({
      slugs: () => [...known].map(partsOf).flatMap((entry) => (entry.source === source ? entry.slug : [])),
      isIncomplete: found.isIncomplete,
      add(slug) {
        const entry = entryOf(source, slug);
        const isNew = !known.delete(entry);
        known.add(entry);
        for (const oldest of known) {
          if (known.size <= MAX_LABELS) break;
          known.delete(oldest);
        }
        if (isNew) void memory.save();
      },
      forget(slug) {
        if (known.delete(entryOf(source, slug))) void memory.save();
      },
    }),
    sources: () => [...new Set([...known].map((entry) => partsOf(entry).source))],
    async stop() {
      if (timer !== null) clearTimeout(timer);
      await memory.stop();
    },
  };
}

/** Leaves a file alone that has come meanwhile. */
function createEmpty(path: string): void {
  try {
    writeFileSync(path, '[]\n', { flag: 'wx' });
  } catch {
    // The first slug is written with everything that has to be said about that.
  }
}

/** Changes one byte of the file in its place, which takes no room on the disk. */
function mark(path: string): void {
  try {
    const file = openSync(path, 'r+');
    try {
      const { size } = fstatSync(file);
      if (size > 0) writeSync(file, INCOMPLETE, size - 1);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch {
    // A disk that takes nothing at all; what is to be written is tried again as long as the service lives.
  }
}

function read(path: string, log: Logger): { entries: string[]; isNew: boolean; isIncomplete: boolean } {
  const found = readCheckedMemory(path, MAX_BYTES, fileSchema);
  if ('value' in found) {
    const isIncomplete = found.text.endsWith(INCOMPLETE);
    return { entries: found.value.slice(-MAX_LABELS), isNew: false, isIncomplete };
  }
  if (found.problem === 'none') return { entries: [], isNew: true, isIncomplete: false };
  const { reason, fate } = found;
  log.warn(
    { code: 'labels_unreadable' },
    `${path} ${reason}: ${fate === '' ? '' : `${fate}; `}every label of the models is said to be off once`,
  );
  return { entries: [], isNew: false, isIncomplete: true };
}
