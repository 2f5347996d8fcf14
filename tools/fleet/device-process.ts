import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.js';
import { maskConfig } from '../../src/config/mask.js';
import { silentLogger } from '../../src/common/log.js';
import { BUNDLED_MODEL } from '../../src/models/bundled.js';
import { readCatalogue } from '../../src/models/catalogue.js';
import { createRegistry } from '../../src/models/registry.js';
import { SCHEMA_VERSION, type InfoPayload } from '../../src/mqtt/contract.js';
import { knownSummaries } from '../../src/service/info.js';
import { modelSummary } from '../../src/service/model-summary.js';
import { startEventLoopMonitor } from '../../src/telemetry/event-loop.js';
import { createLatencyRecorder } from '../../src/telemetry/latency.js';
import { createDevice, type DeviceSurroundings, type SimulatedDevice } from './device.js';
import { OTHER_MODEL, type DeviceProcessSettings, type LinkNote, type Order, type Word } from './messages.js';

/*
 * A process of simulated devices, started by the fleet bench. It does what it is told over the channel to its
 * parent, tells it twice a second what happened, and ends when the channel does.
 */

const NEWS_INTERVAL_MS = 500;

const devices: SimulatedDevice[] = [];
let events: [number, string][] = [];
let links: LinkNote[] = [];
let published = 0;
let started = false;
const eventLoop = startEventLoopMonitor();

function tell(word: Word): void {
  // The parent may be gone; then this process ends as well.
  if (process.connected) process.send?.(word, undefined, undefined, () => undefined);
}

function news(): void {
  const { p99, max } = eventLoop.snapshotAndReset();
  const counters = devices.map((device) => device.counters());
  tell({
    is: 'news',
    events,
    links,
    published,
    eventLoopMs: { p99, max },
    queued: counters.reduce((sum, { queued }) => sum + queued, 0),
    dropped: counters.reduce((sum, { dropped }) => sum + dropped, 0),
  });
  events = [];
  links = [];
  published = 0;
}

async function create(settings: DeviceProcessSettings): Promise<void> {
  const bundledFolder = join(settings.root, 'models');
  const registry = createRegistry({ bundledFolder, dataDir: settings.folder, log: silentLogger });
  const model = await registry.get(BUNDLED_MODEL);
  const models = [model, { ...model, manifest: { ...model.manifest, id: OTHER_MODEL } }];
  const { models: known } = await readCatalogue(bundledFolder);
  const info: Omit<InfoPayload, 'device'> = {
    schema_version: SCHEMA_VERSION,
    version: '0.0.0',
    models: {
      installed: models.map(modelSummary),
      known: await knownSummaries(known, registry),
    },
    config: maskConfig(loadConfig({ env: {}, root: settings.root }).config),
  };
  // One recorder for all: that of a real device takes 0.4 MB, and the broker does not see it.
  const latency = createLatencyRecorder();
  const held = new Set<number>();
  const surroundings: DeviceSurroundings = {
    ...settings,
    models,
    info,
    latency,
    onEvent: (device, key) => void events.push([device, key]),
    onMessage: () => void (published += 1),
    onStatus(device, status) {
      const at = Date.now();
      if (status.state === 'connected') {
        held.add(device);
        links.push({ device, state: 'connected', at });
      } else if (status.state === 'offline' || status.state === 'refused') {
        // A link that has not been started says so at once; that is no attempt.
        if (started) links.push({ device, state: held.delete(device) ? 'lost' : 'failed', at });
      }
    },
  };
  // What the process needs without any device.
  global.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  tell({ is: 'empty', memory: { rss, heapUsed } });
  for (let index = 0; index < settings.count; index += 1) {
    devices.push(await createDevice(settings.first + index, surroundings));
  }
  setInterval(news, NEWS_INTERVAL_MS);
}

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'create':
      await create(order.settings);
      tell({ is: 'created' });
      break;
    case 'start': {
      started = true;
      const at = Date.now();
      await Promise.all(devices.map((device) => device.start()));
      tell({ is: 'started', at });
      break;
    }
    case 'hush':
      for (const device of devices) device.hush();
      news();
      tell({ is: 'hushed' });
      break;
    case 'stop':
      await Promise.all(devices.map((device) => device.stop()));
      news();
      tell({ is: 'stopped' });
      process.disconnect();
      break;
  }
}

// Ctrl-C goes to all processes of a terminal; the bench says when to stop.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit(0));
process.on('message', (order: Order) => {
  obey(order).catch((error: unknown) => {
    process.stderr.write(`fleet: a process of devices failed: ${String(error)}\n`);
    process.exit(1);
  });
});
