import type { Config } from '../config/schema.js';
import type { BrokerAccess } from '../mqtt/connection.js';

/** Who we are to the broker and how we know it, as the configuration says; what is empty there is left out. */
export function brokerAccess({ mqtt }: Config): Omit<BrokerAccess, 'url'> {
  const given = (text: string) => (text === '' ? undefined : text);
  return {
    username: given(mqtt.username),
    password: given(mqtt.password),
    ca: given(mqtt.ca),
    cert: given(mqtt.cert),
    key: given(mqtt.key),
    alpn: given(mqtt.alpn),
  };
}
