import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureNetwork } from './measure-network.js';
import { subjectOf } from './subjects.js';

/*
 * Measures one network in a process of its own, so that its memory goes back before the next one:
 * node measure-process.js NAME SECONDS HOPS exact|stream [RECORDING]. The result is a line of JSON on stdout.
 */
const [name = '', seconds = '10', hops = '20', edge = 'exact', recording = ''] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'soundpost-streaming-'));
try {
  const result = await measureNetwork(await subjectOf(name), {
    windowSeconds: Number(seconds),
    hops: Number(hops),
    leftEdge: edge === 'stream' ? 'stream' : 'exact',
    recording: recording === '' ? null : recording,
    folder,
  });
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
