import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../common/atomic-file.js';
import { readBounded } from '../common/bounded-read.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';

/**
 * Which `B/label/<slug>` have ever been published. They are retained: after a crash or a loss of power one may
 * stand at ON for ever, so the next start has to know them, whatever is watched by then.
 */
export interface LabelMemory {
  slugs(): readonly string[];
  /** Remembers a slug. Only a new one is written, so the disk is left alone in the long run. */
  add(slug: string): void;
}

/** Groups are named by whoever may send commands, so there is no end to the names: those used last are kept. */
const MAX_SLUGS = 5000;
/** Above what so many slugs take. */
const MAX_BYTES = 1024 * 1024;
const fileSchema = z.array(z.string().regex(/^[a-z0-9_]{1,128}$/));

/** Reads `<dataDir>/labels.json`; a file that is absent or broken is an empty memory. */
export function openLabelMemory(options: { dataDir: string; log: Logger }): LabelMemory {
  const { log } = options;
  const path = join(options.dataDir, 'labels.json');
  /** In the order of their last use. */
  const known = new Set(read(path));
  let writing = Promise.resolve();
  let dirty = false;

  const write = async () => {
    dirty = false;
    await writeFileAtomic(path, `${JSON.stringify([...known])}\n`, { durable: true });
  };

  return {
    slugs: () => [...known],
    add(slug) {
      const isNew = !known.delete(slug);
      known.add(slug);
      for (const oldest of known) {
        if (known.size <= MAX_SLUGS) break;
        known.delete(oldest);
      }
      if (!isNew || dirty) return;
      dirty = true;
      writing = writing.then(write).catch((error: unknown) => {
        log.warn({ code: 'labels_not_written' }, `${path} cannot be written: ${messageOf(error)}`);
      });
    },
  };
}

function read(path: string): string[] {
  const found = readBounded(path, MAX_BYTES);
  if ('problem' in found) return [];
  try {
    return fileSchema.parse(JSON.parse(new TextDecoder().decode(found.bytes))).slice(-MAX_SLUGS);
  } catch {
    return [];
  }
}
