import { readFileSync, unlinkSync } from 'node:fs';
import { link, open, rename, rm, stat, unlink } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { readBounded } from '../common/bounded-read.js';
import { codeOfErrno } from '../common/errno.js';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { startedAtTicks } from '../common/process-stat.js';

/*
 * balena's update lock. While the file exists, the supervisor of the device neither stops nor replaces the services
 * of the release; it takes the same file before it does. Whoever creates it (exclusively) has it, and what is in it
 * means nothing to balena, so it can say whose it is: a container that dies leaves the file behind (the folder is on
 * the host), and without that no update would ever come again.
 */

/** How long to wait for somebody else; the supervisor holds it for as long as it takes to replace us. */
const WAIT_MS = 30_000;
const POLL_MS = 250;
const MAX_BYTES = 4096;

const ownerSchema = z.object({
  program: z.literal('soundpost'),
  pid: z.number().int().positive(),
  /** When the process began, in clock ticks since the machine did: tells two owners of one process id apart. */
  started: z.string().nullable(),
  boot_id: z.string().nullable(),
});
type Owner = z.infer<typeof ownerSchema>;

export interface UpdateLock {
  /**
   * Runs the work while no update can be installed, one work after the other (so never one inside another). Without
   * the lock's folder (not on a balena device) it just runs. Throws SoundpostError `update_locked` where somebody else
   * keeps the lock, and what the work throws.
   */
  during<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Removes a lock that a process of this program left behind when it died. */
  removeLeftover(): Promise<void>;
}

/** Where balena says the lock is, else where it has always been. */
export function updateLockPath(env: Readonly<Record<string, string | undefined>>): string {
  const told = env['BALENA_APP_LOCK_PATH'];
  return told === undefined || told === '' ? '/tmp/balena/updates.lock' : told;
}

export function createUpdateLock(options: {
  path: string;
  log: Logger;
  waitMs?: number;
  pollMs?: number;
}): UpdateLock {
  const { path, log } = options;
  const waitMs = options.waitMs ?? WAIT_MS;
  const pollMs = options.pollMs ?? POLL_MS;
  let turn: Promise<unknown> = Promise.resolve();

  /** True once the file is ours, false where there is nothing to lock. */
  async function take(signal: AbortSignal | undefined): Promise<boolean> {
    if (!(await isFolder(dirname(path)))) return false;
    const until = performance.now() + waitMs;
    let told = false;
    for (;;) {
      signal?.throwIfAborted();
      try {
        if (await createExclusively(path)) return true;
      } catch (error) {
        log.warn(
          { code: 'update_lock' },
          `The update lock ${path} cannot be taken (${messageOf(error)}): an update may interrupt what is done now. Check that this user may write there`,
        );
        return false;
      }
      if (await removeIfDead(path)) continue;
      if (performance.now() >= until) {
        throw new SoundpostError(
          'update_locked',
          `The update lock ${path} is held by somebody else, most likely by balena, which is about to install an update. Nothing was changed; try again in a few minutes.`,
        );
      }
      if (!told) log.info({}, `Waiting for the update lock ${path}`);
      told = true;
      await delay(pollMs, undefined, signal === undefined ? {} : { signal });
    }
  }

  const removeNow = () => {
    try {
      unlinkSync(path);
    } catch {
      // It is gone already, or somebody else will find that we are.
    }
  };

  return {
    during(work, signal) {
      const run = turn.then(async () => {
        const held = await take(signal).catch((error: unknown) => {
          if (signal?.aborted !== true) throw error;
          throw new SoundpostError('aborted', 'Waiting for the update lock was called off.');
        });
        if (!held) return work();
        // Not even an end by force leaves it behind, short of SIGKILL.
        process.on('exit', removeNow);
        try {
          return await work();
        } finally {
          process.removeListener('exit', removeNow);
          await unlink(path).catch(() => undefined);
        }
      });
      turn = run.catch(() => undefined);
      return run;
    },
    async removeLeftover() {
      if (await removeIfDead(path)) {
        log.warn(
          { code: 'update_lock_leftover' },
          `Removed the update lock ${path}, which this program left behind when it was ended in the middle of its work`,
        );
      }
    },
  };

  /** Removes the lock where a dead process of this program holds it. */
  async function removeIfDead(file: string): Promise<boolean> {
    const found = readOwner(file);
    if (found === null || isAlive(found.owner)) return false;
    // Taken aside first: between the look and the removal somebody else may have removed it and taken the lock.
    const aside = temporaryName(file);
    try {
      await rename(file, aside);
    } catch {
      return false;
    }
    const moved = readOwner(aside);
    if (moved?.text !== found.text) await link(aside, file).catch(() => undefined);
    await rm(aside, { force: true });
    return moved?.text === found.text;
  }
}

/** Creates the file with its content in one step, so that no crash leaves one without an owner. False: it exists. */
async function createExclusively(path: string): Promise<boolean> {
  const content = `${JSON.stringify(myself())}\n`;
  const prepared = temporaryName(path);
  const file = await open(prepared, 'wx', 0o644);
  try {
    await file.writeFile(content);
  } finally {
    await file.close();
  }
  try {
    // Like O_EXCL it fails where the name is taken.
    await link(prepared, path);
    return true;
  } catch (error) {
    if (codeOfErrno(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(prepared, { force: true });
  }
}

/** A name beside the lock that nobody takes for a lock. */
function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function readOwner(path: string): { owner: Owner; text: string } | null {
  const read = readBounded(path, MAX_BYTES);
  if ('problem' in read) return null;
  const text = read.bytes.toString('utf8');
  try {
    return { owner: ownerSchema.parse(JSON.parse(text)), text };
  } catch {
    return null;
  }
}

function myself(): Owner {
  return { program: 'soundpost', pid: process.pid, started: startedAtTicks(process.pid), boot_id: bootId() };
}

/** Whether this very process is there; after a restart of the container another one may have its id. */
function isAlive({ pid, started, boot_id }: Owner): boolean {
  return boot_id === bootId() && started === startedAtTicks(pid) && (started !== null || signalReaches(pid));
}

function bootId(): string | null {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return null;
  }
}

function signalReaches(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOfErrno(error) === 'EPERM';
  }
}
