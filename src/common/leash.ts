import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';

/*
 * What ends our children when this process is killed (SIGKILL, want of memory). A child that waits in JavaScript
 * notices by itself, because its channel of messages closes; one that is inside a native call (a network that hangs,
 * a driver), and one that is not ours (ffmpeg), does not.
 *
 * One small shell holds the list of our children. It reads from a pipe whose other end nobody but this process has:
 * the kernel closes it, however this process ends, and the shell sends SIGKILL to what is still on the list. Why so:
 * - The kernel's own way, prctl(PR_SET_PDEATHSIG), cannot be called from Node. `setpriv --pdeathsig` can, but BusyBox
 *   has it not, it hides a missing program behind an exit code of its own, and the signal hangs on the thread that
 *   forked.
 * - A watching thread in every child costs 4 to 8 MB each, does nothing for ffmpeg, and is none of the network's.
 * - A shell is there wherever a program may be run at all, costs 1 MB once, and no time.
 *
 * Numbers of processes are used again only after many thousands of others, and what has ended is off the list as soon
 * as this process knows it.
 */

/** Reads `+ PID` and `- PID`; at the end of its input kills what is left. Ctrl-C and stops are not for it. */
const SCRIPT = `trap '' INT TERM HUP QUIT PIPE
kept=' '
while read -r sign pid; do
  case $sign in
    +) kept="$kept$pid " ;;
    -) case $kept in *" $pid "*) kept="\${kept%%" $pid "*} \${kept#*" $pid "}" ;; esac ;;
  esac
done
[ "$kept" = ' ' ] || kill -KILL $kept`;

let holder: { shell: ChildProcess; list: Socket } | null = null;
const held = new Set<number>();

/** Has this child of ours ended whatever becomes of this process. Without a shell it goes unheld; never throws. */
export function leash(pid: number): void {
  held.add(pid);
  if (holder === null) hold();
  else holder.list.write(`+ ${pid}\n`);
}

/** The child has ended. */
export function unleash(pid: number): void {
  if (held.delete(pid)) holder?.list.write(`- ${pid}\n`);
}

/** Starts the shell and gives it the list. Where that fails it is tried again with the next child. */
function hold(): void {
  let shell: ChildProcess;
  try {
    // Its own folder: it must not keep a file system busy.
    shell = spawn('/bin/sh', ['-c', SCRIPT, 'soundpost leash'], {
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
      env: {},
    });
  } catch {
    return;
  }
  shell.on('error', () => undefined);
  // Without a process there are no pipes either, or pipes to nobody.
  const list = shell.pid === undefined ? null : (shell.stdin as Socket | null);
  if (list === null) return;
  const made = { shell, list };
  holder = made;
  list.on('error', () => undefined);
  shell.once('exit', () => {
    if (holder === made) holder = null;
  });
  // It must not keep a program alive that has come to its end.
  shell.unref();
  list.unref();
  list.write([...held].map((pid) => `+ ${pid}\n`).join(''));
}

// What ends in order has ended its children, and takes the shell along at once.
process.on('exit', () => holder?.shell.kill('SIGKILL'));
