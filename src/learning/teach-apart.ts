import { fileURLToPath } from 'node:url';
import { askChild } from '../common/ask-child.js';
import { SoundpostError } from '../common/errors.js';
import { teachReply, type TeachReply, type TeachRequest } from './teach-messages.js';
import type { Taught } from './teach.js';

const PROCESS_FILE = fileURLToPath(new URL('./teach-process.js', import.meta.url));
const TEACHER = 'the process that teaches';

/**
 * `teach` in a process of its own, so that nothing waits for it.
 * @throws SoundpostError what `teach` throws, `aborted`, `learn_failed` where it was killed, `no_resources`.
 */
export async function teachApart(request: TeachRequest, signal?: AbortSignal): Promise<Taught> {
  const { reply, end } = await askChild<TeachReply>(TEACHER, PROCESS_FILE, request, {
    says: teachReply,
    signal,
  });
  if (signal?.aborted === true) {
    throw new SoundpostError('aborted', 'The teaching was called off.', { cause: signal.reason });
  }
  if (reply?.kind === 'taught') return reply.taught;
  if (reply !== undefined) throw new SoundpostError(reply.code, reply.message);
  throw new SoundpostError(
    'learn_failed',
    `${TEACHER} ended before it was done (${end}). Most likely there is not enough memory. The examples are still there: try again.`,
  );
}
