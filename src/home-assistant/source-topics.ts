import type { OutKey } from '../mqtt/contract.js';
import type { Topics } from '../mqtt/topics.js';
import type { PlainKey } from './entities.js';

/** What each of several sources says by itself, by what it is in place of; all else is said by the box for all. */
export const ownKeys = {
  tags: 'source/tags',
  event: 'source/event',
  level: 'source/level',
  'audio/status': 'source/audio/status',
} as const satisfies Partial<Record<PlainKey, OutKey>>;

/** The topics of the box, or those that one of several sources has in place of them. */
export interface PlaceTopics {
  /** Commands go below it. */
  readonly base: string;
  of(key: PlainKey): string;
  label(slug: string): string;
  /** What a label was last heard as. */
  last(slug: string): string;
}

/** @param source null: the box */
export function topicsOf(topics: Pick<Topics, 'base' | 'of'>, source: string | null): PlaceTopics {
  if (source === null) {
    return {
      base: topics.base,
      of: (key) => topics.of(key),
      label: (slug) => topics.of('label', { slug }),
      last: (slug) => topics.of('last', { slug }),
    };
  }
  return {
    base: `${topics.base}/source/${source}`,
    of: (key) => (isOwn(key) ? topics.of(ownKeys[key], { source }) : topics.of(key)),
    label: (slug) => topics.of('source/label', { source, slug }),
    last: (slug) => topics.of('source/last', { source, slug }),
  };
}

function isOwn(key: PlainKey): key is keyof typeof ownKeys {
  return key in ownKeys;
}
