import type { Serializable } from 'node:child_process';
import type { z } from 'zod';
import { endInWords, NONSENSE, startMessageChild } from './message-child.js';

/** What came of a child that was asked one thing. */
export interface Asked<Reply> {
  /** undefined where it ended without one. */
  reply: Reply | undefined;
  /** How it ended, in words for brackets, with its last words: `SIGKILL`, `exit code 1: out of memory`. */
  end: string;
}

/**
 * Starts a Node program, sends it one message and waits for its answer and its end: for work that may hang, crash or
 * take more memory than there is.
 *
 * An abort kills it, and so does the end of `timeoutMs`; whether that is an error is for the caller to say. So does a
 * message that is none of `says`.
 * @param what it is for people: "the process that converts the checkpoint"
 * @param options.isReply false for a message that is none, such as progress; it is shown all of them.
 * @throws SoundpostError `no_resources`, as `startChild`.
 */
export async function askChild<Message, Reply extends Message = Message>(
  what: string,
  program: string,
  question: Serializable,
  options: {
    /** All that it may say. */
    says: z.ZodType<Message>;
    isReply?: (message: Message) => message is Reply;
    signal?: AbortSignal | undefined;
    timeoutMs?: number;
    /** The most memory of its own that it may take, in bytes. */
    memoryBytes?: number;
  },
): Promise<Asked<Reply>> {
  const { says, isReply, signal, timeoutMs, memoryBytes } = options;
  const { child, ended } = startMessageChild(what, program, memoryBytes);
  const kill = (): void => void child.kill('SIGKILL');
  const timer = timeoutMs === undefined ? undefined : setTimeout(kill, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  let reply: Reply | undefined;
  let isNonsense = false as boolean;
  child.on('message', (received: unknown) => {
    const said = says.safeParse(received);
    if (!said.success) {
      isNonsense = true;
      kill();
    } else if (isReply === undefined || isReply(said.data)) {
      reply = said.data as Reply;
      child.disconnect();
    }
  });
  try {
    if (signal?.aborted === true) kill();
    child.send(question, () => undefined);
    const end = await ended;
    return { reply, end: endInWords(isNonsense ? { ...end, how: NONSENSE } : end) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}
