import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../src/common/project.js';
import { documents as configDocuments } from './configuration.js';
import { mqttDocuments } from './mqtt/index.js';
import { openApiDocuments } from './openapi.js';
import { thresholdDocuments } from './thresholds.js';

/*
 * Writes the generated files: `npm run docs`. The tests compare them with what would be written now.
 */
for (const [path, content] of Object.entries({
  ...configDocuments(),
  ...mqttDocuments(),
  ...openApiDocuments(),
  ...thresholdDocuments(projectRoot()),
})) {
  writeFileSync(join(projectRoot(), path), content);
}
