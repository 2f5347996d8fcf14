import { fork, type ChildProcess } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startChild } from '../../src/common/child.js';
import { SoundpostError } from '../../src/common/errors.js';
import type { DeviceProcessSettings, LinkNote, Order, Word } from './messages.js';

/**
 * So many devices share a process. One event loop takes a few thousand messages a second; well below that the
 * devices do not wait for each other, and what is measured is the broker. One process for each, as in reality,
 * would need 60 MB for each.
 */
const DEVICES_PER_PROCESS = 250;

/** What has been told by all processes so far. */
export interface FleetNews {
  links: LinkNote[];
  /** Messages that the devices handed to their links. */
  published: number;
  /** The worst of all processes since the last look, in ms. */
  eventLoopMs: number;
  queued: number;
  dropped: number;
}

export interface Fleet {
  readonly pids: readonly number[];
  /** Resident bytes of all processes before they had any device. */
  readonly emptyBytes: number;
  /** Resolves to when each process began to start its devices, ms since the epoch, by the number of the device. */
  start(): Promise<(device: number) => number>;
  hush(): Promise<void>;
  stop(): Promise<void>;
  /** Without a goodbye. Idempotent. */
  kill(): void;
  readonly news: Readonly<FleetNews>;
  /** The worst delay of an event loop since the last call, in ms. */
  takeEventLoopMs(): number;
}

interface Member {
  child: ChildProcess;
  settings: DeviceProcessSettings;
}

/**
 * Starts the processes and creates the devices, which do nothing yet. Rejects, and leaves nothing behind, where a
 * process ends before its time or `signal` fires; `onFailure` is told of a process that ends later.
 */
export async function createFleet(options: {
  devices: number;
  settings: Omit<DeviceProcessSettings, 'first' | 'count'>;
  onEvent: (device: number, key: string) => void;
  onFailure: (error: Error) => void;
}): Promise<Fleet> {
  const { devices, settings, onEvent, onFailure } = options;
  const script = join(import.meta.dirname, 'device-process.js');
  const news: FleetNews = { links: [], published: 0, eventLoopMs: 0, queued: 0, dropped: 0 };
  const waiting = new Map<number, { queued: number; dropped: number }>();
  let emptyBytes = 0;
  let over = false;

  const members: Member[] = [];
  for (let first = 0; first < devices; first += DEVICES_PER_PROCESS) {
    const count = Math.min(DEVICES_PER_PROCESS, devices - first);
    const child = startChild('a process of devices', () =>
      fork(script, {
        execArgv: ['--expose-gc'],
        // Each outbox waits for the disk in one of them; a real device has four to itself.
        env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      }),
    );
    const folder = join(settings.folder, `devices-${first}`);
    members.push({ child, settings: { ...settings, folder, first, count } });
    child.on('message', (word: Word) => hear(first, word));
    child.once('exit', (code, signal) => {
      if (!over)
        onFailure(new SoundpostError('bench_failed', `A process of devices ended with ${signal ?? code}.`));
    });
  }

  function hear(first: number, word: Word): void {
    if (word.is === 'empty') emptyBytes += word.memory.rss;
    if (word.is !== 'news') return;
    for (const [device, key] of word.events) onEvent(device, key);
    for (const note of word.links) news.links.push(note);
    news.published += word.published;
    news.eventLoopMs = Math.max(news.eventLoopMs, word.eventLoopMs.max ?? 0);
    waiting.set(first, { queued: word.queued, dropped: word.dropped });
    news.queued = [...waiting.values()].reduce((sum, { queued }) => sum + queued, 0);
    news.dropped = [...waiting.values()].reduce((sum, { dropped }) => sum + dropped, 0);
  }

  /** Gives an order and waits for the word that it has been obeyed. */
  async function order(member: Member, what: Order, until: Word['is']): Promise<Word> {
    const { child } = member;
    const answered = new Promise<Word>((resolve, reject) => {
      const listen = (word: Word): void => {
        if (word.is !== until) return;
        child.off('message', listen);
        resolve(word);
      };
      child.on('message', listen);
      child.once('exit', () =>
        reject(new SoundpostError('bench_failed', 'A process of devices ended too soon.')),
      );
    });
    child.send(what);
    return answered;
  }

  const all = (make: (member: Member) => Order, until: Word['is']): Promise<Word[]> =>
    Promise.all(members.map((member) => order(member, make(member), until)));

  function kill(): void {
    over = true;
    for (const { child } of members) child.kill('SIGKILL');
  }

  try {
    await Promise.all(members.map((member) => mkdir(member.settings.folder, { recursive: true })));
    await all((member) => ({ do: 'create', settings: member.settings }), 'created');
  } catch (error) {
    kill();
    throw error;
  }

  return {
    pids: members.map(({ child }) => child.pid!),
    emptyBytes,
    async start() {
      const words = await all(() => ({ do: 'start' }), 'started');
      return (device) => {
        const word = words[Math.floor(device / DEVICES_PER_PROCESS)];
        return word?.is === 'started' ? word.at : NaN;
      };
    },
    async hush() {
      await all(() => ({ do: 'hush' }), 'hushed');
    },
    async stop() {
      over = true;
      await all(() => ({ do: 'stop' }), 'stopped');
    },
    kill,
    news,
    takeEventLoopMs() {
      const worst = news.eventLoopMs;
      news.eventLoopMs = 0;
      return worst;
    },
  };
}
