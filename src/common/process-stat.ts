import { readFileSync } from 'node:fs';

/** The fields of /proc/<pid>/stat from the third on (see proc_pid_stat(5)); null where there is no such process, or no /proc. */
function statOf(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in the second field may hold spaces and brackets.
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** When a process began, in clock ticks since the machine did (field 22); null where nobody can tell. */
export function startedAtTicks(pid: number): string | null {
  return statOf(pid)?.[19] ?? null;
}

/** Whether a signal or a debugger holds a process (state T or t in field 3), so that it cannot answer anybody. */
export function isHeld(pid: number): boolean {
  return statOf(pid)?.[0]?.toUpperCase() === 'T';
}
