import { fork, spawn, type ChildProcess, type ForkOptions } from 'node:child_process';
import { existsSync } from 'node:fs';

const SHELL = '/bin/sh';

/**
 * `fork` of a Node program that may take no more than `memoryBytes` of memory of its own: what it asks for beyond fails
 * inside it, and the rest of the machine does not notice. The limit is RLIMIT_DATA, which Linux applies to private
 * writable memory since 4.7 (setrlimit(2)): neither to what V8 reserves and does not use, nor to files that are mapped.
 * Node cannot set it; a shell does, and becomes the program, so the process is the same. Where there is no such limit
 * the program runs without.
 */
export function limitedFork(program: string, memoryBytes: number, options: ForkOptions): ChildProcess {
  if (!existsSync(SHELL)) return fork(program, [], options);
  const { execArgv = [], ...rest } = options;
  const kib = Math.floor(memoryBytes / 1024);
  const script = 'ulimit -d "$0" 2>/dev/null; exec "$@"';
  return spawn(SHELL, ['-c', script, String(kib), process.execPath, ...execArgv, program], rest);
}
