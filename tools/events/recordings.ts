import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { z } from 'zod';
import { decodeFile } from '../../src/audio/decode.js';
import { resampleWhole } from '../../src/audio/resample.js';
import { SoundpostError } from '../../src/common/errors.js';
import { relatedOf } from './related-labels.js';
import type { Recording } from './scene.js';

/** The list beside the recordings of the demo: what is heard in each, and what the bundled model claims to name. */
const indexSchema = z.array(
  z.object({ file: z.string(), expected: z.array(z.string()).min(1), supported: z.array(z.string()) }),
);

/** What is beside the demo, whose sounds are cut out of it where there are no recordings of their own. */
const demoSchema = z.object({
  file: z.string(),
  events: z.array(
    z.object({
      onset: z.number(),
      offset: z.number(),
      label: z.string(),
      source: z.string(),
      supported: z.boolean(),
    }),
  ),
});

/** Whole recordings of one sound each, which have no list. */
const GOLDEN = [
  { file: 'speech.wav', labels: ['Speech'] },
  { file: 'music.wav', labels: ['Music'] },
  { file: 'typing.wav', labels: ['Typing', 'Computer keyboard'] },
];

/** The model that the list speaks of. */
const LISTED_MODEL = 'soundpost-home';

const INDEX = 'index.json';
const DEMO = 'day-at-home.json';

/**
 * The recordings that scenes are mixed of, at this rate: those of the reference material, or the sounds of the demo.
 * @param material a folder with soundpost-home/audio, golden/audio or both
 * @param demo the folder of the demo
 * @throws SoundpostError `bench_material` where there are none.
 */
export async function readRecordings(
  material: string,
  demo: string,
  sampleRate: number,
): Promise<Recording[]> {
  const listed = join(material, 'soundpost-home', 'audio');
  const golden = join(material, 'golden', 'audio');
  const recordings: Recording[] = [];
  if (existsSync(join(listed, INDEX))) {
    const index = indexSchema.parse(JSON.parse(await readFile(join(listed, INDEX), 'utf8')));
    for (const { file, expected, supported } of index) {
      recordings.push(await read(listed, file, expected, { [LISTED_MODEL]: supported }, sampleRate));
    }
  }
  if (existsSync(join(golden, GOLDEN[0]!.file))) {
    for (const { file, labels } of GOLDEN) {
      recordings.push(await read(golden, file, labels, {}, sampleRate));
    }
  }
  if (recordings.length > 0) return recordings;
  if (existsSync(join(demo, DEMO))) return readDemo(demo, sampleRate);
  throw new SoundpostError(
    'bench_failed',
    `There are no recordings to mix scenes of: ${material} has neither soundpost-home/audio/${INDEX} nor golden/audio, and ${demo} has no ${DEMO}. Name the folder of the reference material with --material.`,
  );
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
  return { name: nameOf(file), labels, related: relatedOf(labels), claims, samples };
}

async function readDemo(folder: string, sampleRate: number): Promise<Recording[]> {
  const { file, events } = demoSchema.parse(JSON.parse(await readFile(join(folder, DEMO), 'utf8')));
  const audio = await decodeFile(join(folder, file));
  const whole = await resampleWhole(audio.samples, audio.sampleRate, sampleRate);
  const sounds = new Map<string, typeof events>();
  for (const event of events) {
    const key = `${event.source} ${event.onset}`;
    sounds.set(key, [...(sounds.get(key) ?? []), event]);
  }
  return [...sounds.values()].map((named) => {
    const { source, onset, offset } = named[0]!;
    const labels = named.map(({ label }) => label);
    const supported = named.filter((event) => event.supported).map(({ label }) => label);
    return {
      name: nameOf(source),
      labels,
      related: relatedOf(labels),
      claims: { [LISTED_MODEL]: supported },
      samples: whole.subarray(Math.round(onset * sampleRate), Math.round(offset * sampleRate)),
    };
  });
}

function nameOf(file: string): string {
  return basename(file, extname(file));
}
