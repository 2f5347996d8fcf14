import { stringify } from 'yaml';
import { mayComeFromFile, type Key } from '../../src/config/key.js';
import { MAX_SOURCES } from '../../src/common/rules.js';
import { entryKeys, environmentName, keys, schema } from '../../src/config/schema.js';
import { nameFormat } from '../../src/config/source-list.js';

const sectionTitles: Record<string, string> = {
  device: 'Device',
  data_dir: 'Data folder',
  mqtt: 'MQTT',
  broker: 'Embedded broker',
  audio: 'Sound',
  model: 'Model',
  models: 'Installing models',
  inference: 'Inference',
  tagging: 'Tagging',
  fusion: 'One sound, one event',
  history: 'History',
  learn: 'Sounds of your own',
  clips: 'Clips',
  web: 'The page',
  telemetry: 'Telemetry',
  thermal: 'Heat',
  homeassistant: 'Home Assistant',
  log: 'Log',
};

const introduction = `# Configuration

<!-- Written by \`npm run docs\` from src/config/schema.ts. -->

Soundpost runs without any configuration. What it reads, later wins:

1. its defaults, and \`config/default.yaml\`, which holds them as a sample;
2. the YAML file named by \`--config FILE\` or else by \`SOUNDPOST_CONFIG\`;
3. environment variables, \`SOUNDPOST_\` and the key in capitals with \`_\` for \`.\`; an empty one counts as not set;
4. flags, the key after two dashes: \`--mqtt.url mqtt://192.168.1.10\`, or \`--mqtt-url\`.

In a file the parts of a key are sections:

\`\`\`yaml
mqtt:
  url: mqtt://192.168.1.10:1883
tagging:
  threshold: 0.4
\`\`\`

Lists and maps in environment variables and flags are JSON: \`SOUNDPOST_TAGGING_LABELS='["Speech", "Dog"]'\`.

Keys with a \`_FILE\` variable can be read from a file, which is how Docker, Compose and systemd hand over secrets: \`SOUNDPOST_MQTT_PASSWORD_FILE=/run/secrets/mqtt\`. The same works in files: \`mqtt.password_file\`. One line end at the end of such a file is left out. A key and its file may not be given in the same place.

A key that does not exist or a value that is not allowed ends the program at once (exit code 2) with a list of everything that is wrong and where it is written. \`npx soundpost config\` shows the effective value of every key and where it comes from, with secrets hidden.

Model, rate, thresholds and pause can be changed over MQTT. Such a change is remembered and wins over the configuration, until the configuration of that key itself is changed.
`;

const namesOf = (section: object): string =>
  Object.keys(section)
    .map((name) => `\`${name}\``)
    .join(', ');

const severalSources = `## Several sources

One device can hear several places: a microphone and four cameras, or two microphones in two rooms. \`audio.sources\` lists them, at most ${MAX_SOURCES}; without it there is one source, which \`audio.*\` describes. [several-sources.md](several-sources.md) leads through it; here are the rules.

\`\`\`yaml
audio:
  # For every source that says nothing else.
  highpass_hz: 60
  sources:
    - name: nursery
      device: USB # a microphone, by a part of its name
      gain_db: 12
    - name: yard
      url: rtsp://viewer:password@192.168.1.20/stream2
      labels: [Bark, Siren]
      threshold: 0.4
    - name: street
      # The address with its password stands in a file.
      url_file: /run/secrets/street
      loud:
        above_background_db: 25
tagging:
  labels: [Speech, 'Smoke detector, smoke alarm']
\`\`\`

The same in one variable, for balena, Compose and systemd, where it is JSON on one line (also as a flag, \`--audio.sources\`, and in a file that \`SOUNDPOST_AUDIO_SOURCES_FILE\` names):

\`\`\`sh
SOUNDPOST_AUDIO_SOURCES='[{"name":"nursery","device":"USB","gain_db":12},{"name":"yard","url":"rtsp://viewer:password@192.168.1.20/stream2","labels":["Bark","Siren"],"threshold":0.4}]'
\`\`\`

On balena the field of a variable takes it without the quotes around it: \`[{"name": …}]\`.

- Each source has a \`name\` of its own: ${nameFormat.allowed}. It is part of topics, and what is set over MQTT is remembered by it: a source that is taken out and comes back has its settings again.
- An entry may hold any of these keys, with the rules that are written at the single ones below: ${namesOf(entryKeys)}. \`loud\` holds ${namesOf(entryKeys.loud)}.
- What an entry leaves out is as \`audio.*\` and \`tagging.*\` say. Lists and maps (\`labels\`, \`thresholds\`) are replaced, not joined. A key that may be empty and is written empty (\`threshold: null\`) is empty for that source.
- \`source\`, \`device\`, \`file\` and \`url\` are never taken from the single keys, which may not be given beside a list. \`source\` may be left out: with \`url\` it is a stream, with \`file\` a recording, else a microphone, and never the demo unless it says so.
- A microphone can be opened once: two entries with the same \`device\`, or two without one, are refused. Streams, recordings and the demo may be listed several times.
- \`url_file\` reads the address from a file. Passwords in addresses are never shown.
- A list counts as a whole: one in a later place (a variable over a file) takes the place of an earlier one.
- With \`--keep-going\`, which the container uses, a source with a mistake in it is left out, and the others go on.
`;

/** `docs/configuration.md`: every key with what it means, what is allowed, its default and its variable. */
export function documentMarkdown(): string {
  const parts = [introduction, severalSources];
  for (const [section, title] of Object.entries(sectionTitles)) {
    parts.push(`## ${title}\n`);
    for (const [key, spec] of keysOf(section)) {
      const variables = [
        environmentName(key),
        ...(mayComeFromFile(spec) ? [`${environmentName(key)}_FILE`] : []),
      ];
      parts.push(
        `### \`${key}\`\n`,
        `${spec.doc}\n`,
        [
          `- Allowed: ${spec.reader.allowed}`,
          `- Default: ${defaultOf(spec)}`,
          `- Environment: ${variables.map((name) => `\`${name}\``).join(', ')}`,
          ...(spec.secret ? ['- Never shown'] : []),
        ].join('\n') + '\n',
      );
    }
  }
  return parts.join('\n');
}

/** `config/default.yaml`: every key commented out, with its default. */
export function documentYaml(): string {
  const lines = [
    '# Every key with its default. Take the "#" off a section and off what you want to change, or better: write',
    '# only that into a file of your own and name it with --config or SOUNDPOST_CONFIG.',
    '# docs/configuration.md says what is allowed.',
    '#',
    '# Written by "npm run docs" from src/config/schema.ts.',
  ];
  let open: string[] = [];
  for (const [key, spec] of keys) {
    const path = key.split('.');
    const sections = path.slice(0, -1);
    if (path.length === 1 || sections[0] !== open[0]) lines.push('');
    sections.forEach((section, depth) => {
      if (section !== open[depth]) lines.push(`#${'  '.repeat(depth)}${section}:`);
    });
    open = sections;
    const indent = '  '.repeat(sections.length);
    for (const line of wrap(`${spec.doc}${spec.defaultDoc ? ` Default: ${spec.defaultDoc}.` : ''}`, 96)) {
      lines.push(`#${indent}# ${line}`);
    }
    const value =
      spec.default === null
        ? ''
        : ` ${stringify(spec.default, { singleQuote: true, collectionStyle: 'flow' }).trim()}`;
    lines.push(`#${indent}${path.at(-1)!}:${value}`);
  }
  return `${lines.join('\n')}\n`;
}

function keysOf(section: string): [string, Key<unknown>][] {
  return [...keys].filter(([key]) => key === section || key.startsWith(`${section}.`));
}

function defaultOf(spec: Key<unknown>): string {
  const isEmpty = spec.default === null || spec.default === '' || JSON.stringify(spec.default) === '{}';
  const value = typeof spec.default === 'string' ? spec.default : JSON.stringify(spec.default);
  if (isEmpty) return spec.defaultDoc ?? 'empty';
  return `\`${value}\`${spec.defaultDoc ? ` (${spec.defaultDoc})` : ''}`;
}

function wrap(sentence: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of sentence.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** `deploy/balena/variables.md`: every setting as a variable of a fleet or a device. */
function documentVariables(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const rows = [...keys].map(([key, spec]) => {
    const name = environmentName(key);
    const also = mayComeFromFile(spec) ? `, \`${name}_FILE\`` : '';
    return `| \`${name}\`${also} | ${cell(spec.doc)} Allowed: ${cell(spec.reader.allowed)}. | ${cell(defaultOf(spec))} |`;
  });
  return [
    '# Variables',
    '',
    '<!-- Written by `npm run docs` from src/config/schema.ts. -->',
    '',
    'Every setting, as a variable of the fleet or of one device. An empty one counts as not set. The image sets `data_dir` to `/data` and `log.format` to `json`.',
    '',
    '| variable | meaning | default |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

/** The generated files, by their path in the project. */
export function documents(): Record<string, string> {
  const undocumented = Object.keys(schema).filter((section) => !(section in sectionTitles));
  if (undocumented.length > 0) throw new Error(`sections without a title: ${undocumented.join(', ')}`);
  return {
    'docs/configuration.md': documentMarkdown(),
    'config/default.yaml': documentYaml(),
    'deploy/balena/variables.md': documentVariables(),
  };
}
