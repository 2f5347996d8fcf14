import type { Logger } from '../common/log.js';
import type { Link } from '../mqtt/link.js';
import { announcedTopics, createDescription, type Description } from './description.js';
import type { DiscoveryMemory } from './discovery-memory.js';
import {
  buildDiscovery,
  buildGoneSource,
  buildSourceDiscovery,
  discoveryTopic,
  sourceOfTopic,
  type BoxInput,
  type DiscoveryPayload,
  type SourceInput,
} from './payload.js';
import { leaveOtherTopics } from './retire.js';

/**
 * The descriptions of the box and, where there are several, of its sources, over one memory. Invariants:
 * - the box comes first: the devices of its sources refer to it;
 * - the device of a source that is not there any more is taken away like an entity: its removal stays at the broker
 *   for a while, and then nothing is left;
 * - what lies under other ids and prefixes is taken away at once.
 */
export function createDescriptions(options: {
  link: Link;
  memory: DiscoveryMemory;
  prefix: string;
  deviceId: string;
  /** The box as it is now; null while nothing is to be said, of its sources neither. */
  box: () => BoxInput | null;
  /** At least one, as they are now; one is a part of the box. */
  sources: readonly { name: string; now: () => SourceInput }[];
  /** The models that are offered. */
  isOffered: (model: string) => boolean;
  /** Takes nothing away in this life, but under other ids and prefixes. */
  keepsGone: boolean;
  removalHoldMs: number;
  log: Logger;
}): Description {
  const { link, memory, prefix, deviceId, sources } = options;
  const several = sources.length > 1 ? sources : [];
  const only = sources.length > 1 ? null : sources[0]!;
  const former = formerSources(
    { memory, prefix, deviceId },
    several.map(({ name }) => name),
  );
  /** Whether the broker has the box. */
  let isBoxThere = false;

  const topicsOf = (source: string | null) => (part: number) =>
    discoveryTopic(prefix, deviceId, { source, part });
  const ours = [null, ...several.map(({ name }) => name), ...former].flatMap((source) =>
    announcedTopics(memory, topicsOf(source)),
  );
  leaveOtherTopics(link, memory, (topic) => ours.includes(topic));

  const box = createDescription({
    ...options,
    topicOf: topicsOf(null),
    describe() {
      const now = options.box();
      return now === null ? null : buildDiscovery(now, only?.now() ?? null);
    },
    onTaken() {
      if (isBoxThere) return;
      isBoxThere = true;
      for (const each of behindBox) each.publish();
    },
  });
  const describeSource = (name: string, build: (box: BoxInput) => DiscoveryPayload): Description =>
    createDescription({
      ...options,
      topicOf: topicsOf(name),
      describe() {
        const now = isBoxThere ? options.box() : null;
        return now === null ? null : build(now);
      },
      whose: ` of ${name}`,
    });
  const behindBox = [
    ...several.map(({ name, now }) => describeSource(name, (box) => buildSourceDiscovery(box, now()))),
    ...(options.keepsGone
      ? []
      : former.map((name) => describeSource(name, (box) => buildGoneSource(box, name)))),
  ];
  const all = [box, ...behindBox];

  return {
    publish() {
      for (const each of all) each.publish();
    },
    holdAnew() {
      for (const each of all) each.holdAnew();
    },
    stop() {
      for (const each of all) each.stop();
    },
  };
}

/** The sources that have been announced as devices and are none now. */
function formerSources(
  { memory, prefix, deviceId }: { memory: DiscoveryMemory; prefix: string; deviceId: string },
  present: readonly string[],
): string[] {
  const announced = memory.topics().flatMap((topic) => sourceOfTopic(prefix, deviceId, topic) ?? []);
  return [...new Set(announced)].filter((name) => !present.includes(name));
}
