import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { round } from '../common/round.js';
import { orNull, readSystemFile } from './system-file.js';

/** `host` of `B/telemetry`; megabytes of 1024 × 1024 bytes. What cannot be read is null. */
export interface HostReading {
  /** Of all cores together, 0 … 100, since the previous reading; null at the first one. */
  cpu_percent: number | null;
  load_1m: number | null;
  /** Resident memory of the service's processes together; pages they share count in each. */
  /** The three in MiB, as the contract has them. */
  memory_rss_mb: number | null;
  memory_available_mb: number | null;
  /** On the disk of the data directory, for this user. */
  disk_free_mb: number | null;
}

export interface HostReader {
  /** `pids`: the service's processes. One that has gone meanwhile does not count. */
  read(pids: readonly number[]): Promise<HostReading>;
}

/** Reads the state of the machine. The first reading is the start of the first interval of `cpu_percent`. */
export function createHostReader(options: { procRoot: string; dataDir: string }): HostReader {
  const { procRoot, dataDir } = options;
  let previous: CpuTimes | null = null;
  return {
    async read(pids) {
      const times = parseCpuTimes(await readSystemFile(join(procRoot, 'stat')));
      const cpuPercent = times && previous ? busyPercent(previous, times) : null;
      previous = times;
      const load = /^\d+(\.\d+)?/.exec((await readSystemFile(join(procRoot, 'loadavg'))) ?? '');
      const available = parseKibibytes(await readSystemFile(join(procRoot, 'meminfo')), 'MemAvailable');
      const disk = await orNull(dataDir, () => statfs(dataDir));
      return {
        cpu_percent: cpuPercent,
        load_1m: load ? Number(load[0]) : null,
        memory_rss_mb: await readResident(procRoot, pids),
        memory_available_mb: available === null ? null : tenths(available / 1024),
        disk_free_mb: disk ? tenths((disk.bavail * disk.bsize) / 2 ** 20) : null,
      };
    },
  };
}

/** Clock ticks of all cores since boot. */
interface CpuTimes {
  busy: number;
  total: number;
}

/**
 * The first line of /proc/stat: `cpu user nice system idle iowait irq softirq steal guest guest_nice`. The time
 * of guests is part of user and nice already (proc(5)).
 */
function parseCpuTimes(text: string | null): CpuTimes | null {
  const match = /^cpu +(\d+(?: \d+){3,})/.exec(text ?? '');
  if (!match) return null;
  const ticks = match[1]!.split(' ').slice(0, 8).map(Number);
  const total = ticks.reduce((sum, value) => sum + value, 0);
  return { busy: total - ticks[3]! - (ticks[4] ?? 0), total };
}

/** Null where no time has passed, or where the counters ran backwards (iowait may). */
function busyPercent(from: CpuTimes, to: CpuTimes): number | null {
  const total = to.total - from.total;
  if (total <= 0) return null;
  return tenths(Math.min(100, Math.max(0, (100 * (to.busy - from.busy)) / total)));
}

/** VmRSS of /proc/<pid>/status is in KiB; statm counts pages, and those are 16 KiB on a Raspberry Pi 5. */
async function readResident(procRoot: string, pids: readonly number[]): Promise<number | null> {
  let kibibytes: number | null = null;
  for (const pid of pids) {
    const resident = parseKibibytes(await readSystemFile(join(procRoot, String(pid), 'status')), 'VmRSS');
    if (resident !== null) kibibytes = (kibibytes ?? 0) + resident;
  }
  return kibibytes === null ? null : tenths(kibibytes / 1024);
}

/** The value of a line `Name:   1234 kB`. */
function parseKibibytes(text: string | null, name: string): number | null {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text ?? '');
  return match ? Number(match[1]) : null;
}

const tenths = (value: number): number => round(value, 1);
