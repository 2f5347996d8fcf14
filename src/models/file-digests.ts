import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../common/atomic-file.js';
import { readPlain } from '../common/bounded-read.js';
import { SoundpostError } from '../common/errors.js';
import { sha256Hex } from '../common/rules.js';
import { shortageOf } from '../common/shortage.js';
import { readSmallText, sha256OfFile } from './files.js';
import { parseJson } from './validate.js';

/*
 * `files.json` beside a model: the SHA-256 of each of its files. model.onnx has one in the manifest; but a bit that
 * flips in the manifest itself, in the labels or in the thresholds changes what is heard just as much, and silently.
 */

export const DIGESTS_FILE = 'files.json';
/** Its digest is in the manifest, and it is compared when it is loaded: it may be larger than the memory. */
const NETWORK = 'model.onnx';
const MAX_BYTES = 1 << 20;
/** Of a file that is read whole to be compared. */
const MAX_FILE_BYTES = 32 << 20;

const digestsSchema = z.record(
  z
    .string()
    .max(255)
    .regex(/^[^/\0]+$/, 'a file name'),
  sha256Hex,
);

/** Written for people, and read by them only. */
const isProse = (name: string) => name.endsWith('.md');

/**
 * Writes the digests of all files of a folder into it.
 * @param networkSha256 that of model.onnx where it has just been compared: so large a file is not read once more.
 */
export async function writeDigests(folder: string, networkSha256?: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile() && entry.name !== DIGESTS_FILE && !isProse(entry.name))
    .map(({ name }) => name);
  const digests: Record<string, string> = {};
  for (const name of names.sort()) {
    const known = name === NETWORK ? networkSha256 : undefined;
    digests[name] = known ?? (await sha256OfFile(join(folder, name)));
  }
  await writeFileAtomic(join(folder, DIGESTS_FILE), `${JSON.stringify(digests, null, 2)}\n`);
}

/**
 * Compares the small files of a folder with their digests; the network is compared when it is loaded.
 * @returns how many were compared; null where the folder has no digests: it was installed by an earlier version, or by
 * hand.
 * @throws SoundpostError `model_digest` naming the file that is missing or another one, `no_resources` where the machine
 * was short of something.
 */
export async function checkDigests(folder: string): Promise<number | null> {
  const path = join(folder, DIGESTS_FILE);
  if ((await stat(path).catch(() => undefined)) === undefined) return null;
  const digests = parseJson(
    digestsSchema,
    await readSmallText(path, MAX_BYTES, 'model_digest'),
    path,
    'model_digest',
  );
  let compared = 0;
  for (const [name, expected] of Object.entries(digests)) {
    if (name === NETWORK) continue;
    const actual = await digestOfSmall(join(folder, name));
    if (actual !== expected) throw damaged(join(folder, name), actual, expected, path);
    compared += 1;
  }
  return compared;
}

async function digestOfSmall(path: string): Promise<string> {
  const read = await readPlain(path, MAX_FILE_BYTES);
  if ('bytes' in read) return createHash('sha256').update(read.bytes).digest('hex');
  const shortage = shortageOf(`${path} could not be read`, read.error);
  if (shortage !== null) throw shortage;
  return `unknown: the file ${read.problem}`;
}

function damaged(file: string, actual: string, expected: string, list: string): SoundpostError {
  return new SoundpostError(
    'model_digest',
    `${file} is damaged or was changed: its SHA-256 is ${actual}, ${list} says ${expected}. Install the model again; if you have changed the file yourself, remove ${list}.`,
  );
}
