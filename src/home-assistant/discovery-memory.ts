import { join } from 'node:path';
import { z } from 'zod';
import { createJsonMemory, readJsonMemory } from '../common/json-memory.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Platform } from './entities.js';

/** The platforms of components by their ids. */
export type Components = Readonly<Record<string, Platform>>;

/** What Home Assistant may know of this device: its components under each topic. */
export type Announced = Readonly<Record<string, Components>>;

/** Remembers what has been announced, so that what is gone by the next start can be taken away. */
export interface DiscoveryMemory {
  /** The topics under which the device has been described, by this life of the service or an earlier one. */
  topics(): string[];
  components(topic: string): Components;
  /**
   * Null forgets the topic. Writes only what has changed.
   * @returns null where all of it is on the disk already, else what resolves when it is, or when it cannot be
   * written, which is logged.
   */
  set(topic: string, components: Components | null): Promise<void> | null;
  /** A last attempt for what is not on the disk yet. */
  stop(): Promise<void>;
}

const MAX_BYTES = 4 * 1024 * 1024;
const platform = z.enum([
  'binary_sensor',
  'button',
  'event',
  'number',
  'select',
  'sensor',
  'switch',
  'update',
]) satisfies z.ZodType<Platform>;
const topicSchema = z.string().min(1).max(1024);
const entrySchema = z.tuple([z.string().max(200), platform]);
const mapSchema = z.record(z.string(), z.unknown());

/**
 * Reads `<dataDir>/homeassistant.json`. A file that is absent or no JSON is an empty memory; of any other, the
 * entries that are broken, or of a platform that this version does not have, are passed over.
 */
export function openDiscoveryMemory(options: { dataDir: string; log: Logger }): DiscoveryMemory {
  const { log } = options;
  const path = join(options.dataDir, 'homeassistant.json');
  let announced: Announced = read(path, log);
  let latest = JSON.stringify(announced);
  /** The last of the writes, while there are any. */
  let writing: Promise<void> | null = null;
  const memory = createJsonMemory({
    path,
    content: () => `${latest}\n`,
    failing: (error) =>
      log.warn(
        { code: 'discovery_not_written' },
        `${path} cannot be written (${messageOf(error)}): it is written again until it stands; until then, entities that go while the service is off may stay in Home Assistant`,
      ),
  });

  return {
    topics: () => Object.keys(announced),
    components: (topic) => announced[topic] ?? {},
    set(topic, components) {
      const others = Object.entries(announced).filter(([other]) => other !== topic);
      announced = Object.fromEntries(components === null ? others : [...others, [topic, components]]);
      const text = JSON.stringify(announced);
      if (text === latest) return writing;
      latest = text;
      const mine: Promise<void> = memory.save().then(() => {
        if (writing === mine) writing = null;
      });
      writing = mine;
      return mine;
    },
    async stop() {
      await memory.stop();
    },
  };
}

function read(path: string, log: Logger): Announced {
  const found = readJsonMemory(path, MAX_BYTES);
  if ('problem' in found) {
    if (found.problem !== 'none') {
      log.warn(
        { code: 'discovery_unreadable' },
        `${path} ${[found.reason, found.fate].filter(Boolean).join('; ')}`,
      );
    }
    return {};
  }
  const topics = Object.entries(mapOf(found.value)).filter(([topic]) => topicSchema.safeParse(topic).success);
  return Object.fromEntries(topics.map(([topic, components]) => [topic, componentsOf(components)]));
}

function componentsOf(value: unknown): Components {
  return Object.fromEntries(
    Object.entries(mapOf(value)).flatMap((entry) => {
      const { data } = entrySchema.safeParse(entry);
      return data === undefined ? [] : [data];
    }),
  );
}

function mapOf(value: unknown): Record<string, unknown> {
  return mapSchema.safeParse(value).data ?? {};
}
