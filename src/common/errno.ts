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
