import type { Serializable } from 'node:child_process';
import type { z } from 'zod';
import type { Asked } from './ask-child.js';
import { endInWords, NONSENSE, startMessageChild, type MessageChild } from './message-child.js';

/**
 * A Node program that is asked one thing after the other, for work that comes often and may hang or crash: it is started
 * with the first question, and ends when nobody has asked it anything for a while, so that its memory goes back.
 */
export interface KeptChild<Reply> {
  /**
   * Resolves with its answer, or when it has ended without one; the next question starts another. An abort kills it. One
   * question at a time.
   * @throws SoundpostError `no_resources`, as `startChild`
   */
  ask(question: Serializable, signal?: AbortSignal): Promise<Asked<Reply>>;
  /** Ends it now if it is not at work. */
  release(): void;
}

/**
 * @param options.what it is for people: "the process that writes clips"
 * @param options.says all that it may say; each is an answer
 * @param options.idleMs how long it may be without work
 */
export function createKeptChild<Reply>(options: {
  what: string;
  program: string;
  says: z.ZodType<Reply>;
  idleMs: number;
}): KeptChild<Reply> {
  const { what, program, says, idleMs } = options;
  /** The one that is alive and has been told nothing to its disadvantage. */
  let kept: MessageChild | null = null;
  let isAtWork = false;
  let idleTimer: NodeJS.Timeout | undefined;

  function start(): MessageChild {
    const started = startMessageChild(what, program);
    const isOver = (): void => {
      if (kept === started) kept = null;
    };
    started.ended.then(isOver, isOver);
    // One that ends by itself is gone before its last words are read.
    started.child.once('exit', isOver);
    return started;
  }

  function release(): void {
    clearTimeout(idleTimer);
    if (isAtWork || kept === null) return;
    const { child } = kept;
    kept = null;
    // It ends when nobody can ask it any more.
    if (child.connected) child.disconnect();
  }

  async function ask(question: Serializable, signal?: AbortSignal): Promise<Asked<Reply>> {
    const used = (kept ??= start());
    const { child, ended } = used;
    let isNonsense = false;
    const kill = (): void => {
      if (kept === used) kept = null;
      child.kill('SIGKILL');
    };
    signal?.addEventListener('abort', kill, { once: true });
    let hears: (received: unknown) => void = () => undefined;
    const answered = new Promise<Reply>((resolve) => {
      hears = (received) => {
        const said = says.safeParse(received);
        if (said.success) resolve(said.data);
        else {
          isNonsense = true;
          kill();
        }
      };
      child.on('message', hears);
    });
    try {
      if (signal?.aborted === true) kill();
      child.send(question, () => undefined);
      return await Promise.race([
        answered.then((reply) => ({ reply, end: '' })),
        ended.then((end) => ({
          reply: undefined,
          end: endInWords(isNonsense ? { ...end, how: NONSENSE } : end),
        })),
      ]);
    } finally {
      child.off('message', hears);
      signal?.removeEventListener('abort', kill);
    }
  }

  return {
    async ask(question, signal) {
      clearTimeout(idleTimer);
      isAtWork = true;
      try {
        return await ask(question, signal);
      } finally {
        isAtWork = false;
        idleTimer = setTimeout(release, idleMs);
        idleTimer.unref();
      }
    },
    release,
  };
}
