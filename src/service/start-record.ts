import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readBounded } from '../common/bounded-read.js';
import { createJsonMemory, readJsonMemory } from '../common/json-memory.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { maskConfig } from '../config/mask.js';
import type { Config } from '../config/schema.js';
import {
  delayBeforeEnd,
  modelChosen,
  noStarts,
  startAtWork,
  startBegins,
  startEnds,
  startSettled,
  UNCOUNTED_DELAY_MS,
  type StartRecord,
} from './start-guard.js';

/** The count of failed starts, in `<data_dir>/run/starts.json`. */
export interface StartGuard {
  /** Why this start goes without the configured model and the remembered settings; null: it does not. */
  readonly safeMode: string | null;
  /** See `startAtWork`; only the first call does anything. */
  atWork(): Promise<void>;
  settled(): Promise<void>;
  /** Resolves to how long to wait before the process ends, in milliseconds. */
  ended(orderly: boolean): Promise<number>;
  modelChosen(): Promise<void>;
}

const MAX_BYTES = 16 * 1024;

const recordSchema = z.object({
  failures: z.array(z.number().int().nonnegative()).max(100),
  pending: z.number().int().nonnegative().nullable(),
  atWork: z.boolean().default(false),
  boot: z.string().max(100).nullable().default(null),
  setup: z.string().max(100),
  safe: z.boolean(),
});

/** Counts this start. A record that cannot be read counts as none; one that cannot be written is told once. */
export async function openStartGuard(options: {
  config: Config;
  /** The program's folder. */
  root: string;
  version: string;
  log: Logger;
  now?: () => number;
}): Promise<StartGuard> {
  const { config, root, version, log } = options;
  const now = options.now ?? Date.now;
  const path = join(config.data_dir, 'run', 'starts.json');
  let kept = true;
  let record = startBegins(readRecord(path, log), now(), {
    setup: setupOf(version, buildOf(root), config),
    boot: bootOf(config.telemetry.proc_root),
  });

  const memory = createJsonMemory({
    path,
    content: () => `${JSON.stringify(record)}\n`,
    failing: (error) =>
      log.warn(
        { code: 'starts_not_counted' },
        `${path} cannot be written (${messageOf(error)}): starts that fail are not counted, and each is followed by the same wait of ${UNCOUNTED_DELAY_MS / 1000} s`,
      ),
  });
  const save = async (next: StartRecord) => {
    record = next;
    kept = await memory.save();
  };
  await save(record);

  return {
    safeMode: record.safe ? 'the service ended several times right after its start' : null,
    async atWork() {
      if (!record.atWork && record.pending !== null) await save(startAtWork(record));
    },
    settled: () => save(startSettled(record)),
    async ended(orderly) {
      await save(startEnds(record, now(), orderly));
      return orderly ? 0 : delayBeforeEnd(record, kept);
    },
    modelChosen: () => save(modelChosen(record)),
  };
}

/** Another program or configuration deserves another try. Secrets stay out: a digest of a short one gives it away. */
function setupOf(version: string, build: string, config: Config): string {
  return createHash('sha256')
    .update(version)
    .update(build)
    .update(JSON.stringify(maskConfig(config)))
    .digest('hex')
    .slice(0, 16);
}

/** What is made anew with every build, of the same version too: the compiled program, and the models beside it. */
const BUILT = ['package.json', join('dist', 'src', 'main.js'), 'models'];

/** Tells builds apart by their times and sizes; the same at every start of one build. */
function buildOf(root: string): string {
  return BUILT.map((name) => {
    const found = statSync(join(root, name), { throwIfNoEntry: false });
    return found === undefined ? 'none' : `${found.mtimeMs} ${found.size}`;
  }).join('\n');
}

/** How the kernel names the life of the machine; null where it does not say. */
function bootOf(procRoot: string): string | null {
  const read = readBounded(join(procRoot, 'sys', 'kernel', 'random', 'boot_id'), 100);
  return 'problem' in read ? null : read.bytes.toString('utf8').trim();
}

function readRecord(path: string, log: Logger): StartRecord {
  const read = readJsonMemory(path, MAX_BYTES);
  if ('value' in read) return recordSchema.safeParse(read.value).data ?? noStarts;
  if (read.problem === 'unreadable') {
    const text = [`${path} ${read.reason}`, read.fate].filter(Boolean).join('; ');
    log.warn({ code: 'starts_unreadable' }, `${text}: earlier starts are not counted`);
  }
  return noStarts;
}
