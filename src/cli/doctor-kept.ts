import { constants } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOfErrno } from '../common/errno.js';
import { megabytes } from '../common/size-text.js';
import type { Config } from '../config/schema.js';
import type { Finding } from './finding.js';

/* Whether what is heard can be kept, and how much of it is there. The service works without. */

export function checkHistory({ history, data_dir: dataDir }: Config): Promise<Finding> {
  return checkFolder(join(dataDir, 'history'), {
    isOn: history.enabled,
    off: 'off (history.enabled is false)',
    limits: `of ${history.max_mb} MB, for ${history.days} days`,
  });
}

export function checkClips({ clips, data_dir: dataDir }: Config): Promise<Finding> {
  return checkFolder(join(dataDir, 'clips'), {
    isOn: clips.enabled,
    off: 'off, no sound is kept (clips.enabled is false)',
    limits: `of ${clips.max_mb} MB, for ${clips.days} days; ${clips.speech === 'keep' ? 'speech is kept too' : 'none with speech'}`,
    counted: { ending: '.flac', one: 'clip', many: 'clips' },
  });
}

export function checkBackground({ learn, data_dir: dataDir }: Config): Promise<Finding> {
  return checkFolder(join(dataDir, 'background'), {
    isOn: learn.background,
    off: 'off, nothing is kept of what is heard day in, day out (learn.background is false)',
    limits: `of ${learn.max_background_mb} MB; no sound, but what the network makes of it, for sounds of your own`,
    // A file for each model and day.
    counted: { ending: '.emb', one: 'day', many: 'days', of: (name) => name.slice(-'YYYY-MM-DD.emb'.length) },
  });
}

/**
 * @param rule.counted the files that end so are counted, and called so; those of which `of` says the same are counted once
 */
async function checkFolder(
  folder: string,
  rule: {
    isOn: boolean;
    off: string;
    limits: string;
    counted?: { ending: string; one: string; many: string; of?: (name: string) => string };
  },
): Promise<Finding> {
  const blocked = await whyNotWritable(folder);
  const { counted } = rule;
  const held = await heldIn(folder, counted).catch((error: unknown) => codeOfErrno(error));
  const size = (bytes: number, files: number) =>
    counted === undefined
      ? megabytes(bytes)
      : `${files} ${files === 1 ? counted.one : counted.many}, ${megabytes(bytes)}`;
  if (!rule.isOn) {
    const isEmpty = typeof held === 'string' || held.files === 0;
    const left = isEmpty ? '' : `; ${size(held.bytes, held.files)} of earlier lie in ${folder}`;
    return { verdict: 'ok', detail: `${rule.off}${left}` };
  }
  if (blocked !== null) {
    return {
      verdict: 'warn',
      detail: `${folder} cannot be written (${blocked}), so nothing is kept: give it to the user that runs Soundpost (sudo chown)`,
    };
  }
  if (typeof held === 'string') {
    return { verdict: 'warn', detail: `${folder} cannot be read (${held}): what was kept is not found` };
  }
  return { verdict: 'ok', detail: `${size(held.bytes, held.files)} ${rule.limits}, in ${folder}` };
}

/** The code of what keeps from writing into a folder, or from making it where it is not there; null for nothing. */
async function whyNotWritable(folder: string): Promise<string | null> {
  for (let at = folder; ; at = dirname(at)) {
    try {
      if (!(await stat(at)).isDirectory()) return 'ENOTDIR';
      await access(at, constants.W_OK | constants.X_OK);
      return null;
    } catch (error) {
      const code = codeOfErrno(error);
      if (code !== 'ENOENT' || at === dirname(at)) return code;
    }
  }
}

async function heldIn(
  folder: string,
  { ending = '', of = (name: string) => name }: { ending?: string; of?: (name: string) => string } = {},
): Promise<{ bytes: number; files: number }> {
  let bytes = 0;
  const files = new Set<string>();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (codeOfErrno(error) === 'ENOENT') return [];
    throw error;
  });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    // The service may be removing it at this moment.
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => null);
    bytes += found?.size ?? 0;
    if (entry.name.endsWith(ending)) files.add(of(entry.name));
  }
  return { bytes, files: files.size };
}
