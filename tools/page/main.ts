import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from '@commander-js/extra-typings';
import { createLogger } from '../../src/common/logger.js';
import { whole } from '../options.js';
import { startScriptedDevice } from './device/device.js';

/* npm run page:dev: the page, as it is built, with a device that hears the demo recording and has a past. */

const SOURCES = ['main', 'yard', 'nursery', 'workshop', 'cellar'];

const { port, sources, days, clips, hostile, password } = new Command('npm run page:dev --')
  .description('Serves the page with a device that is made up.')
  .option('--port <n>', 'where', whole, 8099)
  .option('--sources <n>', `how many, at most ${SOURCES.length}`, whole, 1)
  .option('--days <n>', 'how much there is of a past', whole, 7)
  .option('--no-clips', 'as a device that keeps no recordings')
  .option('--hostile', 'with names that try to be markup')
  .option('--password <text>', 'asks for it')
  .parse()
  .opts();

const dataDir = mkdtempSync(join(tmpdir(), 'soundpost-page-'));
const device = await startScriptedDevice({
  dataDir,
  log: createLogger({ level: 'warn', format: 'auto' }),
  sources: SOURCES.slice(0, sources),
  pastDays: days,
  clips,
  hostile: hostile === true,
  telemetrySeconds: 5,
  web: { port, ...(password !== undefined && { password }) },
});
process.stdout.write(`${device.url}\n`);

process.once('SIGINT', () => {
  void device.stop().then(() => {
    rmSync(dataDir, { recursive: true, force: true });
    process.exit(0);
  });
});
