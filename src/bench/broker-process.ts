import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';

/** A TCP port on the loopback address that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Whether mosquitto can be started on this machine. */
export function hasMosquitto(): boolean {
  return spawnSync('mosquitto', ['-h']).error === undefined;
}

/** Mosquitto cannot be told to end with its parent: a shell beside it waits for the end of a pipe and then ends it. */
const LEASHED = 'mosquitto -c "$1" & read -r _; kill $!; wait $!';

/**
 * Starts mosquitto on the loopback address, in a process group of its own (Ctrl-C is for whoever measures). It ends
 * when this process does, however that ends. Its CPU time is nobody's whom the benchmark measures.
 */
export async function startMosquitto(folder: string): Promise<{ port: number; stop(): Promise<void> }> {
  const port = await freePort();
  const file = join(folder, 'mosquitto.conf');
  await writeFile(
    file,
    `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n`,
  );
  const child = spawn('sh', ['-c', LEASHED, 'sh', file], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const closed = once(child, 'close');
  child.stdin.on('error', () => undefined);
  return {
    port,
    async stop() {
      child.stdin.end();
      await closed;
    },
  };
}
