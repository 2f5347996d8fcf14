import type { Link } from '../mqtt/link.js';
import type { DiscoveryMemory } from './discovery-memory.js';

/** Takes the device away where an earlier life of the service has announced it: Home Assistant is switched off. */
export function retireHomeAssistant(link: Link, memory: DiscoveryMemory): void {
  for (const topic of memory.topics()) {
    for (const id of Object.keys(memory.components(topic))) forgetInstall(link, id);
  }
  leaveOtherTopics(link, memory, () => false);
}

/** Takes the device away under earlier ids and prefixes. */
export function leaveOtherTopics(
  link: Pick<Link, 'publishElsewhere'>,
  memory: Pick<DiscoveryMemory, 'topics' | 'set'>,
  isPresent: (topic: string) => boolean,
): void {
  for (const topic of memory.topics()) {
    if (isPresent(topic)) continue;
    link.publishElsewhere(topic, '', { leads: true, delivered: () => void memory.set(topic, null) });
  }
}

/** The state of a model that is not offered any more would lie at the broker for ever. */
export function forgetInstall(link: Pick<Link, 'publishElsewhere' | 'topics'>, component: string): void {
  const id = /^install_(.+)$/.exec(component)?.[1];
  if (id !== undefined) link.publishElsewhere(link.topics.of('install', { id }), '');
}
