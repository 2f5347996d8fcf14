import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { startEmbeddedBroker, type EmbeddedBroker } from '../mqtt/broker.js';
import { clientIdOf, createLink, type IncomingMessage, type Link } from '../mqtt/link.js';
import type { Outbox } from '../mqtt/outbox.js';
import { brokerAccess } from './broker-access.js';
import type { Life } from './life.js';

/** Starts the broker that is in this process, where no other one is configured; null where one is. */
export async function startOwnBroker(
  config: Config,
  log: Logger,
  life: Pick<Life, 'onStop'>,
): Promise<EmbeddedBroker | null> {
  if (config.mqtt.url !== '') return null;
  const ownClientId = clientIdOf(config.device.id);
  const broker = await startEmbeddedBroker({ ...config.broker, ownClientId, log });
  life.onStop(() => broker.stop());
  return broker;
}

/** The link to the configured broker, or to `broker`. Nothing is sent before it is started. */
export function openLink(options: {
  config: Config;
  broker: EmbeddedBroker | null;
  outbox: Outbox;
  /** The names of the sources where there are several; none where there is one. */
  sources: readonly string[];
  /** Called for every request; see LinkOptions. */
  onRequest: (message: IncomingMessage) => void;
  /** Called with every text on Home Assistant's birth topic. */
  onBirth: (text: string) => void;
  log: Logger;
}): Link {
  const { config, broker, outbox, sources, onRequest, onBirth, log } = options;
  return createLink({
    url: broker?.url ?? config.mqtt.url,
    ...(broker === null ? brokerAccess(config) : { openStream: () => broker.connect() }),
    protocolVersion: broker === null ? config.mqtt.protocol_version : 4,
    keepaliveSeconds: config.mqtt.keepalive_seconds,
    baseTopic: config.mqtt.base_topic,
    deviceId: config.device.id,
    outbox,
    sources,
    log,
    onRequest,
    ...(config.homeassistant.enabled && { birthTopic: config.homeassistant.status_topic, onBirth }),
  });
}

/** How to read along with a program that everybody has, where the broker is ours. */
export function readAlong(broker: EmbeddedBroker, config: Config, base: string): string {
  const login = config.broker.password === '' ? '' : ` -u ${config.broker.username} -P …`;
  return `Read along: mosquitto_sub -h ${new URL(broker.url).hostname} -p ${broker.port}${login} -t '${base}/#' -v`;
}
