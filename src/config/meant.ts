import { nearest } from '../common/nearest.js';
import { keys } from './schema.js';

/** Sections by the names that other programs give them. */
const otherSections: Readonly<Record<string, readonly string[]>> = {
  mqtt: ['mqtt', 'mqtts', 'broker', 'mqtt_broker', 'server'],
  audio: ['audio', 'microphone', 'mic', 'sound', 'input', 'recording', 'camera', 'stream'],
  model: ['model', 'network', 'detector'],
  inference: ['inference', 'detection', 'analysis'],
  fusion: ['fusion', 'merge', 'coincidence'],
  tagging: ['tagging', 'tags', 'detection', 'events'],
  telemetry: ['telemetry', 'metrics', 'stats'],
  homeassistant: ['homeassistant', 'home_assistant', 'hass', 'ha', 'discovery'],
  log: ['log', 'logging', 'logger', 'advanced'],
  device: ['device'],
};

/** Names that other programs of this field use, by the key that says the same here. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  'mqtt.url':
    'host hostname server broker address addr uri port broker_url broker_host server_url urls brokers servers addresses tls ssl use_tls'.split(
      ' ',
    ),
  'mqtt.username': ['user', 'user_name', 'login'],
  'mqtt.password': ['pass', 'passwd', 'pw', 'pwd', 'secret'],
  'mqtt.base_topic':
    'topic prefix topic_prefix root_topic base root basetopic topic_base mqtt_topic main_topic'.split(' '),
  'mqtt.ca': 'ca_cert cafile ca_file ca_certs ca_path tls_ca tls_ca_certs ca_certificate'.split(' '),
  'mqtt.cert': 'certfile cert_file client_cert tls_client_cert certificate client_certificate'.split(' '),
  'mqtt.key': 'keyfile key_file client_key tls_client_key private_key'.split(' '),
  'mqtt.alpn': ['alpn_protocol', 'alpn_protocols', 'tls_alpn'],
  'mqtt.protocol_version': ['version', 'protocol', 'mqtt_version', 'protocolversion'],
  'mqtt.keepalive_seconds': ['keepalive', 'keep_alive', 'keepalive_interval'],
  'device.id': ['client_id', 'clientid', 'mqtt.client_id', 'mqtt.clientid', 'identifier', 'uuid'],
  'device.name': ['friendly_name', 'title'],
  'audio.device': ['card', 'input_device', 'soundcard', 'device_index', 'rec_card', 'device_name'],
  'audio.sample_rate': ['samplerate', 'rate', 'sampling_rate', 'frequency'],
  'audio.file': ['path', 'filename', 'wav'],
  'audio.url': ['rtsp', 'rtsp_url', 'rtsp_stream', 'stream', 'stream_url', 'camera'],
  'audio.channel': ['channels', 'track'],
  'audio.sources': 'cameras inputs streams microphones mics feeds rtsp_streams'.split(' '),
  'audio.gain_db': 'gain mic_gain input_gain volume amplify amplification boost preamp'.split(' '),
  'audio.highpass_hz': 'highpass high_pass high_pass_hz highpass_filter hpf low_cut lowcut cutoff'.split(' '),
  'audio.calibration_db': 'calibration calibrate calibration_offset spl_offset spl_calibration'.split(' '),
  'model.id': ['name', 'model', 'path', 'model_name', 'model_path'],
  'model.threads': ['num_threads', 'cpu_threads'],
  'inference.rate_hz': ['rate', 'hz', 'fps', 'interval', 'hop', 'hop_seconds', 'interval_seconds'],
  'inference.window_seconds': ['window', 'window_size', 'duration'],
  'inference.idle_below_dbfs':
    'idle min_volume audio.min_volume silence silence_threshold noise_gate gate vad'.split(' '),
  'tagging.labels': ['classes', 'watch', 'listen', 'include', 'species', 'sounds'],
  'tagging.threshold': ['confidence', 'min_confidence', 'min_score', 'score', 'sensitivity'],
  'tagging.top_k': ['top', 'topk', 'top_n', 'max_tags'],
  'tagging.confirm': ['min_hits', 'confirmations'],
  'tagging.loud.above_background_db': 'loud loud_noise loudness noise noise_threshold'.split(' '),
  'fusion.window_seconds': ['fusion', 'dedupe', 'deduplicate', 'window'],
  'telemetry.interval_seconds': ['interval', 'period'],
  'homeassistant.enabled': ['enable', 'discovery', 'auto_discovery'],
  'homeassistant.prefix': ['discovery_prefix', 'discovery_topic', 'topic'],
  'homeassistant.status_topic': ['birth_topic', 'status'],
  'log.level': ['verbosity', 'log_level', 'debug'],
  data_dir: ['data', 'data_path', 'data_folder', 'storage'],
};

/** The name of a key however it is written: `mqtt.base_topic`, `mqtt-base-topic`, `MQTT_BASE_TOPIC` are one. */
export function canonical(name: string): string {
  return name.toLowerCase().replace(/[.-]/g, '_');
}

const byCanonical = new Map([...keys.keys()].map((key) => [canonical(key), key]));

/** Foreign names, canonical, with the keys in their place; a key's own section comes first. */
const byOtherName = new Map<string, Set<string>>();
for (const [key, names] of Object.entries(otherNames)) {
  if (!keys.has(key)) continue;
  const [section = '', ownName = ''] = key.split('.');
  const add = (name: string) =>
    byOtherName.set(canonical(name), (byOtherName.get(canonical(name)) ?? new Set()).add(key));
  for (const name of names) {
    for (const place of otherSections[section] ?? []) add(`${place}_${name}`);
    if (name.includes('.') || !key.includes('.')) add(name);
  }
  for (const place of otherSections[section] ?? []) if (ownName !== '') add(`${place}_${ownName}`);
}

/**
 * The keys that were probably meant by a name that is none, best first: it is written in another way, another program
 * calls it so, its section or its unit is left out. None where there is no reason to think so.
 */
export function knownAs(name: string): string[] {
  const word = canonical(name);
  const same = byCanonical.get(word);
  if (same !== undefined) return [same];
  const other = byOtherName.get(word);
  if (other !== undefined) return ownSectionFirst(word, [...other]);
  const bare = [...keys.keys()].filter((key) => canonical(key.split('.').slice(1).join('_')) === word);
  if (bare.length > 0) return bare;
  const withoutSection = Object.entries(otherNames).flatMap(([key, names]) =>
    keys.has(key) && names.includes(word) ? [key] : [],
  );
  if (withoutSection.length > 0 && withoutSection.length <= 3) return withoutSection;
  const withoutUnit = [...keys.keys()].filter((key) => unitless(key).includes(word));
  return withoutUnit.length <= 3 ? withoutUnit : [];
}

/** Of `mqtt_topic` the base topic was meant rather than a topic of another section that is called so as well. */
function ownSectionFirst(word: string, found: readonly string[]): string[] {
  const own = found.filter((key) => word.startsWith(`${key.split('.')[0]}_`));
  return own.length > 0 ? own : found.slice(0, 3);
}

/** A key without the unit at its end, with its section and without it. */
function unitless(key: string): string[] {
  const name = /^(.*)_(?:seconds|hz|c|db|dbfs|mb)$/.exec(canonical(key))?.[1];
  if (name === undefined) return [];
  return [name, name.slice((key.split('.')[0]?.length ?? 0) + 1)];
}

/** The same, and else the key that is spelt almost so. */
export function meantKeys(name: string): string[] {
  const known = knownAs(name);
  if (known.length > 0) return known;
  const word = canonical(name);
  const near = nearest(word, byCanonical.keys());
  if (near !== undefined) return [byCanonical.get(near)!];
  if (name.includes('.')) return [];
  const bare = [...keys.keys()].map((key) => ({ key, last: canonical(key.split('.').at(-1)!) }));
  const nearBare = nearest(word, new Set(bare.map(({ last }) => last)));
  return nearBare === undefined ? [] : bare.filter(({ last }) => last === nearBare).map(({ key }) => key);
}
