import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readProcess } from '../../src/bench/models/process-reading.js';
import { readBounded } from '../../src/common/bounded-read.js';
import { megabytes } from '../../src/common/size-text.js';
import { contract } from '../../src/mqtt/contract.js';
import { createHostReader } from '../../src/telemetry/host.js';
import { fieldsOf, jsonSchema } from '../../tools/docs/mqtt/schema.js';
import { temporaryFolder } from '../support/temporary.js';

/** A /proc with one process of 100,000 kB, which are 1024 bytes each, as the kernel has them. */
function processesIn(folder: string): string {
  mkdirSync(join(folder, '7'));
  writeFileSync(join(folder, '7', 'status'), 'Name:\tx\nVmHWM:\t  200000 kB\nVmRSS:\t  100000 kB\n');
  writeFileSync(join(folder, '7', 'stat'), '');
  return folder;
}

t.test('megabytes are 1,000,000 bytes', async (t) => {
  t.equal(megabytes(1_000_000), '1.0 MB');
  t.equal(megabytes(64 * 2 ** 20), '67 MB');
  t.equal(megabytes(1_250_000_000), '1.25 GB');
  const procRoot = processesIn(temporaryFolder(t));
  t.match(await readProcess(7, procRoot), { residentMb: 102.4, peakMb: 204.8 });
  const path = join(procRoot, 'large');
  writeFileSync(path, Buffer.alloc(11 * 2 ** 20));
  t.match(readBounded(path, 10 * 2 ** 20), { problem: /10 MB/ });
});

t.test('fields of the contract that end in _mb are MiB, and say so', async (t) => {
  const fields = Object.values(contract).flatMap((topic) =>
    topic.format === 'json' ? fieldsOf(jsonSchema(topic.schema)) : [],
  );
  const sizes = fields.filter(({ path }) => path.endsWith('_mb'));
  t.equal(sizes.length, 4);
  for (const { path, unit, description } of sizes) {
    t.equal(unit, 'MiB', path);
    t.match(description, /MiB/, path);
  }
  const reader = createHostReader({ procRoot: processesIn(temporaryFolder(t)), dataDir: '.' });
  t.equal((await reader.read([7])).memory_rss_mb, 97.7);
});
