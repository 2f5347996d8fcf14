/**
 * Writes clips into a folder, one after the other, until it is killed; prints the id of each that is on the disk.
 * Called by clips.test.ts.
 */
import { createClips } from '../../src/clips/clips.js';
import { silentLogger } from '../../src/common/log.js';
import { bark, clipSettings, pattern } from './clips.js';

const RATE = 48_000;
const clips = createClips({
  dataDir: process.argv[2]!,
  sources: ['main'],
  settings: { ...clipSettings, speech: 'keep' },
  log: silentLogger,
  onWritten({ id }) {
    process.stdout.write(`${id}\n`);
    next();
  },
});
clips.begin('main', RATE);
let second = 0;

function hear(seconds: number): void {
  for (const end = second + seconds; second < end; second += 1) {
    clips.chunk('main', pattern(second * RATE, RATE), (second + 1) * 1000);
  }
}

function next(): void {
  const id = `event ${second}`;
  hear(4);
  clips.started(bark(id, (second - 1) * 1000));
  clips.ended({ id, source: 'main', endedMs: second * 1000, peak: 1 });
  hear(3);
}

next();
setInterval(() => undefined, 1000);
