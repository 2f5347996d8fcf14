import { pathToFileURL } from 'node:url';

/*
 * `node end-with-parent.js PROGRAM ARGUMENT…` runs a program of this project as if it had been started itself, and ends it
 * when standard input does. The other end of that pipe is held by whoever measures the program: even one that is
 * killed leaves nothing running, because the kernel closes it.
 */

/** The service leaves by itself 8 s after SIGTERM at the latest. */
const STOP_MS = 15_000;

const [node = '', , program = '', ...rest] = process.argv;
let ending = false;

function end(): void {
  if (ending) return;
  ending = true;
  process.kill(process.pid, 'SIGTERM');
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), STOP_MS).unref();
}

process.stdin
  .on('error', () => undefined)
  .on('end', end)
  .on('close', end)
  .resume();
// It must not keep a program alive that has come to its end.
process.stdin.unref();

process.argv = [node, program, ...rest];
await import(pathToFileURL(program).href);
