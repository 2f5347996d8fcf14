/** The code of an error of the operating system (`ENOENT`), or of Node (`ERR_…`); else `unknown`. */
export function codeOfErrno(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'unknown';
}

/** Whether a process of this number exists, of whichever user. */
export function processIsAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOfErrno(error) === 'EPERM';
  }
}

/**
 * Whether what names a process by its number was left by one that is gone. One of our own number has long gone when we
 * start: in a container numbers come again. Not for a look while we are at work ourselves.
 */
export function isLeftBehind(pid: number): boolean {
  return pid === process.pid || !processIsAlive(pid);
}
