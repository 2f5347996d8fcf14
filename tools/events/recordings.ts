import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { decodeFile } from '../../src/audio/decode.js';
import { resampleWhole } from '../../src/audio/resample.js';
import { relatedOf } from './kin.js';
import type { Recording } from './scene.js';

/** The list beside the recordings of the demo: what is heard in each, and what the bundled model claims to name. */
const indexSchema = z.array(
  z.object({ file: z.string(), expected: z.array(z.string()).min(1), supported: z.array(z.string()) }),
);

/** Whole recordings of one sound each, which have no list. */
const GOLDEN = [
  { file: 'speech.wav', labels: ['Speech'] },
  { file: 'music.wav', labels: ['Music'] },
  { file: 'typing.wav', labels: ['Typing', 'Computer keyboard'] },
];

/** The model that the list speaks of. */
const LISTED_MODEL = 'soundpost-home';

/**
 * The recordings that scenes are mixed of, at this rate.
 * @param folders `listed` has an index.json; `golden` has speech, music and typing; null: there is none
 */
export async function readRecordings(
  folders: { listed: string | null; golden: string | null },
  sampleRate: number,
): Promise<Recording[]> {
  const { listed, golden } = folders;
  const recordings: Recording[] = [];
  if (listed !== null) {
    const index = indexSchema.parse(JSON.parse(await readFile(join(listed, 'index.json'), 'utf8')));
    for (const { file, expected, supported } of index) {
      recordings.push(await read(listed, file, expected, { [LISTED_MODEL]: supported }, sampleRate));
    }
  }
  if (golden !== null) {
    for (const { file, labels } of GOLDEN) {
      recordings.push(await read(golden, file, labels, {}, sampleRate));
    }
  }
  return recordings;
}

async function read(
  folder: string,
  file: string,
  labels: readonly string[],
  claims: Recording['claims'],
  sampleRate: number,
): Promise<Recording> {
  const audio = await decodeFile(join(folder, file));
  const samples = await resampleWhole(audio.samples, audio.sampleRate, sampleRate);
  return { name: file.replace(/\.wav$/, ''), labels, related: relatedOf(labels), claims, samples };
}
