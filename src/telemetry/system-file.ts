import { open, readdir } from 'node:fs/promises';

/** Long enough for a busy machine, short enough for a telemetry interval of a second. */
const timeoutMs = 500;

/**
 * What did not answer in time and is still waiting. A read that hangs in the kernel (a firmware that does not
 * answer, a dead network disk) cannot be cancelled and keeps one of the process's few libuv threads; so nothing
 * that hangs is asked a second time, and after two of them nothing at all, until one comes back. The threads
 * belong to the whole process, and so does this list.
 */
const hanging = new Set<string>();
const hangingLimit = 2;

/**
 * Waits at most half a second for something that reads from the system; null if it fails or does not answer.
 * `name` stands for the thing that is read: while an earlier read of it hangs it is not tried again.
 */
export async function orNull<T>(name: string, read: () => Promise<T>): Promise<T | null> {
  if (hanging.has(name) || hanging.size >= hangingLimit) return null;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => {
      hanging.add(name);
      resolve(null);
    }, timeoutMs);
    timer.unref();
  });
  const answer = read()
    .catch(() => null)
    .finally(() => {
      clearTimeout(timer);
      hanging.delete(name);
    });
  return Promise.race([answer, late]);
}

/** The first 64 KiB of a text file of /sys or /proc; null if it is absent, unreadable or does not answer. */
export async function readSystemFile(path: string): Promise<string | null> {
  return orNull(path, async () => {
    const file = await open(path, 'r');
    try {
      const buffer = Buffer.allocUnsafe(65_536);
      let length = 0;
      for (;;) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        length += bytesRead;
        if (bytesRead === 0 || length === buffer.length) return buffer.toString('utf8', 0, length);
      }
    } finally {
      await file.close();
    }
  });
}

/** The names in a folder of /sys, sorted; none if it is absent. */
export async function listSystemFolder(path: string): Promise<string[]> {
  return ((await orNull(path, () => readdir(path))) ?? []).sort();
}

/** A whole number on a line of its own; null for anything else, an empty file included. */
export function parseWhole(text: string | null): number | null {
  const trimmed = text?.trim() ?? '';
  return /^-?\d{1,15}$/.test(trimmed) ? Number(trimmed) : null;
}
