import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '../src/common/log.js';
import { projectRoot } from '../src/common/project.js';
import { makeSelfTest, writeSelfTest } from '../src/inference/self-test.js';
import { createStartEngine } from '../src/inference/start-engine.js';
import { DIGESTS_FILE, writeDigests } from '../src/models/file-digests.js';
import { createRegistry } from '../src/models/registry.js';

/*
 * Writes what the bundled models are checked against: `self-test.json`, what each says of the test sound, and
 * `files.json`, the digests of its files and of the label sets. To be run after a bundled model or a label set has been
 * changed on purpose: `npm run build && node dist/tools/seal-models.js`.
 */
const models = join(projectRoot(), 'models');
for (const entry of await readdir(models, { withFileTypes: true })) {
  if (entry.isDirectory()) await rm(join(models, entry.name, DIGESTS_FILE), { force: true });
}
const registry = createRegistry({ bundledFolder: models, dataDir: '/nonexistent', log: silentLogger });
for (const model of (await registry.list()).filter(({ bundled }) => bundled)) {
  const engine = await createStartEngine({ log: silentLogger })(model, { threads: 1 });
  try {
    await writeSelfTest(model.folder, await makeSelfTest(engine));
  } finally {
    await engine.stop();
  }
  await writeDigests(model.folder);
}
await writeDigests(join(models, 'labels'));
