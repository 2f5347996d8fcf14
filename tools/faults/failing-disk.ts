import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { messageOf } from '../../src/common/errors.js';
import type { Owner } from './scope.js';
import { NotHere } from './verdict.js';

/** A file system of its own that can be made to fail as one on a dying card does. */
export interface FailingDisk {
  readonly folder: string;
  /** The kernel finds it damaged: it is read-only at once, whatever is open, until it is repaired. */
  fail(): void;
  /** Checks it and mounts it anew; nothing may use it. */
  repair(): void;
}

/** ext4 in a file; the kernel has a switch that makes it believe in damage. @throws NotHere */
export function mountFailingDisk(owner: Owner, megabytes: number): FailingDisk {
  const root = mkdtempSync(join(tmpdir(), 'soundpost-failing-'));
  const image = join(root, 'image');
  const folder = join(root, 'disk');
  const run = (command: string, ...parameters: string[]) =>
    execFileSync(command, parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const mount = () => run('mount', '-o', 'loop,errors=remount-ro', image, folder);
  owner.teardown(() => {
    // Whatever still has a file open there must not keep the run from ending.
    try {
      run('umount', '-l', folder);
    } catch {
      // It was not mounted.
    }
    rmSync(root, { recursive: true, force: true });
  });
  try {
    mkdirSync(folder);
    run('truncate', '-s', `${megabytes}M`, image);
    run('mkfs.ext4', '-q', image);
    mount();
  } catch (error) {
    throw new NotHere(`no file system in a file can be mounted: ${messageOf(error).split('\n')[0]}`);
  }
  return {
    folder,
    fail() {
      // What was installed long ago is on the disk.
      run('sync', '-f', folder);
      const device = run('losetup', '--noheadings', '--output', 'NAME', '--associated', image).trim();
      writeFileSync(join('/sys/fs/ext4', basename(device), 'trigger_fs_error'), '1');
    },
    repair() {
      run('umount', folder);
      try {
        run('e2fsck', '-y', image);
      } catch (error) {
        // 1: it was damaged, and is not any more.
        if ((error as { status?: number }).status !== 1) throw error;
      }
      mount();
    },
  };
}
