/**
 * The process that teaches a sound: it takes a core for some seconds, which the service cannot be without. It is forked
 * by teach-apart.ts, answers once, and may be killed at any time.
 */
import { constants, setPriority } from 'node:os';
import { failed } from '../common/failed.js';
import { leaveSignalsToParent } from '../common/signals.js';
import type { TeachReply, TeachRequest } from './teach-messages.js';
import { teach } from './teach.js';

process.title = 'soundpost teach';
leaveSignalsToParent();
process.on('disconnect', () => process.exit(0));
try {
  // What is heard now cannot wait.
  setPriority(constants.priority.PRIORITY_LOW);
} catch {
  // Then it does not.
}

function answer({ sound, settings }: TeachRequest): TeachReply {
  try {
    return { kind: 'taught', taught: teach(sound, settings) };
  } catch (error) {
    return failed(error);
  }
}

process.on('message', (request: TeachRequest) => {
  process.send?.(answer(request), undefined, undefined, () => undefined);
});
