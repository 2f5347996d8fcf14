import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Config } from './schema.js';

/**
 * What is wrong between keys that are right by themselves. `origin` tells where the value of a key was written.
 */
export function crossChecks(config: Config, origin: (key: string) => string): string[] {
  const problems: string[] = [];
  const { mqtt, audio, thermal } = config;
  const at = (key: string): string => `${key} (${origin(key)})`;

  if (thermal.soft_limit_c >= thermal.hard_limit_c) {
    problems.push(
      `${at('thermal.soft_limit_c')}: ${thermal.soft_limit_c} must be below thermal.hard_limit_c, which is ${thermal.hard_limit_c} (${origin('thermal.hard_limit_c')})`,
    );
  }
  const tlsKey = (['ca', 'cert', 'key'] as const).find((name) => mqtt[name] !== '');
  if (tlsKey !== undefined && mqtt.url !== '' && !/^(mqtts|wss):/.test(mqtt.url)) {
    problems.push(`${at(`mqtt.${tlsKey}`)}: needs an mqtts:// or wss:// address in mqtt.url`);
  }
  if ((mqtt.cert === '') !== (mqtt.key === '')) {
    const [given, missing] = mqtt.cert ? ['mqtt.cert', 'mqtt.key'] : ['mqtt.key', 'mqtt.cert'];
    problems.push(`${at(given)}: needs ${missing} beside it`);
  } else if (
    mqtt.cert !== '' &&
    !new X509Certificate(mqtt.cert).checkPrivateKey(createPrivateKey(mqtt.key))
  ) {
    problems.push(`${at('mqtt.key')}: is not the key of mqtt.cert (${origin('mqtt.cert')})`);
  }
  if (audio.source === 'file' && audio.file === '') {
    problems.push(`${at('audio.source')}: "file" needs audio.file, the path of a recording`);
  }
  if (audio.source === 'stream' && (audio.file === '') === (audio.url === '')) {
    problems.push(
      `${at('audio.source')}: "stream" needs one of audio.url (a network stream) and audio.file (a recording)`,
    );
  }
  return problems;
}
