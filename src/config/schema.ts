import { numberFrom, rateHz, telemetrySeconds, threadCount } from '../common/rules.js';
import { BUNDLED_MODEL } from '../models/bundled.js';
import { spanSeconds, threshold as thresholdRule } from '../tagging/rules.js';
import { brokerAddresses, host, hosts, mirror, streamAddress } from './addresses.js';
import { numeric, optional } from './format-of.js';
import {
  alpnProtocol,
  audioChannel,
  audioDevice,
  confirm,
  deviceId,
  flag,
  labels,
  modelId,
  offer,
  oneOf,
  protocolVersion,
  speed,
  text,
  thresholds,
  topic,
  clipLabels,
} from './formats.js';
import { key, leaves, type Key, type ValueOf } from './key.js';
import { pem } from './pem.js';
import { sourceList, type EntryOf } from './source-list.js';

const path = text({ maxLength: 1024, what: 'a path' });
const folder = text({ maxLength: 1024, what: 'the path of a folder', notEmpty: true });
const rate = numeric(rateHz, 'Hz');
const threshold = numeric(thresholdRule);
const span = numeric(spanSeconds, 'seconds');
const celsius = numeric(numberFrom(30, 120), '°C');

const audio = {
  source: key(oneOf('auto', 'microphone', 'file', 'stream', 'demo'), 'auto', {
    doc: 'Where the sound comes from. `auto` is the stream where `audio.url` is given, the recording where `audio.file` is, else the microphone; where there is none and the broker is the embedded one, it is the demo recording. `file` plays `audio.file`; `stream` lets ffmpeg read `audio.url` or `audio.file`.',
  }),
  device: key(audioDevice, '', {
    doc: 'The microphone: its name, a part of the name, or its number in `npx soundpost devices`. Names survive re-plugging, numbers may not.',
    defaultDoc: 'the default input',
  }),
  channel: key<'mix' | number>(audioChannel, 'mix', {
    doc: 'Which channel of the sound to listen to, counted from 1, or `mix` for the mean of all.',
  }),
  track: key(numeric(numberFrom(1, 64).int()), 1, {
    doc: 'Which audio track of a stream or a recording to listen to, counted from 1.',
  }),
  sample_rate: key(optional(numeric(numberFrom(4000, 384_000).int(), 'Hz')), null, {
    doc: 'The rate to ask the microphone for.',
    defaultDoc: 'the device’s own',
  }),
  file: key(path, '', {
    doc: 'The recording for the sources `file` and `stream`: WAV, and with ffmpeg whatever that reads.',
    path: true,
  }),
  url: key(streamAddress, '', {
    doc: 'The network stream to listen to. A user name and a password may be part of it.',
    fromFile: true,
  }),
  loop: key(flag, false, { doc: 'Start the file again at its end.' }),
  speed: key<1 | 'max'>(speed, 1, {
    doc: 'How fast a file is played: 1 is real time, `max` as fast as it can be tagged.',
  }),
  gain_db: key(numeric(numberFrom(-60, 60), 'dB'), 0, {
    doc: 'What the sound is amplified by before anything else is done with it. What it lifts over full scale is cut off, and counted in the telemetry.',
  }),
  highpass_hz: key(numeric(numberFrom(0, 2000), 'Hz'), 0, {
    doc: 'Sound below this frequency is taken away (a second-order Butterworth high-pass), such as the rumble of wind, traffic and fans. 0 takes nothing away.',
  }),
  calibration_db: key(optional(numeric(numberFrom(0, 200), 'dB')), null, {
    doc: 'The sound pressure level (dB SPL, A-weighted) that a full-scale level of 0 dBFS(A) stands for, so that levels can be told in dBA: put a sound level meter beside the microphone and take its reading less the `dba_fs` of `<base>/level`.',
    defaultDoc: 'not calibrated, and no sound pressure is told',
  }),
};

const tagging = {
  labels: key(labels, [], {
    doc: 'The sounds that may start an event: labels, and groups of labels that count as one.',
    defaultDoc: 'every label of the model',
  }),
  threshold: key(optional(threshold), null, {
    doc: 'Score at which a sound starts an event, for all labels.',
    defaultDoc: 'what is recommended for each label (docs/thresholds.md), else 0.5',
  }),
  thresholds: key(
    thresholds,
    {},
    {
      doc: 'Score at which a sound starts an event, for single labels and groups; wins over `tagging.threshold`.',
      defaultDoc: 'none',
    },
  ),
  off_fraction: key(threshold, 0.7, {
    doc: 'A sound that has started goes on while its score stays above this fraction of the threshold.',
  }),
  confirm: key(confirm, '1/1', {
    doc: 'Written k/n: a sound starts an event once k of the last n hops were over the threshold. A hop is the sound that is new with an inference: n hops are n different stretches of sound, so one clap is in one of them. (With a model that cannot say when, a sound is in every window that holds it.) A group may have its own.',
  }),
  min_duration_seconds: key(span, 0, {
    doc: 'Shorter sounds start no event. A group may have its own.',
  }),
  min_gap_seconds: key(span, 3, {
    doc: 'Shorter gaps do not end an event, so that a sound with pauses is one event: this long a label stays on after the sound. A group may have its own.',
  }),
  top_k: key(numeric(numberFrom(1, 1000).int()), 10, {
    doc: 'How many tags each message on `<base>/tags` carries.',
  }),
  loud: {
    above_background_db: key(optional(numeric(numberFrom(3, 80), 'dB')), null, {
      doc: 'A level this far above the background (the tenth percentile of the last ten minutes) is a `Loud noise`, an event like any other, whatever it is; no model is needed for it.',
      defaultDoc: 'no such event',
    }),
    min_duration_seconds: key(span, 0.2, { doc: 'Shorter noises start no `Loud noise`.' }),
  },
};

/**
 * What an entry of `audio.sources` may say beside its name, in place of the single keys: all there is to say of its
 * sound, and what is to be told of it.
 */
export const entryKeys = {
  ...audio,
  labels: tagging.labels,
  threshold: tagging.threshold,
  thresholds: tagging.thresholds,
  off_fraction: tagging.off_fraction,
  confirm: tagging.confirm,
  min_duration_seconds: tagging.min_duration_seconds,
  min_gap_seconds: tagging.min_gap_seconds,
  loud: tagging.loud,
};

/** One of several sources, as the configuration has it; `sourcesOf` makes a whole one of it. */
export type SourceEntry = EntryOf<typeof entryKeys>;

const sources = sourceList(entryKeys);

/** Every key there is, by section: the one place where names, defaults and formats are written. */
export const schema = {
  device: {
    id: key(deviceId, '', {
      doc: 'What this device is called in topics: `<base_topic>/<device.id>`.',
      defaultDoc: 'the first 7 characters of BALENA_DEVICE_UUID, else the host name',
    }),
    name: key(text({ maxLength: 100 }), '', {
      doc: 'What this device is called by people, for example in Home Assistant.',
      defaultDoc: 'BALENA_DEVICE_NAME_AT_INIT, else the id',
    }),
  },
  data_dir: key(folder, './data', {
    doc: 'Folder for installed models and remembered settings. A relative path starts at the working directory.',
    path: true,
  }),
  mqtt: {
    url: key<string | readonly string[]>(brokerAddresses, '', {
      doc: 'The broker, or a list of addresses, such as the nodes of a cluster: the first one is tried first, and after a loss or a failed attempt the next one in turn. The log names the one that is connected. A user name and a password may be part of it (percent-encoded) instead of standing in keys of their own. Of `ws://` and `wss://` addresses path and query go out as they are written, for gateways that want a token there. In a list each address may have its own; `mqtt.username` and `mqtt.password` are for those that have none, and a password goes in the clear to an address without encryption.',
      defaultDoc: 'the embedded broker',
      fromFile: true,
    }),
    username: key(text({ maxLength: 1000 }), '', {
      doc: 'User name at the broker.',
      defaultDoc: 'none',
      fromFile: true,
    }),
    password: key(text({ maxLength: 1000 }), '', {
      doc: 'Password at the broker.',
      defaultDoc: 'none',
      secret: true,
    }),
    ca: key(pem('certificate'), '', {
      doc: 'Certificates of the authority that signed the broker’s certificate, for mqtts and wss.',
      defaultDoc: 'the authorities that Node.js knows',
      secret: true,
      orPath: true,
    }),
    cert: key(pem('certificate'), '', {
      doc: 'Certificate of this client, where the broker asks for one; needs `mqtt.key`.',
      defaultDoc: 'none',
      secret: true,
      orPath: true,
    }),
    key: key(pem('key'), '', {
      doc: 'Private key to `mqtt.cert`.',
      defaultDoc: 'none',
      secret: true,
      orPath: true,
    }),
    alpn: key(alpnProtocol, '', {
      doc: 'The protocol to ask for while the encrypted connection is set up (ALPN), for brokers that share port 443 with other servers. AWS IoT wants `x-amzn-mqtt-ca` with a client certificate and `mqtt` with a custom authorizer.',
      defaultDoc: 'none; for AWS IoT at port 443 what it wants',
    }),
    keepalive_seconds: key(numeric(numberFrom(5, 1200).int(), 'seconds'), 30, {
      doc: 'How long the connection may be silent before the broker is asked for a sign of life; it counts the device as gone after one and a half times as long. A broker of MQTT 5 may order another time, which wins.',
    }),
    protocol_version: key<4 | 5>(protocolVersion, 5, {
      doc: 'MQTT 5, or 4 for MQTT 3.1.1. A broker that refuses 5 is tried with 4.',
    }),
    base_topic: key(topic, 'soundpost', { doc: 'First part of every topic.' }),
    foreign_response_topics: key(flag, false, {
      doc: 'Answer requests of MQTT 5 on response topics outside of `<base_topic>/<device.id>/response/` too. Whoever may send a command can then have this device write to any topic that the broker lets it write to. Otherwise such a request is answered on `response/<command>` alone.',
    }),
    outbox: {
      max_mb: key(numeric(numberFrom(1, 10_000), 'MB'), 64, {
        doc: 'Room on the disk for events that wait while the broker is away; when it is used up the oldest go first. A megabyte is 1,000,000 bytes.',
      }),
    },
  },
  broker: {
    host: key(host, '127.0.0.1', {
      doc: 'Address the embedded broker listens on (only where `mqtt.url` is empty). 0.0.0.0 opens it to the whole network, for which it needs `broker.password`.',
    }),
    username: key(text({ maxLength: 1000 }), 'soundpost', {
      doc: 'User name that clients of the embedded broker have to give, where it has a password.',
      fromFile: true,
    }),
    password: key(text({ maxLength: 1000 }), '', {
      doc: 'Password that clients of the embedded broker have to give. Without one it opens to this machine only, and to everybody on it.',
      defaultDoc: 'none',
      secret: true,
    }),
    port: key(numeric(numberFrom(0, 65_535).int()), 1883, {
      doc: 'Port of the embedded broker; 0 takes a free one.',
    }),
  },
  audio: {
    ...audio,
    sources: key<readonly SourceEntry[]>(sources.reader, [], {
      doc: 'Several sources of sound on one device, each with a name: in place of `audio.source`, `audio.device`, `audio.file` and `audio.url`, which are for a single one. What an entry leaves out of the other keys is as `audio.*` and `tagging.*` say. docs/configuration.md says under “Several sources” what an entry may hold.',
      defaultDoc: 'one source, as the keys above say',
      entries: sources.entries,
      fromFile: true,
    }),
  },
  model: {
    id: key(modelId, BUNDLED_MODEL, {
      doc: 'The model to begin with. A change over MQTT is remembered and wins until this key is changed.',
      defaultDoc: 'the bundled model',
    }),
    threads: key(numeric(threadCount), 1, {
      doc: 'Threads one inference may use. More than one is rarely faster for small networks.',
    }),
    streaming: key(oneOf('auto', 'approximate', 'off'), 'auto', {
      doc: 'Compute each second of sound once: with `auto`, a network that can be a stream is one where that takes less time on this machine, with the same scores (docs/streaming.md). It is tried when a model is loaded for the first time, and needs room for a second copy of it in `data_dir`. `approximate` takes still less, and more networks gain by it: the beginning of a window is computed as if the sound before it were still there, and scores are a little different; thresholds, and sounds that were taught, are those of whole windows. `off` computes each window as a whole.',
    }),
  },
  models: {
    mirror: key(mirror, '', {
      doc: 'Where `models pull` looks for checkpoints in place of their makers’ servers: a folder, or an address to which the name of the file is added. So a fleet downloads from a machine of its own.',
      defaultDoc: 'the makers’ servers',
      fromFile: true,
    }),
    allowed_hosts: key(hosts, [], {
      doc: 'Hosts from which models may be downloaded over MQTT, and to which redirects may lead. A host in the local network has to be named itself, by its name or its IP address as it is in the address; `*.` and the default reach public hosts only.',
      defaultDoc:
        'those of the catalogue: zenodo.org, github.com, huggingface.co and where they keep their files',
    }),
    remote_pull: key(oneOf('off', 'catalogue', 'any'), 'catalogue', {
      doc: 'What may be installed over MQTT: nothing (`off`), models of the catalogue, whose addresses and digests come with the program, or networks from addresses that a command names too (`any`). Whoever may send commands to this device chooses the digest of such a network, and so what runs on it.',
    }),
    require_digest: key(flag, true, {
      doc: 'Refuse models that come without a SHA-256: from an address over MQTT where the command names none, and of the catalogue where nobody has published one. Without it such a model is taken as it comes from its makers’ server, and can be installed from Home Assistant with one click.',
    }),
  },
  inference: {
    rate_hz: key(rate, 1, { doc: 'Inferences per second. A change over MQTT is remembered.' }),
    window_seconds: key(optional(numeric(numberFrom(0.1, 60), 'seconds')), null, {
      doc: 'Length of sound the model sees at once. Networks with a fixed window take no other; where it is shorter than a network can tell anything of, it is as long as that takes.',
      defaultDoc: 'the model’s own',
    }),
    idle_below_dbfs: key(optional(numeric(numberFrom(-120, 0), 'dBFS')), null, {
      doc: 'A quiet room costs nothing: where all that is new with an inference is quieter than this and nothing was on before (the label “Silence” is nothing), the answer is silence without a run of the model. Once a minute it is run all the same.',
      defaultDoc: 'the model is always run',
    }),
  },
  tagging,
  fusion: {
    window_seconds: key(numeric(numberFrom(0, 60), 'seconds'), 0, {
      doc: 'One sound, one event: what several sources hear of the same label within this time is one event on `<base>/event`, which names them all, the loudest first. 0 tells of each by itself.',
    }),
  },
  history: {
    enabled: key(flag, true, {
      doc: 'Keep what was heard (events, and once a minute the highest score of each watched label) in `<data_dir>/history`, whatever the broker does. No sound is in it.',
    }),
    days: key(numeric(numberFrom(1, 3650).int(), 'days'), 30, { doc: 'How long it is kept.' }),
    max_mb: key(numeric(numberFrom(1, 10_000), 'MB'), 64, {
      doc: 'Room for it on the disk; when it is used up the oldest goes first.',
    }),
  },
  clips: {
    enabled: key(flag, false, {
      doc: 'Keep the sound around events as files in `<data_dir>/clips`. Without it nothing of sound is ever kept.',
    }),
    before_seconds: key(numeric(numberFrom(0, 30), 'seconds'), 2, { doc: 'How much before the sound.' }),
    after_seconds: key(numeric(numberFrom(0, 30), 'seconds'), 2, { doc: 'How much after it.' }),
    max_seconds: key(numeric(numberFrom(1, 120), 'seconds'), 30, {
      doc: 'The longest clip; of a longer sound it has the beginning. At least `clips.before_seconds` and `clips.after_seconds` together.',
    }),
    max_mb: key(numeric(numberFrom(10, 100_000), 'MB'), 500, {
      doc: 'Room for clips on the disk; when it is used up the oldest go first.',
    }),
    days: key(numeric(numberFrom(1, 3650).int(), 'days'), 14, { doc: 'How long they are kept.' }),
    labels: key(clipLabels, [], {
      doc: 'The labels and groups of which clips are kept.',
      defaultDoc: 'every one that starts an event',
    }),
    speech: key(oneOf('discard', 'keep'), 'discard', {
      doc: 'Whether clips in which somebody speaks are kept. `discard`: no clip is written in which speech was heard, or in which nobody has looked for it.',
    }),
  },
  learn: {
    false_alarms_per_day: key(numeric(numberFrom(0.01, 1000)), 1, {
      doc: 'How many false alarms a day a sound that was taught may be expected to give, by what this device hears; its threshold is chosen by that.',
    }),
    background: key(flag, true, {
      doc: 'Keep what the network makes of a second in every five (embeddings, no sound) in `<data_dir>/background`, so that taught sounds can be told from what this device hears day in, day out. Switched off, what is there is removed.',
    }),
    max_background_mb: key(numeric(numberFrom(1, 1000), 'MB'), 20, {
      doc: 'Room for it on the disk; when it is used up it is thinned out, every day alike.',
    }),
  },
  web: {
    enabled: key(flag, true, { doc: 'Serve the page of this device, and the API behind it.' }),
    host: key(host, '127.0.0.1', {
      doc: 'Address the page listens on. Any other than this machine’s own needs `web.password`.',
    }),
    port: key(numeric(numberFrom(0, 65_535).int()), 8099, { doc: 'Port of the page; 0 takes a free one.' }),
    password: key(text({ maxLength: 1000 }), '', {
      doc: 'Password that visitors of the page have to give.',
      defaultDoc: 'none',
      secret: true,
    }),
    hosts: key(hosts, [], {
      doc: 'Names and addresses by which browsers may call this device, besides the address that it listens on and `localhost`: that of a reverse proxy, for example.',
      defaultDoc: 'none',
    }),
    proxies: key(hosts, [], {
      doc: 'Addresses of reverse proxies whose word on who the visitor is (`X-Forwarded-For`) is believed.',
      defaultDoc: 'none',
    }),
    ingress: key(flag, false, {
      doc: 'Let in visitors that Home Assistant’s Supervisor sends (its ingress), which has asked them already.',
    }),
  },
  telemetry: {
    interval_seconds: key(numeric(telemetrySeconds, 'seconds'), 30, {
      doc: 'Time between two messages on `<base>/telemetry`.',
    }),
    event_loop: key(flag, false, {
      doc: 'Measure the delay of the service’s event loop too; costs about 5 ms of CPU a second.',
    }),
    sys_root: key(folder, '/sys', { doc: 'Where the sensors of the machine are read.', path: true }),
    proc_root: key(folder, '/proc', { doc: 'Where load and memory are read.', path: true }),
  },
  thermal: {
    enabled: key(flag, true, {
      doc: 'Infer less often while the processor is hot, or while its firmware throttles it or finds the supply too weak.',
    }),
    soft_limit_c: key(celsius, 75, {
      doc: 'The rate is lowered as far as it takes to stay below this temperature of the processor.',
    }),
    hard_limit_c: key(celsius, 82, {
      doc: 'At this temperature the rate is `thermal.min_rate_hz` at once; above `thermal.soft_limit_c`. Raspberry Pi’s firmware throttles at 80 to 85 °C.',
    }),
    min_rate_hz: key(rate, 0.1, { doc: 'The rate that heat never takes away, unless a lower one is set.' }),
  },
  homeassistant: {
    enabled: key(flag, true, {
      doc: 'Describe the device to Home Assistant (MQTT discovery), so that it appears there by itself. Switched off, it is taken away there.',
    }),
    prefix: key(topic, 'homeassistant', {
      doc: 'Topic under which Home Assistant listens for discovery (the discovery prefix of its MQTT integration).',
    }),
    status_topic: key(topic, 'homeassistant/status', {
      doc: 'Topic on which Home Assistant says that it has started (the birth message of its MQTT integration). It does not follow the prefix.',
    }),
    models: key<'all' | readonly string[]>(offer, ['mn04_as', 'mn10_as'], {
      doc: 'The models that Home Assistant is offered for installation: ids of the catalogue, `all`, or an empty list. Of `all`, those that are not in the default have to be enabled there one by one.',
    }),
  },
  log: {
    level: key(oneOf('debug', 'info', 'warn', 'error'), 'info', {
      doc: 'The least important messages to write.',
    }),
    format: key(oneOf('auto', 'pretty', 'json'), 'auto', {
      doc: '`pretty` for people, `json` for machines, `auto`: pretty on a terminal, else JSON.',
    }),
  },
};

/** The configuration the program runs with: every key of the schema with its value. */
export type Config = ValueOf<typeof schema>;

/** Names of the keys, `section.key`, in the order of the schema. */
export const keys: ReadonlyMap<string, Key<unknown>> = new Map(leaves(schema, ''));

/** Name of the environment variable of a key: `mqtt.base_topic` is `SOUNDPOST_MQTT_BASE_TOPIC`. */
export function environmentName(key: string): string {
  return `SOUNDPOST_${key.replaceAll('.', '_').toUpperCase()}`;
}
