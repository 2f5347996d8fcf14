import { constants } from 'node:fs';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf, messageOf } from '../../src/common/errors.js';
import { projectRoot } from '../../src/common/project.js';
import { isHangupIgnored } from '../../src/common/interrupt.js';
import { parseFleetOptions } from './options.js';
import { formatFleetReport } from './fleet-report.js';
import { runFleet } from './run-fleet.js';

/*
 * npm run bench:fleet: a fleet of simulated devices against one mosquitto. The report goes to stdout, progress to
 * stderr. Exit codes: 0 all as promised, 1 not so or failed, 2 wrong usage, 130 interrupted.
 */

const began = performance.now();
function progress(message: string): void {
  process.stderr.write(
    `fleet: ${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${message}\n`,
  );
}

// Whoever reads it may be gone, a terminal too: that must not keep the run from ending in order.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (signal !== 'SIGHUP' || !isHangupIgnored()) interrupt.abort();
  });
}

const folders: string[] = [];
async function newFolder(within: string): Promise<string> {
  const made = await mkdtemp(join(within, 'soundpost-fleet-'));
  folders.push(made);
  return made;
}

/** A file system in memory, where there is one. */
async function outboxFolder(): Promise<string> {
  return access('/dev/shm', constants.W_OK).then(
    () => '/dev/shm',
    () => tmpdir(),
  );
}

try {
  const settings = parseFleetOptions(process.argv.slice(2));
  const report = await runFleet({
    settings,
    root: projectRoot(),
    folder: await newFolder(tmpdir()),
    outboxFolder: await newFolder(settings.outboxFolder ?? (await outboxFolder())),
    progress,
    signal: interrupt.signal,
  });
  process.stdout.write(formatFleetReport(report));
  if (settings.json !== undefined) await writeFile(settings.json, `${JSON.stringify(report, null, 2)}\n`);
  if (report.failures.length > 0) process.exitCode = 1;
} catch (error) {
  if (interrupt.signal.aborted) {
    progress('interrupted');
    process.exitCode = 130;
  } else {
    process.stderr.write(`fleet: ${messageOf(error)}\n`);
    process.exitCode = codeOf(error) === 'usage' ? 2 : 1;
  }
} finally {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}
