import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '../common/crc32c.js';
import type { Location } from './outbox-replay.js';
import type { StoredEvent } from './outbox-store.js';

/** Events that lie within so much of a file are read in one go. */
const READ_BYTES = 64 * 1024;

/** An event, and where its text lies. */
interface Placed {
  readonly key: number;
  readonly location: Location;
}

/**
 * The texts of events in the files of `folder`, in this order. Those that lie beside each other are read together. One
 * that the disk has made something else of is empty. Rejects with what the disk says.
 * @param locate where an event lies now; one that is nowhere any more is left out
 */
export async function readTexts(
  folder: string,
  wanted: readonly number[],
  locate: (key: number) => Location | undefined,
): Promise<StoredEvent[]> {
  const found: StoredEvent[] = [];
  let run: Placed[] = [];
  const readRun = async (): Promise<void> => {
    const first = run[0]?.location;
    if (first === undefined) return;
    found.push(...(await textsBetween(join(folder, first.segment.name), first.offset, run)));
    run = [];
  };
  for (const key of wanted) {
    // Asked for as late as possible: events go, and move to other files, while others are being read.
    const location = locate(key);
    if (location === undefined) continue;
    if (!isBeside(run, location)) await readRun();
    run.push({ key, location });
  }
  await readRun();
  return found;
}

/** Whether a text can be read in one go with those of `run`. */
function isBeside(run: readonly Placed[], location: Location): boolean {
  const [first, before] = [run[0]?.location, run.at(-1)?.location];
  if (first === undefined || before === undefined) return true;
  return (
    before.segment === location.segment &&
    location.offset > before.offset &&
    location.offset + location.bytes - first.offset <= READ_BYTES
  );
}

/** The texts in one piece of a file; one that the disk has made something else of is empty. */
async function textsBetween(path: string, from: number, places: readonly Placed[]): Promise<StoredEvent[]> {
  const last = places.at(-1)!.location;
  const buffer = Buffer.alloc(last.offset + last.bytes - from);
  const file = await open(path, 'r');
  try {
    await file.read(buffer, 0, buffer.length, from);
  } finally {
    await file.close();
  }
  return places.map(({ key, location: { offset, bytes, check } }) => {
    const text = buffer.subarray(offset - from, offset - from + bytes);
    return { key, text: crc32c(text) === check ? text.toString('utf8') : '' };
  });
}

/** The text at a place of a file; empty where the disk has made something else of it. */
export async function textAt(path: string, location: Location): Promise<string> {
  const [found] = await textsBetween(path, location.offset, [{ key: 0, location }]);
  return found?.text ?? '';
}
