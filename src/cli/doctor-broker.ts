import type { Logger } from '../common/log.js';
import { silentLogger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import {
  abortConnection,
  closeConnection,
  openConnection,
  parseAddresses,
  type Connection,
  type ParsedAccess,
} from '../mqtt/connection.js';
import type { Failure } from '../mqtt/failure.js';
import { clientIdOf } from '../mqtt/link.js';
import { subscribe } from '../mqtt/subscribe.js';
import { connectOptions, createNegotiation, type Terms } from '../mqtt/terms.js';
import { createTopics } from '../mqtt/topics.js';
import { brokerAccess } from '../service/broker-access.js';
import type { Finding } from './finding.js';

/** More attempts than there are terms to try: the broker does not know what it wants. */
const MAX_ATTEMPTS = 12;

/**
 * Tries every address of the configuration, one after the other: in a cluster the second connection with one id ends
 * the first. The service is well with one of them; whoever wrote down several wants to know of each.
 */
export async function checkOwnBroker(config: Config, timeoutMs: number): Promise<Finding> {
  const found: Finding[] = [];
  for (const access of parseAddresses({ url: config.mqtt.url, ...brokerAccess(config) })) {
    found.push(await checkAddress(access, config, timeoutMs));
  }
  const verdicts = new Set(found.map(({ verdict }) => verdict));
  const [only = 'fail'] = verdicts;
  return {
    verdict: verdicts.size === 1 ? only : 'warn',
    detail: found.map(({ detail }) => detail).join('. '),
  };
}

/**
 * Connects to one address of the configuration as the service does: the same options, will and terms, found in the same
 * way. Only the id is another one, so that a service at work keeps its connection. What it subscribes to it asks for on
 * a second connection without a will: a broker that ends that one has nothing to say in the name of the service.
 */
async function checkAddress(access: ParsedAccess, config: Config, timeoutMs: number): Promise<Finding> {
  const { mqtt, device, homeassistant } = config;
  const topics = createTopics(mqtt.base_topic, device.id, {
    birthTopic: homeassistant.enabled ? homeassistant.status_topic : undefined,
  });
  const remarks: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn(_: object, message?: string) {
      if (message !== undefined) remarks.push(message);
    },
  };
  const negotiation = createNegotiation({ newest: mqtt.protocol_version, log });
  const open = (terms: Terms, withWill: boolean): Connection => {
    const { will, ...options } = connectOptions({
      terms,
      clientId: `${clientIdOf(device.id)}_doctor`,
      statusTopic: topics.of('status'),
      keepaliveSeconds: mqtt.keepalive_seconds,
      connectTimeoutMs: timeoutMs,
    });
    return openConnection(access.address, {
      ...access.options,
      ...options,
      ...(withWill && will !== undefined && { will }),
    });
  };

  let first: Failure | undefined;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const { terms } = negotiation;
    const connection = open(terms, true);
    const answer = await connection.opened;
    if ('failure' in answer) {
      abortConnection(connection);
      first ??= answer.failure;
      const again = negotiation.refused(answer.failure);
      // The service goes through its guesses in the course of time; here they follow at once, each once.
      if (again || (answer.failure.code === 'closed_at_connect' && !isFirst(negotiation.terms, mqtt)))
        continue;
      return failed(access.label, answer.failure.code === 'closed_at_connect' ? first : answer.failure);
    }
    await closeConnection(connection, timeoutMs);
    const limits = negotiation.accepted(answer.connack);
    if (limits === null) continue;
    remarks.push(...(await subscriptionRemarks(open(terms, false), topics.subscriptions, terms, timeoutMs)));
    const version = `MQTT ${terms.version === 5 ? '5' : '3.1.1'}`;
    const keepalive =
      limits.keepaliveSeconds === null ? '' : `; it orders a keep-alive of ${limits.keepaliveSeconds} s`;
    const size =
      limits.maximumPacketBytes === Infinity ? '' : `; messages of up to ${limits.maximumPacketBytes} bytes`;
    return {
      verdict: remarks.length === 0 ? 'ok' : 'warn',
      detail: [`${access.label} lets us in (${version}${keepalive}${size})`, ...remarks].join('. '),
    };
  }
  return failed(access.label, first ?? wavering);
}

const wavering: Failure = {
  code: 'connection_closed',
  kind: 'unreachable',
  reason: 'the broker changes its mind from one connection to the next',
};

/** All the terms have been tried. */
function isFirst(terms: Terms, { protocol_version: newest }: Config['mqtt']): boolean {
  return terms.version === newest && terms.retain && terms.qos === 1;
}

function failed(label: string, { kind, reason }: Failure): Finding {
  const advice = kind === 'unreachable' ? '. Is the address right, and is the broker running?' : '';
  return { verdict: 'fail', detail: `${label}: ${reason}${advice}` };
}

async function subscriptionRemarks(
  connection: Connection,
  filters: readonly string[],
  { version }: Terms,
  timeoutMs: number,
): Promise<string[]> {
  const opened = await connection.opened;
  if ('failure' in opened) return [];
  const answer = subscribe(connection.client, filters, { version, retained: false }).then((refused) =>
    refused.map(
      ({ filter, why }) =>
        `It does not let us read ${filter ?? 'our topics'}: ${why}; commands will not arrive`,
    ),
  );
  const ended = connection.closed.then(() => [
    `It ends the connection when ${filters.join(', ')} are subscribed to: let this device read them in the broker's access rules; commands will not arrive`,
  ]);
  const remarks = await Promise.race([ended, answer]);
  await closeConnection(connection, timeoutMs);
  return remarks;
}
