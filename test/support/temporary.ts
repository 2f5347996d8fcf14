import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new empty folder; it is removed when the test ends. */
export function temporaryFolder(t: { teardown(handler: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'soundpost-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
