import type { EventPayload, Payload, SourceKey, TopicArguments } from './contract.js';
import type { Link } from './link.js';

/** A link, seen from one source: whoever speaks of it need not know whether there are others. */
export interface SourceLink {
  /** Its name; null where it is the only source. */
  readonly source: string | null;
  publish<K extends SourceKey>(key: K, payload: Payload<K>, ...parameters: TopicArguments<K>): void;
  /** Says an event on the source's own topic as well; the only source has none. `B/event` is somebody else's affair. */
  event(payload: EventPayload): void;
  /** As `Publishing.retire`. */
  retire<K extends SourceKey>(key: K, ...parameters: TopicArguments<K>): void;
  publishElsewhere: Link['publishElsewhere'];
  readonly topics: {
    of<K extends SourceKey>(key: K, ...parameters: TopicArguments<K>): string;
  };
}

/** The part of a link that every source has. */
export type LinkOfSource = Pick<Link, 'publish' | 'retire' | 'publishElsewhere'> & {
  readonly topics: Pick<Link['topics'], 'of'>;
};

/** @param source the name of one of several sources; null: the only one */
export function createSourceLink(link: LinkOfSource, source: string | null): SourceLink {
  const { publishElsewhere } = link;
  if (source === null) {
    return {
      source,
      publish: (key, payload, ...parameters) => link.publish(key, payload, ...parameters),
      event: () => undefined,
      retire: (key, ...parameters) => link.retire(key, ...parameters),
      publishElsewhere,
      topics: link.topics,
    };
  }
  /** The key of this source's topic, and the parameters of that. */
  const own = <K extends SourceKey>(key: K, parameters: TopicArguments<K>) =>
    // The compiler cannot see that each of these has the parameters of the plain topic and `source`.
    [`source/${key}`, { ...parameters[0], source }] as unknown as [
      key: `source/${K}`,
      ...parameters: TopicArguments<`source/${K}`>,
    ];
  return {
    source,
    publish(key, payload, ...parameters) {
      const [ownKey, ...ownParameters] = own(key, parameters);
      link.publish(ownKey, payload as unknown as Payload<typeof ownKey>, ...ownParameters);
    },
    event: (payload) => link.publish('source/event', payload, { source }),
    retire(key, ...parameters) {
      link.retire(...own(key, parameters));
    },
    publishElsewhere,
    topics: { of: (key, ...parameters) => link.topics.of(...own(key, parameters)) },
  };
}
