import type {
  EventPayload,
  InfoPayload,
  LevelPayload,
  LogPayload,
  StatePayload,
  TagsPayload,
  TelemetryPayload,
} from '../../mqtt/contract.js';

/*
 * What is known of the device: the newest of its documents, and what came since the page was opened. `take` puts in
 * what the feed brings; nothing here knows of the browser.
 */

/** An event, as it is live and as the history has it. */
export type HeardEvent = EventPayload & {
  /** What somebody said about it; left out and null: nothing. */
  right?: boolean | null | undefined;
};

/** What one source hears. */
export interface SourceNow {
  tags: TagsPayload | null;
  level: LevelPayload | null;
  /** Null where nothing is said about this source alone. */
  audio: 'online' | 'offline' | null;
  /** Slugs of the watched labels and groups that are on. */
  on: readonly string[];
}

export interface Device {
  connection: 'connecting' | 'live' | 'lost';
  status: 'online' | 'offline' | null;
  audio: 'online' | 'offline' | null;
  info: InfoPayload | null;
  state: StatePayload | null;
  telemetry: TelemetryPayload | null;
  /** Of this session of the page, oldest first. */
  readings: readonly TelemetryPayload[];
  /** Where there is only one source it is called `main`. */
  sources: Readonly<Record<string, SourceNow>>;
  /** Events that came while the page was open, newest first, one for each sound. */
  events: readonly HeardEvent[];
  /** Newest first. */
  logs: readonly LogPayload[];
}

export const ONLY_SOURCE = 'main';
const MOST_READINGS = 720;
const MOST_EVENTS = 500;
const MOST_LOGS = 100;

export const noDevice: Device = {
  connection: 'connecting',
  status: null,
  audio: null,
  info: null,
  state: null,
  telemetry: null,
  readings: [],
  sources: {},
  events: [],
  logs: [],
};

const emptySource: SourceNow = { tags: null, level: null, audio: null, on: [] };

/** A document as the feed brings it; `key` is the key of its topic in the contract. */
export interface FeedDocument {
  key: string;
  topic: string;
  source?: string | undefined;
  payload: unknown;
}

/** The device with a document more; the same one where it says nothing to the page. */
export function take(device: Device, { key, topic, source = ONLY_SOURCE, payload }: FeedDocument): Device {
  const ofSource = (change: (now: SourceNow) => Partial<SourceNow>): Device => {
    const now = Object.hasOwn(device.sources, source) ? device.sources[source]! : emptySource;
    return { ...device, sources: { ...device.sources, [source]: { ...now, ...change(now) } } };
  };
  switch (key) {
    case 'status':
      return { ...device, status: payload as Device['status'] };
    case 'audio/status':
      return { ...device, audio: payload as Device['audio'] };
    case 'info':
      return { ...device, info: payload as InfoPayload };
    case 'state':
      return { ...device, state: payload as StatePayload };
    case 'telemetry': {
      const telemetry = payload as TelemetryPayload;
      if (device.readings.at(-1)?.ts === telemetry.ts) return device;
      return { ...device, telemetry, readings: [...device.readings, telemetry].slice(-MOST_READINGS) };
    }
    case 'tags':
    case 'source/tags':
      return ofSource(() => ({ tags: payload as TagsPayload }));
    case 'level':
    case 'source/level':
      return ofSource(() => ({ level: payload as LevelPayload }));
    case 'source/audio/status':
      return ofSource(() => ({ audio: payload as SourceNow['audio'] }));
    case 'label':
    case 'source/label': {
      const slug = topic.slice(topic.lastIndexOf('/') + 1);
      return ofSource(({ on }) => {
        const others = on.filter((one) => one !== slug);
        return { on: payload === 'ON' ? [...others, slug] : others };
      });
    }
    case 'event':
      return { ...device, events: withEvent(device.events, payload as HeardEvent).slice(0, MOST_EVENTS) };
    case 'log':
      return { ...device, logs: [payload as LogPayload, ...device.logs].slice(0, MOST_LOGS) };
    default:
      return device;
  }
}

/** A new connection brings all that is retained: what was on before may have ended meanwhile. */
export function connected(device: Device): Device {
  const sources = Object.entries(device.sources).map(([name, now]) => [name, { ...now, on: [] }] as const);
  return { ...device, sources: Object.fromEntries(sources) };
}

/** The events, newest first, with one more; its end takes the place of its beginning. */
export function withEvent(events: readonly HeardEvent[], event: HeardEvent): HeardEvent[] {
  const before = events.find(({ id }) => id === event.id);
  // A beginning that comes late must not undo the end.
  if (before?.ended_at != null && event.ended_at === null) return [...events];
  const merged: HeardEvent = { ...event, right: event.right ?? before?.right ?? null };
  const others = events.filter(({ id }) => id !== event.id);
  const at = others.findIndex(({ started_at: startedAt }) => startedAt <= event.started_at);
  return at < 0 ? [...others, merged] : [...others.slice(0, at), merged, ...others.slice(at)];
}

/** Names of the sources in the order of the configuration. */
export function sourceNames(state: StatePayload | null): readonly string[] {
  const names = state?.sources?.map(({ name }) => name);
  return names === undefined || names.length === 0 ? [ONLY_SOURCE] : names;
}

/** A label or group that is watched, with its threshold. */
export interface Watched {
  /** What commands and the history call it: the group where there is one. */
  name: string;
  /** Labels that count towards it; of a single label only itself. */
  labels: readonly string[];
  threshold: number;
  from: string;
  isGroup: boolean;
}

/** What is watched at a source, in the order in which the device tells it. */
export function watchedOf(info: InfoPayload | null, source: string | null): Watched[] {
  const found = new Map<string, Watched & { labels: string[] }>();
  for (const entry of info?.thresholds ?? []) {
    if (entry.source !== undefined && source !== null && entry.source !== source) continue;
    const name = entry.group ?? entry.label;
    const before = found.get(name);
    if (before === undefined) {
      found.set(name, {
        name,
        labels: [entry.label],
        threshold: entry.threshold,
        from: entry.from,
        isGroup: entry.group !== null,
      });
    } else if (!before.labels.includes(entry.label)) before.labels.push(entry.label);
  }
  return [...found.values()];
}

/** A value of the effective configuration, by its key; undefined where it is not told. */
export function configValue(info: InfoPayload | null, key: string): unknown {
  let value: unknown = info?.config;
  for (const part of key.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** Below which part of its threshold a sound ends. */
export function offFraction(info: InfoPayload | null): number {
  const value = configValue(info, 'tagging.off_fraction');
  return typeof value === 'number' ? value : 0.7;
}
