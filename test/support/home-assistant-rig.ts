import { startMosquitto, type Mosquitto } from './broker.js';
import type { RegistryEntry } from './home-assistant-client.js';
import { startHome, type HomeOptions, type HomeProgram } from './home-assistant-program.js';
import { makeDataDir, startService, type ServiceProcess, type Settings } from './service.js';

/** The real Home Assistant with a broker, and the way to boxes with the bundled model that use it. */
export interface HomeRig {
  readonly broker: Mosquitto;
  readonly home: HomeProgram;
  /** Starts a box that hears the demo recording; again with the same data where `dataDir` is given. */
  box(
    id: string,
    settings?: Settings,
    dataDir?: string,
  ): Promise<{ service: ServiceProcess; dataDir: string }>;
  /** What Home Assistant has of MQTT. */
  ours(): Promise<RegistryEntry[]>;
  /** What of that has a state, and is not unavailable. */
  available(): Promise<string[]>;
}

/** Of a test, or of a program that ends what it began itself. */
export interface Frame {
  teardown(handler: () => unknown): void;
  comment(text: string): void;
}

export async function createHomeRig(t: Frame, options: HomeOptions = {}): Promise<HomeRig> {
  const broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
  t.teardown(() => broker.stop());
  const home = await startHome(t, { ...options, brokerPort: broker.port });
  t.comment(`Home Assistant ${home.version}`);
  const ours = async () => (await home.client.entries()).filter(({ platform }) => platform === 'mqtt');
  return {
    broker,
    home,
    async box(id, settings = {}, dataDir) {
      const folder = dataDir ?? (await makeDataDir(t));
      const service = startService(t, {
        DATA_DIR: folder,
        DEVICE_ID: id,
        DEVICE_NAME: id.charAt(0).toUpperCase() + id.slice(1),
        MQTT_URL: broker.url,
        HOMEASSISTANT_ENABLED: 'true',
        AUDIO_SOURCE: 'demo',
        TAGGING_LABELS: '["Bird", "Speech"]',
        TELEMETRY_INTERVAL_SECONDS: '1',
        THERMAL_ENABLED: 'false',
        ...settings,
      });
      return { service, dataDir: folder };
    },
    ours,
    async available() {
      const ids = (await ours()).map(({ entity_id: id }) => id);
      return ids.filter((id) => (home.client.state(id)?.state ?? 'unavailable') !== 'unavailable').sort();
    },
  };
}
