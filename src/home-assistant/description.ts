import type { Logger } from '../common/log.js';
import type { Link } from '../mqtt/link.js';
import type { Components, DiscoveryMemory } from './discovery-memory.js';
import { splitDiscovery, USUAL_LIMIT_BYTES } from './parts.js';
import { platformsOf, removals, type DiscoveryPayload } from './payload.js';
import { createRemovalHold } from './removal-hold.js';
import { forgetInstall } from './retire.js';

/** More parts than any device needs at the smallest limit of a broker; what is in the memory beyond is somebody's joke. */
const MAX_PARTS = 1000;

interface Message {
  topic: string;
  payload: DiscoveryPayload;
}

/**
 * The discovery message of one device, or several where one would be too large for the broker. Invariants:
 * - it lies retained at the broker, is sent again after every connect, and goes before the states;
 * - what is announced is on the disk before it is at the broker, and stays there until its removal has been at the
 *   broker for a while.
 */
export interface Description {
  /** Describes the device anew where what `describe` says has changed. */
  publish(): void;
  /** Home Assistant has started: what is being taken away is held for as long again. */
  holdAnew(): void;
  /** Nothing more is sent, not even what waits for the disk. */
  stop(): void;
}

export function createDescription(options: {
  link: Link;
  memory: DiscoveryMemory;
  /** The topic of a part, counted from 1. */
  topicOf: (part: number) => string;
  /** The whole description; null while nothing is to be said. One without components takes the device away. */
  describe: () => DiscoveryPayload | null;
  /** The broker has the first part of a description. */
  onTaken?: () => void;
  /** The models that are offered: what has their state is not over when its component moves to another part. */
  isOffered: (model: string) => boolean;
  /** Takes nothing away in this life. */
  keepsGone: boolean;
  removalHoldMs: number;
  /** Ends the name of what is described, in sentences for people; empty for the one device that there is. */
  whose?: string;
  log: Logger;
}): Description {
  const { link, memory, topicOf, keepsGone, log } = options;
  /** The newest description, published or about to be, with its parts by their topics. */
  let described = '';
  /** The most bytes of one message. */
  let limitBytes = USUAL_LIMIT_BYTES;
  let tooLargeReported = false;
  const claims = createClaims(link, memory);
  const removalHold = createRemovalHold({ memory, holdMs: options.removalHoldMs, onOver: publish });

  link.onTextLimit((bytes) => {
    const next = Math.min(bytes, USUAL_LIMIT_BYTES);
    if (next === limitBytes) return;
    limitBytes = next;
    claims.forgetUntaken();
    publish();
  });

  function publish(): void {
    const whole = options.describe();
    if (whole === null) return;
    const announced = announcedTopics(memory, topicOf).map((topic) => memory.components(topic));
    const { parts, tooLarge } = splitDiscovery(whole, announced, { limitBytes, keepsGone });
    const messages = parts.map((payload, index) => ({ topic: topicOf(index + 1), payload }));
    const text = JSON.stringify(messages);
    if (text === described) return;
    described = text;
    removalHold.end();
    reportTooLarge(tooLarge);
    const sendIfNewest = () => {
      if (text === described) send(text, messages);
    };
    const writes = messages.map(({ topic, payload }, index) => {
      claims.announce(topic, announced[index] ?? {});
      return memory.set(topic, { ...announced[index], ...platformsOf(payload) });
    });
    // At once where it can be: the states come after it.
    const slow = writes.filter((write) => write !== null);
    if (slow.length === 0) sendIfNewest();
    else void Promise.all(slow).then(sendIfNewest);
  }

  function reportTooLarge(ids: readonly string[]): void {
    if (ids.length === 0 || tooLargeReported) return;
    tooLargeReported = true;
    log.warn(
      { code: 'too_large' },
      `Home Assistant is not told of ${ids.join(', ')}${options.whose ?? ''}: the broker takes no message that is large enough`,
    );
  }

  function send(text: string, [first, ...others]: Message[]): void {
    if (first === undefined) return;
    // Where the broker does not take the first part, it does not take the others.
    sendPart(text, first, () => {
      if (text !== described) return;
      for (const message of others.splice(0)) sendPart(text, message);
      options.onTaken?.();
    });
    for (const id of [first, ...others].flatMap(({ payload }) => removals(payload))) {
      if (!hasMoved(id)) forgetInstall(link, id);
    }
  }

  /** Taken away in one part, to be described in another. */
  function hasMoved(id: string): boolean {
    const model = /^install_(.*)$/.exec(id)?.[1];
    return model !== undefined && options.isOffered(model);
  }

  function sendPart(text: string, { topic, payload }: Message, then: () => void = () => undefined): void {
    if (Object.keys(payload.components).length === 0) {
      link.publishElsewhere(topic, '', { leads: true, delivered: () => void memory.set(topic, null) });
      then();
      return;
    }
    const gone = removals(payload);
    link.publishElsewhere(topic, JSON.stringify(payload), {
      leads: true,
      // Called each time that it is sent: the hold begins anew after a birth message.
      delivered() {
        claims.taken(topic);
        if (gone.length > 0 && text === described) removalHold.hold(topic, gone);
        then();
      },
    });
  }

  return {
    publish,
    holdAnew: () => removalHold.beginAnew(),
    stop() {
      removalHold.end();
      described = '';
    },
  };
}

/** The topics of the parts that have been announced, and at least the first. */
export function announcedTopics(
  memory: Pick<DiscoveryMemory, 'topics'>,
  topicOf: (part: number) => string,
): string[] {
  const known = new Set(memory.topics());
  let parts = 1;
  while (parts < MAX_PARTS && known.has(topicOf(parts + 1))) parts += 1;
  return Array.from({ length: parts }, (_, index) => topicOf(index + 1));
}

/** What this life of the service has announced, and what of it the broker has taken. */
interface Claims {
  /** `before`: what had been announced on the topic up to now. */
  announce(topic: string, before: Components): void;
  taken(topic: string): void;
  /** What no broker has taken need not be taken away again: it is remembered as it was before. */
  forgetUntaken(): void;
}

function createClaims(link: Pick<Link, 'forgetElsewhere'>, memory: Pick<DiscoveryMemory, 'set'>): Claims {
  /** What had been announced before this life said anything on a topic. */
  const before = new Map<string, Components>();
  const takenTopics = new Set<string>();
  return {
    announce(topic, components) {
      if (!before.has(topic)) before.set(topic, components);
    },
    taken: (topic) => void takenTopics.add(topic),
    forgetUntaken() {
      for (const [topic, components] of before) {
        if (takenTopics.has(topic)) continue;
        link.forgetElsewhere(topic);
        void memory.set(topic, components);
      }
    },
  };
}
