import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { soakNetwork } from './soak.js';
import { subjectOf } from './subjects.js';

/*
 * One network in a process of its own, whose memory is watched: node --expose-gc soak-process.js NAME SECONDS HOURS
 * MINUTES EVERY. Each hour of sound is a line of JSON on stdout, and so is the reason why the network is no stream.
 */
const [name = '', seconds = '10', hours = '24', minutes = '60', every = '60'] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'soundpost-streaming-'));
const tell = (line: object): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);
try {
  const reason = await soakNetwork(await subjectOf(name), {
    windowSeconds: Number(seconds),
    hours: Number(hours),
    maxMs: Number(minutes) * 60_000,
    compareEvery: Number(every),
    folder,
    onHour: tell,
  });
  if (reason !== null) tell({ reason });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
