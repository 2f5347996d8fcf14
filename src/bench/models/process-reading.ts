import { readFile, readdir } from 'node:fs/promises';
import { parseStat } from '../process-tree.js';

/** What a process has used so far; null where it cannot be read. */
export interface ProcessReading {
  /** Of all its threads that are alive. */
  cpuMs: number | null;
  residentMb: number | null;
  /** The most that was resident at any time. */
  peakMb: number | null;
}

/** Reads the times and the memory of a process; the kernel’s kB are 1024 bytes. */
export async function readProcess(pid: number, procRoot = '/proc'): Promise<ProcessReading> {
  const folder = `${procRoot}/${pid}`;
  const status = await text(`${folder}/status`);
  const megabytes = (key: string) => {
    const match = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(status);
    return match === null ? null : (Number(match[1]) * 1024) / 1e6;
  };
  return {
    cpuMs: (await threadsCpuMs(folder)) ?? parseStat(await text(`${folder}/stat`))?.cpuMs ?? null,
    residentMb: megabytes('VmRSS'),
    peakMb: megabytes('VmHWM'),
  };
}

/** The scheduler counts in nanoseconds (`schedstat`, where the kernel has it); the process's own times in 10 ms. */
async function threadsCpuMs(folder: string): Promise<number | null> {
  const threads = await readdir(`${folder}/task`).catch((): string[] => []);
  const times = await Promise.all(
    threads.map(async (thread) =>
      /^(\d+) \d+ \d+$/.exec((await text(`${folder}/task/${thread}/schedstat`)).trim()),
    ),
  );
  const known = times.flatMap((match) => (match === null ? [] : [Number(match[1]) / 1e6]));
  return known.length === 0 ? null : known.reduce((sum, ms) => sum + ms, 0);
}

async function text(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
