import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isEncryptedAddress, tlsProblems } from '../common/broker-address.js';
import { isLoopback } from '../common/loopback.js';
import { addressesOf } from './addresses.js';
import { keys, type Config } from './schema.js';
import { WHEREABOUTS } from './source-rules.js';

/** What is wrong between keys that are right by themselves, and the keys that are to blame. */
export interface CrossProblem {
  keys: readonly string[];
  message: string;
}

/** The problems between keys. `origin` tells where the value of a key was written. */
export function crossChecks(config: Config, origin: (key: string) => string): CrossProblem[] {
  const problems: CrossProblem[] = [];
  const { mqtt, broker, audio, thermal, web, clips } = config;
  const at = (key: string): string => `${key} (${origin(key)})`;
  const problem = (keys: readonly string[], message: string) => problems.push({ keys, message });

  if (thermal.soft_limit_c >= thermal.hard_limit_c) {
    problem(
      ['thermal.soft_limit_c', 'thermal.hard_limit_c'],
      `${at('thermal.soft_limit_c')}: ${thermal.soft_limit_c} must be below thermal.hard_limit_c, which is ${thermal.hard_limit_c} (${origin('thermal.hard_limit_c')})`,
    );
  }
  const addresses = addressesOf(mqtt.url);
  // Without an address the embedded broker is used, and what is for another one waits for it.
  const mayEncrypt = addresses.length === 0 || addresses.some(isEncryptedAddress);
  for (const found of tlsProblems((setting) => mqtt[setting] !== '', mayEncrypt)) {
    const key = `mqtt.${found.setting}`;
    if (found.problem === 'unencrypted') {
      problem([key, 'mqtt.url'], `${at(key)}: needs an mqtts:// or wss:// address in mqtt.url`);
    } else {
      problem(['mqtt.cert', 'mqtt.key'], `${at(key)}: needs mqtt.${found.missing} beside it`);
    }
  }
  if (
    mqtt.cert !== '' &&
    mqtt.key !== '' &&
    !new X509Certificate(mqtt.cert).checkPrivateKey(createPrivateKey(mqtt.key))
  ) {
    problem(
      ['mqtt.cert', 'mqtt.key'],
      `${at('mqtt.key')}: is not the key of mqtt.cert (${origin('mqtt.cert')})`,
    );
  }
  if (web.enabled && web.password === '' && !web.ingress && !isLoopback(web.host)) {
    problem(
      ['web.host'],
      `${at('web.host')}: ${web.host} opens the page to the network, where everybody could look and command: needs web.password (or use 127.0.0.1, or web.enabled: false)`,
    );
  }
  if (clips.before_seconds + clips.after_seconds > clips.max_seconds) {
    problem(
      ['clips.max_seconds'],
      `${at('clips.max_seconds')}: ${clips.max_seconds} must be at least clips.before_seconds and clips.after_seconds together (${clips.before_seconds + clips.after_seconds})`,
    );
  }
  if (mqtt.url === '' && broker.password === '' && !isLoopback(broker.host)) {
    problem(
      ['broker.host'],
      `${at('broker.host')}: ${broker.host} opens the embedded broker to the network, where everybody could listen and command: needs broker.password (or use 127.0.0.1, or a broker of your own in mqtt.url)`,
    );
  }
  const audioProblems = audio.sources.length > 0 ? besideList : singleSource;
  return problems.concat(audioProblems(config, origin));
}

/** What contradicts itself in the keys of the one source. */
function singleSource({ audio }: Config, origin: (key: string) => string): CrossProblem[] {
  const problems: CrossProblem[] = [];
  const at = (key: string): string => `${key} (${origin(key)})`;
  const problem = (keys: readonly string[], message: string) => problems.push({ keys, message });
  if (audio.source === 'file' && audio.file === '') {
    problem(['audio.source'], `${at('audio.source')}: "file" needs audio.file, the path of a recording`);
  }
  if (audio.source === 'stream' && (audio.file === '') === (audio.url === '')) {
    problem(
      ['audio.source'],
      `${at('audio.source')}: "stream" needs one of audio.url (a network stream) and audio.file (a recording)`,
    );
  }
  if (audio.source === 'auto' && audio.file !== '' && audio.url !== '') {
    problem(
      ['audio.file'],
      `${at('audio.file')}: audio.url (${origin('audio.url')}) is given as well: take one away, or choose with audio.source (file or stream)`,
    );
  }
  return problems;
}

/** Single keys that say where the sound is, and a list that says it too. */
function besideList({ audio }: Config, origin: (key: string) => string): CrossProblem[] {
  return WHEREABOUTS.flatMap((name) => {
    const key = `audio.${name}`;
    if (audio[name] === keys.get(key)!.default) return [];
    return {
      keys: [key],
      message: `${key} (${origin(key)}): is for a single source, and audio.sources (${origin('audio.sources')}) lists several; give it in the entry that it is about, or take one of the two away`,
    };
  });
}
