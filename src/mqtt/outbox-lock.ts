import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { basename, dirname } from 'node:path';
import { codeOfErrno } from '../common/errno.js';
import { SoundpostError } from '../common/errors.js';

/** File systems on which there are no sockets: FAT, some network shares. */
const NO_SOCKETS = ['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EINVAL'];

/** Gives the lock back. */
export type Unlock = () => Promise<void>;

/**
 * Keeps other processes, of other containers too, from the files beside `path`, as long as this one lives: a socket
 * in the file system, on which a live process listens and a dead one does not. Where the file system has no sockets
 * there is no lock.
 *
 * Throws SoundpostError `outbox_locked`, or what the disk says.
 */
export async function lockOutbox(path: string, folder: string): Promise<Unlock> {
  await mkdir(dirname(path), { recursive: true });
  const parent = await open(dirname(path), 'r');
  // The kernel takes 107 bytes for a socket's path; this way into the folder is always short enough.
  const address = `/proc/self/fd/${parent.fd}/${basename(path)}`;
  try {
    const server = await listen(address).catch(async (error: unknown) => {
      if (codeOfErrno(error) !== 'EADDRINUSE') throw error;
      if (await answers(address)) throw locked(folder);
      await rm(path, { force: true });
      return listen(address);
    });
    return () => close(server, parent);
  } catch (error) {
    await parent.close();
    const code = codeOfErrno(error);
    if (code === 'EADDRINUSE') throw locked(folder);
    if (NO_SOCKETS.includes(code)) return () => Promise.resolve();
    throw error;
  }
}

function locked(folder: string): SoundpostError {
  return new SoundpostError(
    'outbox_locked',
    `${folder} is in use by another process: two services must not share a data_dir. Stop the other one, or give this one its own data_dir.`,
  );
}

function listen(address: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      const code = codeOfErrno(error);
      // A full queue is somebody's, too.
      if (code === 'EAGAIN') resolve(true);
      else if (['ECONNREFUSED', 'ENOENT', 'ENOTSOCK', 'EPROTOTYPE'].includes(code)) resolve(false);
      else reject(error);
    });
  });
}

async function close(server: Server, parent: FileHandle): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await parent.close();
}
