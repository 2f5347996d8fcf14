import { join } from 'node:path';
import { messageOf } from '../common/errors.js';
import { createKeptChild } from '../common/kept-child.js';
import type { Logger } from '../common/log.js';
import { setPatience } from '../common/patience.js';
import type { Clip } from '../mqtt/clip-specs.js';
import { isoTime } from '../mqtt/contract.js';
import { removeClipRemains, type ClipNote } from './clip-files.js';
import type { ClipStore } from './clip-store.js';
import { clipJobReply, type ClipJob } from './job.js';
import type { ClipFilter, CutClip, DiscardReason } from './cut-clip.js';

/**
 * Has clips encoded and written, one after the other, by a child that stays while there is work: to start it and to load
 * the encoder costs more than ten times what the sound of an event does.
 */
export interface ClipWriter {
  /** How many bytes of sound wait for it or are being written. */
  readonly heldBytes: number;
  write(clip: CutClip): void;
  /** Calls off those that fit, the one that is being written included; nothing is left of them on the disk. How many. */
  drop(fits: ClipFilter, reason: DiscardReason): Promise<number>;
  /** Resolves when nothing is waiting or being written. */
  idle(): Promise<void>;
  /** Nothing more is written: the child ends. */
  stop(): void;
}

/**
 * The highest rate of a file, in Hz: that of the networks with the highest one, so that a clip holds all that could be
 * heard in it. What is captured at a lower rate keeps its own.
 */
export const MOST_FILE_HZ = 32_000;

const PROCESS_FILE = join(import.meta.dirname, 'process.js');
/** 30 s of sound take half a second here, and ten on the slowest machine that is busy with a network. */
const TIMEOUT_MS = 60_000;
/** What a FLAC file of noise may be longer than its samples, and its note. */
const OVERHEAD_BYTES = 65_536;

/**
 * @param options.program the child; another one in tests
 * @param options.onWritten the clip is on the disk, and known to the store
 */
export function createClipWriter(options: {
  store: ClipStore;
  log: Logger;
  onWritten: (clip: Clip) => void;
  onDiscard: (clip: CutClip, reason: DiscardReason) => void;
  program?: string;
  timeoutMs?: number;
  /** How long the child stays without work, in ms. */
  idleMs: number;
}): ClipWriter {
  const { store, log, onWritten, onDiscard, program = PROCESS_FILE, timeoutMs = TIMEOUT_MS } = options;
  const child = createKeptChild({
    what: 'the process that writes clips',
    program,
    says: clipJobReply,
    idleMs: options.idleMs,
  });
  let queue: CutClip[] = [];
  /** The clip that is being written; `done` comes after what is told of it. */
  let current: { clip: CutClip; abort: AbortController; isDecided: boolean; done: Promise<void> } | null =
    null;
  let heldBytes = 0;
  let isFailing = false;
  let waiters: (() => void)[] = [];

  function failed(clip: CutClip, why: string): void {
    onDiscard(clip, 'failed');
    if (!isFailing) {
      log.warn(
        { code: 'clip_not_written' },
        `Clips cannot be written (${why}); the sound of events is lost until they can`,
      );
    }
    isFailing = true;
  }

  function succeeded(clip: Clip): void {
    if (isFailing) log.info({}, 'Clips are written again');
    isFailing = false;
    onWritten(clip);
  }

  async function write(clip: CutClip, signal: AbortSignal): Promise<Clip | string> {
    const note = noteOf(clip);
    const room = clip.samples.byteLength + OVERHEAD_BYTES;
    if (!(await store.makeRoom(room))) return 'they may take less room in all than one of them';
    const isCalledOff = (): boolean => signal.aborted;
    if (isCalledOff()) return 'called off';
    const job: ClipJob = {
      samples: clip.samples,
      captureRateHz: clip.captureRateHz,
      sampleRateHz: note.sample_rate_hz,
      folder: store.folderOf(note),
      id: clip.id,
      note: JSON.stringify(note),
    };
    let { reply, end } = await child.ask(job, signal);
    if (reply === undefined && !isCalledOff()) {
      // It may have been killed for what it did before, or for the memory that others take.
      await removeClipRemains(job.folder, job.id);
      ({ reply, end } = await child.ask(job, signal));
    }
    if (reply?.kind !== 'written') return reply?.message ?? `the process that writes them ended: ${end}`;
    const written: Clip = { ...note, bytes: reply.bytes };
    await store.add(written);
    return written;
  }

  async function work(clip: CutClip, abort: AbortController): Promise<void> {
    const callOff = setPatience(timeoutMs, () => {
      // A child that hangs in the disk does not end before the disk answers: said now, not then.
      failed(clip, 'the disk does not answer');
      abort.abort();
    });
    let outcome: Clip | string;
    try {
      outcome = await write(clip, abort.signal);
    } catch (error) {
      outcome = messageOf(error);
    } finally {
      callOff();
    }
    const isCalledOff = abort.signal.aborted;
    if (current !== null) current.isDecided = true;
    if (typeof outcome === 'string' || isCalledOff) {
      const note = noteOf(clip);
      await store.remove(({ id }) => id === clip.id).catch(() => 0);
      await removeClipRemains(store.folderOf(note), clip.id);
      if (!isCalledOff) failed(clip, typeof outcome === 'string' ? outcome : '');
    } else {
      succeeded(outcome);
    }
  }

  function next(): void {
    if (current !== null) return;
    const clip = queue.shift();
    if (clip === undefined) {
      for (const wake of waiters.splice(0)) wake();
      return;
    }
    const abort = new AbortController();
    const done = work(clip, abort).finally(() => {
      heldBytes -= clip.samples.byteLength;
      current = null;
      next();
    });
    current = { clip, abort, isDecided: false, done };
  }

  return {
    get heldBytes() {
      return heldBytes;
    },
    write(clip) {
      heldBytes += clip.samples.byteLength;
      queue.push(clip);
      next();
    },
    async drop(fits, reason) {
      const dropped = queue.filter(fits);
      queue = queue.filter((clip) => !dropped.includes(clip));
      for (const clip of dropped) heldBytes -= clip.samples.byteLength;
      const running = current;
      if (running !== null && fits(running.clip)) {
        if (!running.isDecided && !running.abort.signal.aborted) {
          dropped.push(running.clip);
          running.abort.abort();
        }
        // Where it failed, what it left may not be gone yet.
        await running.done;
      }
      for (const clip of dropped) onDiscard(clip, reason);
      return dropped.length;
    },
    idle: () =>
      current === null && queue.length === 0
        ? Promise.resolve()
        : new Promise((resolve) => (waiters = [...waiters, resolve])),
    stop: () => child.release(),
  };
}

function noteOf(clip: CutClip): ClipNote {
  const { event, captureRateHz, startMs, endedMs } = clip;
  const sampleRateHz = Math.min(captureRateHz, MOST_FILE_HZ);
  // As `resampleWhole` has it.
  const samples = Math.round((clip.samples.length * sampleRateHz) / captureRateHz);
  const seconds = samples / sampleRateHz;
  return {
    id: clip.id,
    event: event.id,
    label: event.label,
    mid: event.mid,
    group: event.group,
    source: event.source,
    peak: event.peak,
    started_at: isoTime(event.startedMs),
    ended_at: endedMs === null ? null : isoTime(endedMs),
    clip_started_at: isoTime(startMs),
    clip_ended_at: isoTime(startMs + seconds * 1000),
    seconds,
    sample_rate_hz: sampleRateHz,
    samples,
  };
}
