import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../common/atomic-file.js';
import { readBounded } from '../common/bounded-read.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Platform } from '../mqtt/discovery/entities.js';

/** What Home Assistant may know of this device: the platforms of its components by their ids, under each topic. */
export type Announced = Readonly<Record<string, Readonly<Record<string, Platform>>>>;

/** Remembers what has been announced, so that what is gone by the next start can be taken away. */
export interface DiscoveryMemory {
  /** The topics under which the device has been described, by this life of the service or an earlier one. */
  topics(): string[];
  components(topic: string): Readonly<Record<string, Platform>>;
  /** Null forgets the topic. Writes only what has changed. */
  set(topic: string, components: Readonly<Record<string, Platform>> | null): void;
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
const fileSchema = z.record(z.string().min(1).max(1024), z.record(z.string().max(200), platform));

/** Reads `<dataDir>/homeassistant.json`; a file that is absent or broken is an empty memory. */
export function openDiscoveryMemory(options: { dataDir: string; log: Logger }): DiscoveryMemory {
  const { log } = options;
  const path = join(options.dataDir, 'homeassistant.json');
  let announced: Announced = read(path);
  let written = JSON.stringify(announced);
  let writing = Promise.resolve();

  return {
    topics: () => Object.keys(announced),
    components: (topic) => announced[topic] ?? {},
    set(topic, components) {
      const others = Object.entries(announced).filter(([other]) => other !== topic);
      announced = Object.fromEntries(components === null ? others : [...others, [topic, components]]);
      const text = JSON.stringify(announced);
      if (text === written) return;
      written = text;
      writing = writing
        .then(() => writeFileAtomic(path, `${text}\n`, { durable: true }))
        .catch((error: unknown) => {
          log.warn(
            { code: 'discovery_not_written' },
            `${path} cannot be written (${messageOf(error)}): entities that go while the service is off may stay in Home Assistant`,
          );
        });
    },
  };
}

function read(path: string): Announced {
  const found = readBounded(path, MAX_BYTES);
  if ('problem' in found) return {};
  try {
    return fileSchema.parse(JSON.parse(new TextDecoder().decode(found.bytes)));
  } catch {
    return {};
  }
}
