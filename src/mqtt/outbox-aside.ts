import { readdir, lstat, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Broken files are kept for whoever wants to look at them, but only so many and of that size together. */
const KEPT_ASIDE = 3;
const KEPT_ASIDE_BYTES = 100_000_000;

/** Where a broken outbox goes. */
export function asideOf(folder: string): string {
  return `${folder}.broken-${new Date().toISOString().replace(/[:.]/g, '-')}`;
}

/** Removes the oldest of those that were set aside, but never the newest. */
export async function boundAsides(folder: string): Promise<void> {
  const parent = dirname(folder);
  const names = (await readdir(parent)).filter((name) => name.startsWith(`${basename(folder)}.broken-`));
  let bytes = 0;
  for (const [n, name] of names.sort().reverse().entries()) {
    const path = join(parent, name);
    bytes += await bytesIn(path);
    if (n >= KEPT_ASIDE || (n > 0 && bytes > KEPT_ASIDE_BYTES))
      await rm(path, { recursive: true, force: true });
  }
}

async function bytesIn(path: string): Promise<number> {
  const names = await readdir(path).catch(() => null);
  if (names === null) return (await lstat(path).catch(() => null))?.size ?? 0;
  let sum = 0;
  for (const name of names) sum += (await lstat(join(path, name)).catch(() => null))?.size ?? 0;
  return sum;
}
