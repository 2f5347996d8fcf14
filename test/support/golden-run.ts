import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertAndCompareWithGolden } from './golden-architectures.js';

/*
 * Converts and compares one architecture in a process of its own, so that the memory of a large network goes back before the
 * next one: node golden-run.js NAME. The result is a line of JSON on stdout.
 */
const [name = ''] = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), 'soundpost-golden-'));
try {
  const result = await convertAndCompareWithGolden(name, scratch);
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
