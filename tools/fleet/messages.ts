/** What one process of simulated devices has to know. */
export interface DeviceProcessSettings {
  /** The devices of this process are the numbers from `first` on. */
  first: number;
  count: number;
  /** One address for each node of the broker; each device begins with another one. */
  brokerUrls: readonly string[];
  /** The program's folder, with models/. */
  root: string;
  /** Empty folder for the outboxes. */
  folder: string;
  rateHz: number;
  eventSeconds: number;
  telemetrySeconds: number;
  /** The first connects are spread over this long, as after a power cut; 0: all at once. */
  startSpreadMs: number;
}

/** From the bench to a process of devices. */
export type Order =
  | { do: 'create'; settings: DeviceProcessSettings }
  /** Every device begins to connect and to hear. */
  | { do: 'start' }
  /** Sounds end; nothing new begins. */
  | { do: 'hush' }
  | { do: 'stop' };

/** Something that happened to the link of a device; `at` in ms since the epoch. */
export interface LinkNote {
  device: number;
  state: 'connected' | 'failed' | 'lost';
  at: number;
}

/** From a process of devices to the bench. */
export type Word =
  | { is: 'empty'; memory: Memory }
  | { is: 'created' }
  | { is: 'started'; at: number }
  | {
      is: 'news';
      /** Events in the order of their publication. */
      events: [device: number, key: string][];
      links: LinkNote[];
      /** Messages handed to the link. */
      published: number;
      eventLoopMs: { p99: number | null; max: number | null };
      queued: number;
      dropped: number;
    }
  | { is: 'hushed' }
  | { is: 'stopped' };

/** Bytes. */
export interface Memory {
  rss: number;
  heapUsed: number;
}

/** The name of one event of one pair. */
export function eventKey(id: string, type: string): string {
  return `${id}/${type}`;
}

/** `device.id` of the simulated device with this number, and the way back (NaN where it is none). */
export function deviceId(number: number): string {
  return `fleet-${number}`;
}

export function deviceNumber(id: string): number {
  return Number(/^fleet-(\d+)$/.exec(id)?.[1] ?? NaN);
}

export const BASE_TOPIC = 'soundpost';
/** The model that the operator switches to. */
export const OTHER_MODEL = 'soundpost-other';
