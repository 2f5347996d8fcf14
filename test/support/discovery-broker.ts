import type { Link } from '../../src/mqtt/link.js';
import { createTopics } from '../../src/mqtt/topics.js';

/** A broker as far as descriptions go: it takes at once what is not too large for it, and keeps it. */
export interface DiscoveryBroker {
  link: Link;
  /** What it holds, by topics. */
  retained: Map<string, string>;
  /** All that it was sent and has taken, in order. */
  taken: { topic: string; text: string }[];
  /** The topics that the link has something for, in the order of their first messages. */
  said(): string[];
  /** Takes nothing any more, or takes all that is to be said again and in that order. */
  connect(on: boolean): void;
  /** Says, and means, that a text may have so many bytes from now on. */
  limit(bytes: number): void;
}

/** @param deviceId whose link it is, below `soundpost` */
export function createDiscoveryBroker(deviceId: string): DiscoveryBroker {
  const retained = new Map<string, string>();
  const taken: DiscoveryBroker['taken'] = [];
  const listeners = new Set<(bytes: number) => void>();
  /** As the link keeps them: what was said last on each topic. */
  const states = new Map<string, () => void>();
  let limitBytes = Infinity;
  let isUp = true;
  const resendStates = () => {
    for (const send of [...states.values()]) send();
  };
  const link = {
    topics: createTopics('soundpost', deviceId),
    publish: () => undefined,
    publishElsewhere(topic: string, text: string, { delivered }: { delivered?: () => void } = {}) {
      const send = () => {
        if (!isUp || Buffer.byteLength(text) > limitBytes) return;
        taken.push({ topic, text });
        if (text === '') {
          retained.delete(topic);
          states.delete(topic);
        } else {
          retained.set(topic, text);
        }
        delivered?.();
      };
      states.set(topic, send);
      send();
    },
    forgetElsewhere: (topic: string) => void states.delete(topic),
    onTextLimit(listener: (bytes: number) => void) {
      listeners.add(listener);
      listener(limitBytes);
    },
    resendStates,
  } as unknown as Link;
  return {
    link,
    retained,
    taken,
    said: () => [...states.keys()],
    connect(on) {
      isUp = on;
      resendStates();
    },
    limit(bytes) {
      limitBytes = bytes;
      for (const listener of listeners) listener(bytes);
    },
  };
}
