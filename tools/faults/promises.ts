/*
 * Every fault that is provided for, and what is promised of it: the one list that `npm run faults` measures and
 * docs/reliability.md prints.
 */

export const groups = {
  capture: 'The microphone and other sources',
  sources: 'Several sources',
  inference: 'The model',
  mqtt: 'The broker and the network',
  host: 'The machine',
  configuration: 'The configuration',
  cases: 'Troubles that people met',
} as const;

export type Group = keyof typeof groups;

export interface Promised {
  group: Group;
  /** What happens, for people. */
  fault: string;
  /** What the operator sees. */
  seen: string;
  /** What goes on meanwhile. */
  goesOn: string;
  /** What comes back by itself, and the time that takes at most, in seconds; null where nothing has to. */
  back: string;
  backSeconds: number | null;
  /** What is never lost. */
  kept: string;
}

const promised = (
  group: Group,
  fault: string,
  seen: string,
  goesOn: string,
  [back, backSeconds]: readonly [string, number | null],
  kept: string,
): Promised => ({ group, fault, seen, goesOn, back, backSeconds, kept });

const answers = 'commands are answered, telemetry comes';
const all = 'no event; every beginning has its end';
const nothing = ['nothing has to', null] as const;

/** By the name that `--only` takes. */
export const promises = {
  'capture-killed': promised(
    'capture',
    'The capture process is killed',
    '`audio.restarts` counts',
    answers,
    ['sound', 15],
    all,
  ),
  'capture-stopped': promised(
    'capture',
    'The capture process hangs (SIGSTOP)',
    '`B/audio/status` is `offline`',
    answers,
    ['sound, in a new process', 45],
    all,
  ),
  'microphone-dead': promised(
    'capture',
    'The sound server dies, and is started again',
    '`B/audio/status` is `offline` within 20 s',
    answers,
    ['sound, after the server is back', 60],
    all,
  ),
  'microphone-stalled': promised(
    'capture',
    'The microphone delivers nothing',
    '`B/audio/status` is `offline` within 20 s',
    answers,
    ['sound, after the microphone is back', 60],
    all,
  ),
  'microphone-silent': promised(
    'capture',
    'The microphone delivers zeros',
    '`B/audio/status` is `offline` within 20 s',
    answers,
    ['`online` with the first sound', 15],
    all,
  ),
  'microphone-flooding': promised(
    'capture',
    'The microphone delivers faster than real time',
    'dropped windows count',
    answers,
    nothing,
    'memory grows by less than 60 MB',
  ),
  'stream-garbage': promised(
    'capture',
    'A stream delivers random bytes in place of sound',
    '`B/audio/status` is `offline`, the log says that it cannot be read as audio',
    answers,
    ['sound, after the stream is right', 70],
    'memory grows by less than 60 MB',
  ),

  'camera-dies': promised(
    'sources',
    'One of several cameras goes away, and comes back',
    'its `audio/status` is `offline`, and with it that of all; `health` names it and is well',
    'every window of the other sources',
    ['its sound, after the camera is back', 70],
    all,
  ),
  'one-floods': promised(
    'sources',
    'One of several streams sends as fast as it is taken',
    'it is heard as fast as it sounds; `too_fast` on `B/log` once it has been 30 s ahead',
    'every window of the other sources',
    nothing,
    'memory grows by less than 60 MB',
  ),
  'sources-named-alike': promised(
    'sources',
    'Two sources have one name',
    'exit code 2, both places in the message',
    '-',
    nothing,
    'no stack, no secret',
  ),
  'source-no-slug': promised(
    'sources',
    'The name of a source cannot be a topic',
    'exit code 2, the place and what a name may be',
    '-',
    nothing,
    'no stack, no secret',
  ),
  'source-unknown-key': promised(
    'sources',
    'A source overrides a key that there is not',
    'exit code 2, the key and the one that is meant',
    '-',
    nothing,
    'no stack, no secret',
  ),
  'source-unknown': promised(
    'sources',
    'Commands name a source that there is not',
    '`source_unknown`, which names those there are',
    'every window of all sources',
    nothing,
    'what was set',
  ),

  'inference-killed': promised(
    'inference',
    'The inference process is killed',
    '`inference.restarts` counts',
    answers,
    ['tags', 15],
    'of a file no window; of a microphone those of the restart',
  ),
  'inference-stopped': promised(
    'inference',
    'The inference process hangs (SIGSTOP)',
    '`health` says so within 27 s',
    answers,
    ['tags, in a new process', 45],
    'the model: it is not given up, however often',
  ),
  'model-hangs': promised(
    'inference',
    'The model hangs in every run',
    '`model_given_up` on `B/log`',
    answers,
    ['tags, of the bundled model', 90],
    all,
  ),
  'model-nan': promised(
    'inference',
    'The model answers NaN',
    '`model_given_up` on `B/log`',
    answers,
    ['tags, of the bundled model', 90],
    all,
  ),
  'model-memory': promised(
    'inference',
    'The model asks for more memory than there is in every run',
    '`model_given_up` on `B/log`',
    answers,
    ['tags, of the bundled model', 90],
    all,
  ),
  'model-crashes': promised(
    'inference',
    'The model crashes its process in every run',
    '`model_given_up` on `B/log`',
    answers,
    ['tags, of the bundled model', 90],
    all,
  ),
  'model-file-damaged': promised(
    'inference',
    'A bit of model.onnx is flipped',
    '`model/set` is refused and says why',
    'the old model',
    nothing,
    'no tag of a damaged model',
  ),
  'manifest-damaged': promised(
    'inference',
    'The front end’s limit in model.json changes',
    '`model/set` is refused and says why',
    'the old model',
    nothing,
    'no tag of a damaged model',
  ),
  'labels-damaged': promised(
    'inference',
    'A letter in labels.json changes',
    '`model/set` is refused and says why',
    'the old model',
    nothing,
    'no tag under a wrong name',
  ),
  'title-too-long': promised(
    'inference',
    'Sixteen models have titles of 62 kB',
    '`B/info` stays below 64 KiB or says less',
    'the connection to the broker',
    nothing,
    all,
  ),

  'broker-killed': promised(
    'mqtt',
    'The broker is killed, and comes back',
    '`B/status` is `offline` by the will',
    'listening and tagging',
    ['connection and all events, late and in order', 65],
    all,
  ),
  'broker-frozen': promised(
    'mqtt',
    'The broker hangs (SIGSTOP) for 20 s',
    'after one and a half keep-alives the connection is given up',
    'listening and tagging',
    ['connection and all events', 65],
    all,
  ),
  'connection-cut': promised(
    'mqtt',
    'The connection ends in the middle of packets',
    'a warning',
    'listening and tagging',
    ['connection and all events', 65],
    all,
  ),
  'half-open': promised(
    'mqtt',
    'The network swallows everything',
    'the connection is given up',
    'listening and tagging',
    ['connection and all events', 65],
    all,
  ),
  'slow-reader': promised(
    'mqtt',
    'The broker reads a few bytes at a time',
    'nothing',
    'listening and tagging',
    ['all events', 65],
    'memory grows by less than 40 MB; no event',
  ),
  'topic-refused': promised(
    'mqtt',
    'A 3.1.1 broker ends the connection for one topic',
    'a warning that names the topic',
    'listening and tagging',
    ['events flow past it', 90],
    all,
  ),
  'packet-limit': promised(
    'mqtt',
    'A broker ends the connection for packets over 128 KiB (AWS IoT), with 250 long labels',
    'a smaller description',
    'listening and tagging',
    ['events flow', 90],
    all,
  ),
  'large-request': promised(
    'mqtt',
    'A request of 20 MB',
    '`payload_too_large` or silence',
    'tags without a gap of 3 s',
    nothing,
    'memory is back within 60 MB',
  ),
  'request-burst': promised(
    'mqtt',
    '4,000 requests at once',
    '`busy` for what is too much',
    'tags without a gap of 3 s',
    ['one reply to each', 60],
    'no reply',
  ),
  'embedded-flood': promised(
    'mqtt',
    'Clients flood the embedded broker for 5 s with connections, retained messages and large packets',
    'a warning',
    'the service’s own connection',
    ['tags', 15],
    'memory grows by less than 150 MB',
  ),

  'disk-full': promised(
    'host',
    'The disk is full, and has room again',
    'one warning; `ok` only for what survives',
    'listening, tagging, events',
    ['settings and events on the disk', 60],
    all,
  ),
  'disk-full-kept': promised(
    'host',
    'The disk is full while history and clips are kept, and has room again',
    'one warning of each',
    'listening, tagging, events; the history answers',
    ['the history of that time on the disk, and further clips', 90],
    'no event, and none of its history; the clips of that time are lost',
  ),
  'disk-full-health': promised(
    'host',
    'The disk is full, and `soundpost health` is asked',
    'it does not say that the service hangs',
    'everything',
    nothing,
    'the container is not restarted for it',
  ),
  'disk-read-only': promised(
    'host',
    'The file system turns read-only under open files, as on a dying card; it is repaired and the service started again',
    'warnings; replies say `persisted: false`',
    'listening, tagging, events, `health`',
    ['events, also after the new start', 60],
    all,
  ),
  'no-handles': promised(
    'host',
    'No file handle is left while a child has to be started',
    'a warning',
    'the service itself',
    ['tags, once there are handles', 75],
    all,
  ),
  'no-memory': promised(
    'host',
    'The inference process gets no memory',
    '`inference.restarts` counts',
    answers,
    ['tags', 30],
    all,
  ),
  'clock-jumps': promised(
    'host',
    'The clock jumps an hour forward and back',
    'the times jump',
    'listening, tagging, events',
    nothing,
    'every beginning has its end; no negative duration',
  ),
  'power-cut': promised(
    'host',
    'The service is killed at random times',
    '`offline` by the will',
    'nothing',
    ['tags, after the start', 40],
    'no event that was heard more than a moment before; every beginning has its end; no label stays on',
  ),
  'power-cut-in-writes': promised(
    'host',
    'A writer of 250 events a second is killed in the middle of its writes',
    '-',
    'nothing',
    nothing,
    'no event that the outbox has taken; order per device',
  ),
  'kills-after-work': promised(
    'host',
    'Three kills within two minutes of good work',
    '-',
    'nothing',
    nothing,
    'what was set over MQTT',
  ),
  'outbox-bit-flip': promised(
    'host',
    'One bit of the outbox’s files is flipped',
    '`outbox_broken`, counted',
    'everything',
    ['the start', 40],
    'the original files; no end is invented for a sound whose own end is there',
  ),
  'state-damaged': promised(
    'host',
    'state.json holds random bytes',
    'a warning that names the file',
    'everything',
    ['the start, with the configuration', 40],
    'the original file',
  ),
  'state-is-fifo': promised(
    'host',
    'state.json is a FIFO',
    'a warning that names the file',
    'everything',
    ['the start, with the configuration', 40],
    '-',
  ),
  'sensors-lie': promised(
    'host',
    'The sensors hold garbage',
    'readings are `null`, never 0',
    'everything',
    nothing,
    'the rate: garbage throttles nothing',
  ),
  'hang-up': promised(
    'host',
    'The terminal goes (SIGHUP)',
    '`B/status` is `offline`',
    'nothing',
    nothing,
    'every beginning has its end; no label stays on',
  ),
  'service-killed-in-run': promised(
    'host',
    'The service is killed while its model hangs',
    '-',
    'nothing',
    ['no process is left', 20],
    '-',
  ),

  'wrong-types': promised(
    'configuration',
    'Every key has every wrong type, in a file and in the environment',
    'the key and what is allowed',
    '-',
    nothing,
    'exit code 2 and no stack',
  ),
  'wrong-start': promised(
    'configuration',
    'The service is started with each key wrong',
    'exit code 2, the key in the message',
    '-',
    nothing,
    'no stack, no secret',
  ),

  'case-camera-without-picture': promised(
    'cases',
    'A camera plays its sound only where the picture is asked for too',
    'the log says what is tried',
    answers,
    ['sound', 90],
    '-',
  ),
  'case-wav-oddities': promised(
    'cases',
    'WAV files whose redundant fields are wrong',
    'a warning where sound is missing',
    'everything',
    nothing,
    'the length and what is heard',
  ),
  'case-no-retain': promised(
    'cases',
    'A broker without retained messages',
    'the log says it',
    'events and tags',
    ['connection', 40],
    all,
  ),
  'case-qos-0': promised(
    'cases',
    'A broker with a maximum QoS of 0',
    'the log says it',
    'tags',
    ['connection', 40],
    '-',
  ),
  'case-inverted-stereo': promised(
    'cases',
    'A stereo recording whose channels cancel each other',
    'a warning, or the sound',
    'everything',
    nothing,
    '-',
  ),
  'case-ws-query': promised(
    'cases',
    'A WebSocket address with a token in its query',
    'the gateway gets it as it is written',
    '-',
    nothing,
    'the token is in no log',
  ),
  'case-hash-in-password': promised(
    'cases',
    'A "#" in the password of an address',
    'exit code 2: percent-encode it',
    '-',
    nothing,
    'the password is in no log',
  ),
  'case-intermediate-ca': promised(
    'cases',
    '`mqtt.ca` is the intermediate, not the root',
    'it says to add the root',
    'listening',
    nothing,
    '-',
  ),
  'case-camera-password': promised(
    'cases',
    'The camera’s password came from a secret file',
    'it is in no command line',
    '-',
    nothing,
    'the password',
  ),
  'case-playlist': promised(
    'cases',
    'The address of a playlist in place of the stream',
    'it names the address in the playlist',
    answers,
    nothing,
    '-',
  ),
} as const satisfies Record<string, Promised>;

export type FaultName = keyof typeof promises;

export const faultNames = Object.keys(promises) as FaultName[];

/** The promise as one sentence, for the table. */
export function sentenceOf({ seen, goesOn, back, backSeconds, kept }: Promised): string {
  const parts = [
    seen === '-' ? null : seen,
    goesOn === '-' ? null : `goes on: ${goesOn}`,
    back === 'nothing has to'
      ? null
      : `back: ${back}${backSeconds === null ? '' : ` within ${backSeconds} s`}`,
    kept === '-' ? null : `kept: ${kept}`,
  ];
  return parts.filter((part) => part !== null).join('; ');
}
