import type { Components, DiscoveryMemory } from '../../src/home-assistant/discovery-memory.js';

/** What has been announced, in the memory of the test: on the disk at once, as it were. */
export function createQuickMemory(): DiscoveryMemory {
  const kept = new Map<string, Components>();
  return {
    topics: () => [...kept.keys()],
    components: (topic) => kept.get(topic) ?? {},
    set(topic, components) {
      if (components === null) kept.delete(topic);
      else kept.set(topic, components);
      return null;
    },
    stop: () => Promise.resolve(),
  };
}
