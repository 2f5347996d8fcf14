import type { MqttClient } from 'mqtt';
import { createCrowdBackoff } from '../common/backoff.js';
import type { Logger } from '../common/log.js';
import type { Trial } from './delivery.js';
import { subscribe } from './subscribe.js';
import type { Suspects } from './suspects.js';

/** Which of our topics the broker lets us read. */
export interface Subscriptions {
  /**
   * Subscribes to what may be subscribed to now; returns what has to be tried alone. What the broker refuses is asked
   * for again, later and later, as long as the connection lasts: a cluster under load refuses what it grants a minute
   * later, and access rules are mended while a device runs. What breaks with the connection never settles.
   */
  toAll(client: MqttClient): Promise<Trial[]>;
}

export interface SubscriptionTiming {
  /** How long what the broker has refused is left alone at first, and at most. */
  resubscribeMs: number;
  maxResubscribeMs: number;
}

/** The name under which a subscription is suspected of ending connections. */
const PREFIX = 'subscribe ';

/** The filter of a name that is suspected; undefined where it is the topic of a message. */
export function filterOf(suspect: string): string | undefined {
  return suspect.startsWith(PREFIX) ? suspect.slice(PREFIX.length) : undefined;
}

export function createSubscriptions(options: {
  filters: readonly string[];
  suspects: Suspects;
  /** The version of the protocol that is spoken now. */
  version: () => 4 | 5;
  /** Whether nobody waits for answers any more. */
  isGone: () => boolean;
  timing: SubscriptionTiming;
  random?: (() => number) | undefined;
  log: Logger;
}): Subscriptions {
  const { filters, suspects, version, isGone, timing, random, log } = options;
  const nameOf = (filter: string) => `${PREFIX}${filter}`;
  const verdict = (filter: string) => suspects.verdict(nameOf(filter), 0);

  /** Returns what was refused. */
  async function ask(client: MqttClient, wanted: readonly string[], isFirst: boolean): Promise<string[]> {
    const refused = await subscribe(client, wanted, { version: version(), retained: true, isGone });
    const named = refused.flatMap(({ filter }) => filter ?? wanted);
    const granted = wanted.filter((filter) => !named.includes(filter));
    if (!isFirst && granted.length > 0) log.info({}, `The broker lets us read ${granted.join(', ')} now`);
    if (refused.length > 0) {
      const what = refused.map(({ filter, why }) =>
        filter === null ? `our topics (${why})` : `${filter}: ${why}`,
      );
      log[isFirst ? 'warn' : 'debug'](
        { code: 'subscribe_refused' },
        `The broker does not let us read ${what.join('; ')}. What is sent there does not arrive; it is asked for again now and then`,
      );
    }
    return named;
  }

  /** The same for those that no connection is suspected to have ended over, which may turn out to be wrong. */
  async function askFree(client: MqttClient, wanted: readonly string[], isFirst: boolean): Promise<string[]> {
    const free = wanted.filter((filter) => verdict(filter) === 'free');
    if (free.length === 0) return [];
    const handed = free.map((filter) => suspects.handedOver(nameOf(filter), 0, true));
    const refused = await ask(client, free, isFirst);
    if (client.connected) for (const number of handed) suspects.answered(number);
    return refused;
  }

  function askLater(client: MqttClient, wanted: readonly string[]): void {
    if (wanted.length === 0) return;
    const delays = createCrowdBackoff({
      firstMs: timing.resubscribeMs,
      maxMs: timing.maxResubscribeMs,
      ...(random !== undefined && { random }),
    });
    let left = wanted;
    const again = async (): Promise<void> => {
      left = await askFree(client, left, false);
      if (left.length > 0 && client.connected && !isGone()) plan();
    };
    let timer: NodeJS.Timeout;
    const plan = (): void => {
      timer = setTimeout(() => void again(), delays.next());
    };
    client.once('close', () => clearTimeout(timer));
    plan();
  }

  return {
    async toAll(client) {
      askLater(client, await askFree(client, filters, true));
      return filters
        .filter((filter) => verdict(filter) === 'alone')
        .map((filter) => ({
          name: nameOf(filter),
          run: async () => askLater(client, await ask(client, [filter], true)),
        }));
    },
  };
}
