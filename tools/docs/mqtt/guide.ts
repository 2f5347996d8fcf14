/** The prose of `docs/mqtt.md`, in front of the tables that are made from the contract. */
export const introduction = `# MQTT

<!-- Written by \`npm run docs\` from src/mqtt/contract.ts, payloads.ts and command-specs.ts. -->

Everything that Soundpost says and everything it can be told, for consoles, dashboards and programs. For machines there is the same as [AsyncAPI 3](asyncapi.yaml); for Home Assistant nothing has to be written at all.

- \`B\` is \`<mqtt.base_topic>/<device.id>\`, for example \`soundpost/attic\`.
- Payloads are JSON objects in UTF-8 with names in snake_case, or bare words and numbers where a topic says so.
- Times are ISO 8601 in UTC with milliseconds: \`2026-05-04T10:15:30.250Z\`.
- A unit is the end of a name: \`latency_ms\`, \`temperature_c\`, \`rate_hz\`. Megabytes have 1024 × 1024 bytes.
- \`null\` means that there is no such reading on this machine or at this time. It is never written as 0.
- The contract only grows. Fields and topics are added, never renamed or removed: ignore what you do not know. \`schema_version\` in \`B/info\` says when the meaning has grown.

Everything at a glance, and one command:

\`\`\`sh
mosquitto_sub -h BROKER -t 'soundpost/#' -v
mosquitto_pub -h BROKER -t soundpost/attic/rate/set -m 0.5
\`\`\`
`;

export const delivery = `## What arrives, and what when it cannot

| delivery | topics that are… | what happens while the broker is away |
| --- | --- | --- |
| \`state\` | retained: how things are | only the newest of each topic is kept; after every connect all of them are sent again |
| \`outbox\` | \`B/event\` | kept in order until the broker has acknowledged each; sent again after a reconnect with their original times and \`late: true\`. What the broker refuses (access rules, a quota) waits too. Above \`mqtt.outbox.max_mb\` the oldest go first, counted in \`B/telemetry\` |
| \`reply\` | \`B/response/…\` | kept in order in a short queue; one that was on its way when the connection broke is sent again, so it may arrive twice |
| \`transient\` | \`B/log\`, \`B/source/<source>/event\` | dropped |

An event arrives at least once. It may arrive twice, with the same \`id\` and the same \`event_type\`: whoever counts has to look at both. \`B/label/<slug>\` is right again after every reconnect and always ends \`OFF\`.

\`B/status\` is also the will: where the device vanishes the broker says \`offline\` for it. Together with \`B/audio/status\` it tells a quiet room from a dead microphone and a dead microphone from a dead device.

Reconnecting is the device's own affair: a few seconds after the first failure, up to a minute apart after many, each time by chance, so that a fleet does not come back all at once. Refused credentials and certificates are tried every half minute at most.

A broker can forget too. Mosquitto keeps sessions and retained messages in memory and writes them every half hour by default; [config/examples/mosquitto.conf](../config/examples/mosquitto.conf) does better.

### MQTT 5 and 3.1.1

Soundpost speaks MQTT 5 and falls back to 3.1.1 where the broker refuses it (the embedded broker does). With MQTT 5:

- **Response topic and correlation data** of a request are honoured: the reply goes to that topic as well, with the same correlation data. It has to be one below \`B/response/\`, which access rules such as [the example](../config/examples/mosquitto.acl) let the device write to and the operator read. With \`mqtt.foreign_response_topics\` it may be any topic that no device takes commands on; without it a request that names one elsewhere is carried out and answered on \`B/response/<command>\` alone.
- **Expiry.** What goes stale carries a message expiry, so that nobody is shown an old reading by a broker whose device is gone (the table below has the seconds).
- **Limits of the broker** are kept: receive maximum, maximum packet size, maximum QoS, retain available, server keep-alive. A will that the broker refuses for its QoS or its retain flag is sent again without. Where nothing is retained or nothing is acknowledged, that is said once in the log.
- **Reason codes** of refused connections and publications become sentences in the log and in \`B/log\`.

MQTT 3.1.1 has no words for a refusal, and neither do many brokers of MQTT 5: they end the connection over a topic that a device may not write or read, or over a message that is too large.

- What was on its way then is suspected: with the next connection everything else is sent first, and then what is suspected, one by one, each with nothing beside it. What the broker takes is cleared; what ends the connection twice in a row is left out for ten minutes, then tried once more, and left out for twice as long each time, up to a day. The log and \`B/log\` name it (\`topic_held\`). Everything else goes on; events that may not be sent wait in the outbox. Three labels (or models, or commands) that are refused stand for all of them.
- A smaller message on the same topic is tried sooner, since the size may have been the reason. Home Assistant's description then goes out in several messages that fit.
- Each of these ends is an end of the connection, so \`B/status\` says \`offline\` for a moment. A restart of the service forgets what is left out.
- A broker that ends the connection before any answer is asked for less each time: MQTT 3.1.1, a will that is not retained, one with QoS 0. Less is only taken for its will where it closes once more on the whole one.
`;

export const severalSources = `## Several sources

One device can hear several places (\`audio.sources\`, [several-sources.md](several-sources.md)). With one source nothing below applies: every topic is as it always was. With several, each is called by its \`name\` in the configuration:

| with one source | with several |
| --- | --- |
| \`B/tags\`, \`B/level\`, \`B/label/<slug>\` | \`B/source/<source>/tags\`, \`…/level\`, \`…/label/<slug>\` in their place |
| \`B/event\` | the same topic, for all of them: \`source\` says which one heard it. It stays the one topic that a consumer needs, and nothing on it is lost. \`B/source/<source>/event\` says it too, as long as there is a connection |
| \`B/audio/status\` | \`online\` when sound arrives from all; \`B/source/<source>/audio/status\` says it of each |
| \`B/state\`, \`B/telemetry\` | gain \`sources\`, with what is particular to each |

Every event, everything about the yard, dogs anywhere, and which microphones are dead:

\`\`\`sh
mosquitto_sub -h BROKER -t soundpost/attic/event -q 1 -i my-consumer -c
mosquitto_sub -h BROKER -t 'soundpost/attic/source/yard/#' -v
mosquitto_sub -h BROKER -t 'soundpost/+/source/+/label/dog' -v
mosquitto_sub -h BROKER -t 'soundpost/+/source/+/audio/status' -v
\`\`\`

The commands \`paused/set\`, \`pause\`, \`resume\`, \`threshold/set\` and \`labels/set\` are about all sources, or about the one that \`source\` names; \`audio/set\` needs it where several sources are microphones. \`B/source/<source>/<thing>/set\` takes the bare value for one source. The reply comes on \`B/response/<command>\`, wherever the request came from, and names the \`source\` that the request named:

\`\`\`sh
mosquitto_pub -h BROKER -t soundpost/attic/request/pause -m '{"seconds":600,"source":"yard"}'
mosquitto_pub -h BROKER -t soundpost/attic/source/yard/paused/set -m OFF
mosquitto_pub -h BROKER -t soundpost/attic/source/yard/threshold/set -m 0.4
mosquitto_pub -h BROKER -t soundpost/attic/source/yard/threshold/set -m '{"value":0.3,"label":"Dog"}'
mosquitto_pub -h BROKER -t soundpost/attic/source/yard/labels/set -m '{"labels":["Bark","Siren"]}'
mosquitto_pub -h BROKER -t soundpost/attic/source/nursery/audio/set -m 'USB Audio'
\`\`\`

A name that is no source is answered with \`source_unknown\`, which lists those there are. What is for the whole device (\`rate/set\`, \`model/set\`) is refused on a topic of one source, and so is a payload that names another source than its topic.

When a source goes, or a device with one source gets a second, its retained topics are cleared by the next start: an empty retained message, not \`OFF\`.
`;

export const heardBefore = `## What was heard before

The history answers what was heard while nobody listened to the broker, and clips hold the sound of events where that is wanted ([history.md](history.md)). An event of which a clip is made names it in \`clip\` once the sound has ended; \`clip\` and \`clip/list\` say where it lies. No sound goes over MQTT.

\`\`\`sh
mosquitto_pub -h BROKER -t soundpost/attic/request/history -m '{"since":"2026-05-01T22:00:00Z","label":"Dog"}'
mosquitto_pub -h BROKER -t soundpost/attic/request/history/scores -m '{"label":"Dog"}'
mosquitto_pub -h BROKER -t soundpost/attic/request/clip/list -n
\`\`\`

Replies have at most 500 events and about 100 KB, which every broker takes; \`cursor\` gets what is older. A time may have any zone.

## Sounds of your own

\`learn/begin\`, then \`learn/example\` within ten seconds of the sound, at least three times, then \`learn/finish\`: from then on it is a label like any other ([learning.md](learning.md)). No sound goes over MQTT.

\`\`\`sh
mosquitto_pub -h BROKER -t soundpost/attic/request/learn/begin -m '{"name":"Our doorbell"}'
mosquitto_pub -h BROKER -t soundpost/attic/request/learn/example -m '{"name":"Our doorbell"}'
mosquitto_pub -h BROKER -t soundpost/attic/request/learn/finish -m '{"name":"Our doorbell"}'
\`\`\`
`;

export const commandsIntroduction = `## Commands

A command is a message on \`B/request/<command>\`: empty, or a JSON object. Some have a second topic \`B/<thing>/set\` that takes a bare value, for people and for Home Assistant, and with several sources one for each. All are answered on \`B/response/<command>\`, once, whatever happens:

\`\`\`json
{ "status": "ok", "data": { "rate_hz": 0.5, "effective_rate_hz": 0.5 }, "transaction": "a-1" }
\`\`\`

\`\`\`json
{ "status": "error", "error": { "code": "invalid_request", "message": "hz: has to be at most 20 Hz." }, "data": {}, "transaction": "a-1" }
\`\`\`

**Whose reply is it?** Any request may carry a \`transaction\`, a number or a text of at most 256 characters, which comes back in the reply. With MQTT 5 the response topic and the correlation data do the same without looking into the payload:

\`\`\`sh
mosquitto_rr -h BROKER -t soundpost/attic/request/health -e soundpost/attic/response/me -n
\`\`\`

**Order.** Commands run one after the other, at most 16 wait; the next is answered with \`busy\` at once, and \`commands.refused\` in \`B/telemetry\` counts it. In a flood the service rests after each for as long as it took (100 ms at most), so that tags go on. Where the broker takes no replies, 20,000 (8.4 MB) wait; what comes then is counted in \`commands.unanswered\`. What takes long (changing, pulling and removing models) runs beside them, one at a time; a second one is \`busy\` at once. Each has a time limit. Changes of the model, the rate, the thresholds, the labels and the pause survive a restart.

**Never retain a command.** A retained request is refused, since it would run again at every connect. Remove one with an empty retained message on its topic, while the device is off: with MQTT 3.1.1 a device that is connected does not see the flag, and takes the empty message for a request (with MQTT 5 it refuses it). Payloads of more than 64 KiB are refused.
`;

export const security = `## Security

Whoever may publish on \`B/request/#\`, \`B/+/set\` and \`B/source/+/+/set\` rules the device. Without \`mqtt.url\` Soundpost brings a broker that listens on this machine only; beyond it (\`broker.host\`) it needs a password (\`broker.password\`). [security.md](security.md) says who can reach what, what stops them, and what does not. A broker of your own:

\`\`\`yaml
mqtt:
  url: mqtts://broker.example:8883
  ca: /etc/soundpost/ca.pem # where the authority is a private one
  cert: /etc/soundpost/attic.pem # where the broker asks for certificates
  key: /etc/soundpost/attic.key
  username: attic
  password_file: /run/secrets/mqtt
\`\`\`

- \`mqtt.ca\`, \`mqtt.cert\` and \`mqtt.key\` are a path, PEM text, or base64 of it (one line, for variables of a fleet). Each of them and the password can come from a file (\`…_file\`, \`SOUNDPOST_…_FILE\`). \`wss://\` works too.
- Brokers that share port 443 with other servers want to be asked for MQTT while the encryption is set up (ALPN): \`mqtt.alpn\`. For AWS IoT it is set by itself. Path and query of \`ws://\` and \`wss://\` addresses go out as they are written, such as a token or a signature that a gateway wants.
- \`mqtt.ca\` is the root of the chain, and every intermediate that the broker does not send itself.
- A wrong authority, a missing intermediate, a certificate that names no host, an expired certificate, one for another name, a missing client certificate and a wrong password are each said in words, once, and told apart from an absent network.
- [config/examples/mosquitto.acl](../config/examples/mosquitto.acl), made from this contract, gives a device its own branch, an operator the commands, and Home Assistant what it needs. [config/examples/mosquitto.conf](../config/examples/mosquitto.conf) is the broker around it, with TLS.
- Passwords, keys and what is secret in addresses appear neither in \`B/info\` nor in \`B/log\`, the log, the errors or \`npx soundpost config\`.
- What a command may make the device download is limited by \`models.remote_pull\` (by default models of the catalogue only), \`models.allowed_hosts\` and \`models.require_digest\`; hosts in the local network have to be named there one by one. [models.md](models.md) has more.
`;
