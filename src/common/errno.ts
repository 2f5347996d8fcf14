/** The code of an error of the operating system (`ENOENT`), or of Node (`ERR_…`); else `unknown`. */
export function codeOfErrno(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'unknown';
}
