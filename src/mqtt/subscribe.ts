import type { MqttClient } from 'mqtt';
import { messageOf } from '../common/errors.js';
import { describeRefusal, refusedTopics } from './refused.js';

/** A topic filter that a broker does not let us read, and why, in a clause; no filter where it did not say which. */
export interface RefusedFilter {
  filter: string | null;
  why: string;
}

/**
 * Subscribes with QoS 1. Our own messages never come back; the retain flag stays as it was sent, so that a stale command
 * shows. Resolves to what was refused. What breaks with the connection is no answer: it then never settles.
 * @param options.retained whether what the broker keeps is to come
 * @param options.isGone whether nobody waits for the answer any more
 */
export async function subscribe(
  client: MqttClient,
  filters: readonly string[],
  options: { version: 4 | 5; retained: boolean; isGone?: () => boolean },
): Promise<RefusedFilter[]> {
  const { version, retained, isGone } = options;
  try {
    // MQTT 5 section 3.8.3.1: retain handling 2 sends nothing of what is kept.
    const flags = version === 5 ? { nl: true, rap: true, rh: retained ? (0 as const) : (2 as const) } : {};
    await client.subscribeAsync([...filters], { qos: 1, ...flags });
    return [];
  } catch (error) {
    if (isGone?.() === true || !client.connected) return new Promise(() => undefined);
    const { packet } = error as { packet?: unknown };
    const refused = refusedTopics(filters, packet).map(({ topic, ...answer }) => ({
      filter: topic,
      why: describeRefusal(answer, 'read', topic),
    }));
    return refused.length > 0 ? refused : [{ filter: null, why: messageOf(error) }];
  }
}
