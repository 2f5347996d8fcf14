import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../common/atomic-file.js';
import { readBounded } from '../common/bounded-read.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { maskConfig } from '../config/mask.js';
import type { Config } from '../config/schema.js';
import {
  delayBeforeEnd,
  modelChosen,
  noStarts,
  startBegins,
  startEnds,
  startSettled,
  type StartRecord,
} from './start-guard.js';

/** The count of failed starts, in `<data_dir>/run/starts.json`. */
export interface StartGuard {
  /** Why this start goes without the configured model and the remembered settings; null: it does not. */
  readonly safeMode: string | null;
  settled(): Promise<void>;
  /** Resolves to how long to wait before the process ends, in milliseconds. */
  ended(orderly: boolean): Promise<number>;
  modelChosen(): Promise<void>;
}

const MAX_BYTES = 16 * 1024;

const recordSchema = z.object({
  failures: z.array(z.number().int().nonnegative()).max(100),
  pending: z.number().int().nonnegative().nullable(),
  setup: z.string().max(100),
  safe: z.boolean(),
});

/** Counts this start. A record that cannot be read counts as none; one that cannot be written is told once. */
export async function openStartGuard(options: {
  config: Config;
  version: string;
  log: Logger;
  now?: () => number;
}): Promise<StartGuard> {
  const { config, version, log } = options;
  const now = options.now ?? Date.now;
  const path = join(config.data_dir, 'run', 'starts.json');
  let told = false;
  let record = startBegins(readRecord(path), now(), setupOf(version, config));

  const save = (next: StartRecord) => {
    record = next;
    return writeFileAtomic(path, `${JSON.stringify(record)}\n`).catch((error: unknown) => {
      if (!told) {
        const text = `${path} cannot be written (${messageOf(error)}): starts that fail are not counted`;
        log.warn({ code: 'starts_not_counted' }, text);
      }
      told = true;
    });
  };
  await save(record);

  return {
    safeMode: record.safe ? 'the service ended several times right after its start' : null,
    settled: () => save(startSettled(record)),
    async ended(orderly) {
      await save(startEnds(record, now(), orderly));
      return orderly ? 0 : delayBeforeEnd(record);
    },
    modelChosen: () => save(modelChosen(record)),
  };
}

/** Another version or configuration deserves another try. Secrets stay out: a digest of a short one gives it away. */
function setupOf(version: string, config: Config): string {
  return createHash('sha256')
    .update(version)
    .update(JSON.stringify(maskConfig(config)))
    .digest('hex')
    .slice(0, 16);
}

function readRecord(path: string): StartRecord {
  const read = readBounded(path, MAX_BYTES);
  if ('problem' in read) return noStarts;
  try {
    return recordSchema.parse(JSON.parse(read.bytes.toString('utf8')));
  } catch {
    return noStarts;
  }
}
