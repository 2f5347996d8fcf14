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

/** Starts mosquitto on the loopback address; its CPU time is nobody's whom the benchmark measures. */
export async function startMosquitto(
  folder: string,
  options: {
    /** In a process group of its own: Ctrl-C, which reaches the whole group of a terminal, does not end it. */
    detached?: boolean;
  } = {},
): Promise<{ port: number; stop(): Promise<void> }> {
  const port = await freePort();
  const file = join(folder, 'mosquitto.conf');
  await writeFile(
    file,
    `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n`,
  );
  const child = spawn('mosquitto', ['-c', file], { stdio: 'ignore', detached: options.detached === true });
  const killNow = () => void child.kill('SIGKILL');
  process.once('exit', killNow);
  const closed = once(child, 'close');
  return {
    port,
    async stop() {
      child.kill();
      await closed;
      process.removeListener('exit', killNow);
    },
  };
}
