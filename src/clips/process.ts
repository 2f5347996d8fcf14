/**
 * The process that encodes and writes clips, one after the other: neither the encoder nor a disk that hangs holds up the
 * service, and its memory goes back when there is nothing to do. It is forked by clip-writer.ts and may be killed at any
 * time.
 */
import { constants, setPriority } from 'node:os';
import { failed } from '../common/failed.js';
import { leaveSignalsToParent } from '../common/signals.js';
import type { ClipJob, ClipJobReply } from './job.js';
import { writeClip } from './write-clip.js';

process.title = 'soundpost clip';
leaveSignalsToParent();
process.on('disconnect', () => process.exit(0));
try {
  // A clip can wait; what is heard now cannot.
  setPriority(constants.priority.PRIORITY_LOW);
} catch {
  // Then it does not.
}

const say = (message: ClipJobReply): void =>
  void process.send?.(message, undefined, undefined, () => undefined);

process.on('message', (job: ClipJob) => {
  void writeClip(job)
    .then((bytes): ClipJobReply => ({ kind: 'written', bytes }), failed)
    .then(say);
});
