import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOfErrno } from '../../src/common/errno.js';

/** A file system of its own in memory, which a test can fill, and make read-only where nothing is open for writing. */
export interface SmallDisk {
  readonly folder: string;
  /** Takes all the room that is left. */
  fill(): void;
  /** Gives that room back. */
  free(): void;
  setReadOnly(readOnly: boolean): void;
}

/**
 * Why a small file system cannot be made here, or false. With SOUNDPOST_TEST_STRICT=1 it throws instead, so that a skip
 * cannot pass for a success.
 */
export function cannotMount(): string | false {
  const reason = obstacle();
  if (reason !== false && process.env['SOUNDPOST_TEST_STRICT'] === '1') throw new Error(reason);
  return reason;
}

function obstacle(): string | false {
  if (process.getuid?.() !== 0) return 'only root can mount a small file system';
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', '/mnt'], {
      stdio: 'ignore',
    });
    return false;
  } catch {
    return 'no file system can be mounted here';
  }
}

/** Mounts it; it goes with the test. */
export function mountSmallDisk(t: { teardown(handler: () => void): void }, size: string): SmallDisk {
  const root = mkdtempSync(join(tmpdir(), 'soundpost-disk-'));
  const folder = join(root, 'disk');
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  t.teardown(() => {
    // Whatever still has a file open there must not keep the test from ending.
    execFileSync('umount', ['-l', folder]);
    rmSync(root, { recursive: true, force: true });
  });
  const filler = join(folder, 'filler');
  const remount = (option: string) => execFileSync('mount', ['-o', `remount,${option}`, folder]);
  return {
    folder,
    fill() {
      const file = openSync(filler, 'w');
      try {
        const zeros = Buffer.alloc(4096);
        for (;;) writeSync(file, zeros);
      } catch (error) {
        if (codeOfErrno(error) !== 'ENOSPC') throw error;
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(filler),
    setReadOnly: (readOnly) => void remount(readOnly ? 'ro' : 'rw'),
  };
}
