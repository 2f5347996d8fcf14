import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { EventPayload } from '../../src/mqtt/contract.js';
import { temporaryFolder } from './temporary.js';
import { createWaiting } from './waiting.js';

/**
 * The process that hears sounds (event-process.ts), one life after the other on the same outbox.
 * @param url of the broker, or several with commas between them
 */
export function createDevice(t: { teardown(handler: () => unknown): void }, url: string, id: string) {
  const folder = temporaryFolder(t);
  const promised: EventPayload[] = [];
  const { wake, until } = createWaiting();
  let lives = 0;
  let child: ReturnType<typeof run> | null = null;
  function run() {
    lives += 1;
    const script = join(import.meta.dirname, 'event-process.js');
    const args = [script, url, id, join(folder, 'outbox'), String(lives)];
    const started = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: started.stdout }).on('line', (line) => {
      // A killed process may leave half a line.
      if (line.endsWith('}')) promised.push(JSON.parse(line) as EventPayload);
      wake();
    });
    return { process: started, closed: once(started, 'close') };
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = child;
    child = null;
    ending?.process.kill(signal);
    await ending?.closed;
  };
  t.teardown(() => end('SIGKILL'));
  return {
    /** What the outbox has taken. */
    promised: promised as readonly EventPayload[],
    start() {
      child = run();
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    /** Ends the sounds. */
    quiet: () => void child?.process.kill('SIGUSR2'),
    /** Resolves when so many more events have been promised. */
    more(count: number): Promise<void> {
      const goal = promised.length + count;
      return until(
        () => promised.length >= goal,
        () => `${goal} events; ${promised.length} were promised`,
        60,
      );
    },
  };
}

export type Device = ReturnType<typeof createDevice>;
