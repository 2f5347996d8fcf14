import type { InstalledModel } from '../models/registry.js';
import type { LastPayload } from '../mqtt/contract.js';
import type { SourceLink } from '../mqtt/source-link.js';
import { uniqueSlugs } from '../tagging/slug.js';
import type { SourceLabels } from './label-memory.js';

/** Topics `B/label/<slug>` at the broker at once; nobody watches as many. */
const MAX_LABEL_TOPICS = 2000;

/**
 * The topics `B/label/<slug>`, or those of one of several sources: all of them are remembered, since they are retained,
 * and there are never too many.
 */
export interface LabelTopics {
  show(slug: string, text: 'ON' | 'OFF'): void;
  /** What it is heard as, which stays until it is heard again. */
  tellLast(slug: string, last: LastPayload): void;
  /** Groups may have ever new names: what is not watched any more must not be kept for ever. */
  retireAllBut(before: readonly { slug: string }[], now: readonly { slug: string }[]): void;
}

/**
 * Shows OFF on every topic that an earlier life of the service may have left at ON.
 * @param options.installed models whose labels those may be where the memory is incomplete
 * @param options.on the slugs of what is on now: their topics stay
 */
export function createLabelTopics(options: {
  link: Pick<SourceLink, 'publish' | 'publishElsewhere' | 'retire' | 'topics'>;
  memory: Pick<SourceLabels, 'slugs' | 'isIncomplete' | 'add'>;
  installed: readonly Pick<InstalledModel, 'labels'>[];
  on: () => ReadonlySet<string>;
}): LabelTopics {
  const { link, memory } = options;
  /** The slugs that have a topic at the broker, in the order of their last use. */
  const topics = new Set<string>();

  function publish(slug: string, text: 'ON' | 'OFF'): void {
    topics.delete(slug);
    topics.add(slug);
    if (topics.size > MAX_LABEL_TOPICS) takeAwayOldest();
    link.publish('label', text, { slug });
  }

  /** Groups may have ever new names, and models ever new labels: what was used longest ago leaves the broker. */
  function takeAwayOldest(): void {
    const on = options.on();
    for (const slug of topics) {
      if (on.has(slug)) continue;
      topics.delete(slug);
      link.publishElsewhere(link.topics.of('label', { slug }), '');
      link.publishElsewhere(link.topics.of('last', { slug }), '');
      return;
    }
  }

  const left = new Set(memory.slugs());
  if (memory.isIncomplete) {
    for (const { labels } of options.installed) {
      for (const slug of uniqueSlugs(labels.map(({ name }) => name))) left.add(slug);
    }
  }
  for (const slug of left) publish(slug, 'OFF');

  return {
    show(slug, text) {
      memory.add(slug);
      publish(slug, text);
    },
    tellLast: (slug, last) => link.publish('last', last, { slug }),
    retireAllBut(before, now) {
      const kept = new Set(now.map(({ slug }) => slug));
      for (const { slug } of before) {
        if (kept.has(slug)) continue;
        link.retire('label', { slug });
        link.retire('last', { slug });
      }
    },
  };
}
