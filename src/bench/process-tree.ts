import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** What one process has used so far. */
export interface ProcessUsage {
  pid: number;
  /** The command line, arguments separated by spaces. */
  command: string;
  /** CPU time of all its threads, of the ended ones too. Resolution 10 ms. */
  cpuMs: number;
  /** CPU time of children of it that have ended and were waited for. */
  endedChildrenCpuMs: number;
  /** Resident memory, with what it shares with others counted in full; null where it cannot be read. */
  rssBytes: number | null;
  /** Proportional memory: each shared page divided by the number of processes that share it. */
  pssBytes: number | null;
}

/** Linux counts process times in 1/100 s on every architecture this program runs on (USER_HZ, `man 5 proc`). */
const TICK_MS = 10;

interface Stat {
  pid: number;
  parent: number;
  cpuMs: number;
  endedChildrenCpuMs: number;
}

/** The line of /proc/PID/stat; undefined where it is not one. */
export function parseStat(line: string): Stat | undefined {
  // The second field is the name in parentheses, and a name may hold spaces and parentheses itself.
  const nameEnd = line.lastIndexOf(')');
  const fields = line.slice(nameEnd + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  const stat = {
    pid: Number.parseInt(line, 10),
    parent: field(4),
    cpuMs: (field(14) + field(15)) * TICK_MS,
    endedChildrenCpuMs: (field(16) + field(17)) * TICK_MS,
  };
  return nameEnd > 0 && Object.values(stat).every(Number.isFinite) ? stat : undefined;
}

/** The contents of a file below /proc, empty when its process has just ended. */
function read(...path: string[]): string {
  try {
    return readFileSync(join(...path), 'utf8');
  } catch {
    return '';
  }
}

function kilobytes(text: string, key: string): number | null {
  const match = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(text);
  return match === null ? null : Number(match[1]) * 1024;
}

/**
 * A process and all that descend from it, the process itself first; empty when it does not exist.
 * @param procRoot where the proc file system is mounted.
 */
export function readProcessTree(rootPid: number, procRoot = '/proc'): ProcessUsage[] {
  const children = new Map<number, Stat[]>();
  let root: Stat | undefined;
  for (const entry of readdirSync(procRoot)) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = parseStat(read(procRoot, entry, 'stat'));
    if (stat === undefined) continue;
    if (stat.pid === rootPid) root = stat;
    const siblings = children.get(stat.parent);
    if (siblings === undefined) children.set(stat.parent, [stat]);
    else siblings.push(stat);
  }
  if (root === undefined) return [];
  const tree = [root];
  // The list grows while it is walked: each process brings its children.
  for (const stat of tree) tree.push(...(children.get(stat.pid) ?? []));
  return tree.map(({ pid, cpuMs, endedChildrenCpuMs }) => {
    // smaps_rollup needs the right to trace the process; status does not, but knows nothing of sharing.
    const rollup = read(procRoot, String(pid), 'smaps_rollup');
    return {
      pid,
      command: read(procRoot, String(pid), 'cmdline').split('\0').join(' ').trim(),
      cpuMs,
      endedChildrenCpuMs,
      rssBytes: kilobytes(rollup, 'Rss') ?? kilobytes(read(procRoot, String(pid), 'status'), 'VmRSS'),
      pssBytes: kilobytes(rollup, 'Pss'),
    };
  });
}

/**
 * CPU milliseconds that a tree used between two readings of it. Children that ended in between are in their
 * parents' figures, those that started are counted whole.
 */
export function cpuBetween(before: readonly ProcessUsage[], after: readonly ProcessUsage[]): number {
  const total = (tree: readonly ProcessUsage[]): number =>
    tree.reduce((sum, { cpuMs, endedChildrenCpuMs }) => sum + cpuMs + endedChildrenCpuMs, 0);
  return total(after) - total(before);
}

/** CPU milliseconds per process that is in both readings. */
export function cpuPerProcess(
  before: readonly ProcessUsage[],
  after: readonly ProcessUsage[],
): { pid: number; command: string; cpuMs: number }[] {
  return after.flatMap(({ pid, command, cpuMs }) => {
    const earlier = before.find((process) => process.pid === pid);
    return earlier === undefined ? [] : [{ pid, command, cpuMs: cpuMs - earlier.cpuMs }];
  });
}

/** Memory of a tree; null where it could not be read for every process. */
export function memoryOf(tree: readonly ProcessUsage[]): {
  rssBytes: number | null;
  pssBytes: number | null;
} {
  const sum = (key: 'rssBytes' | 'pssBytes'): number | null => {
    const values = tree.map((process) => process[key]);
    return values.includes(null) ? null : values.reduce<number>((total, value) => total + (value ?? 0), 0);
  };
  return { rssBytes: sum('rssBytes'), pssBytes: sum('pssBytes') };
}
