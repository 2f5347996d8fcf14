import { commandSpecs, type CommandName } from '../../../src/mqtt/command-specs.js';
import type { CommandSpec } from '../../../src/mqtt/command.js';
import { contract, type OutKey, type TopicKey, type TopicSpec } from '../../../src/mqtt/contract.js';
import {
  errorCodes,
  problemCodes,
  type ErrorCode,
  type ProblemCode,
} from '../../../src/common/error-codes.js';
import { commandErrors, commonErrors } from './errors.js';
import { exampleParameters, replyExamples, topicExamples } from './examples.js';
import { isForSources } from './asyncapi.js';
import {
  commandsIntroduction,
  delivery,
  heardBefore,
  introduction,
  security,
  severalSources,
} from './guide.js';
import { homeAssistantTopics } from './home-assistant.js';
import { fieldsOf, jsonSchema, type Field } from './schema.js';

const EXAMPLE_BASE = 'soundpost/attic';

/** `docs/mqtt.md`: the contract for people. */
export function mqttMarkdown(): string {
  const topics = Object.entries(contract) as [TopicKey, TopicSpec][];
  const commands = Object.entries(commandSpecs) as [CommandName, CommandSpec][];
  return [
    introduction,
    topicsAtAGlance(topics, commands),
    delivery,
    severalSources,
    '## What it says\n',
    ...topics
      .filter(([key, { direction }]) => direction === 'out' && key !== 'response')
      .map(([key, spec]) => topicSection(key as OutKey, spec)),
    heardBefore,
    commandsIntroduction,
    errorTable('These errors can answer any request:', commonErrors),
    ...commands.map(([name, spec]) => commandSection(name, spec)),
    security,
  ].join('\n');
}

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n');
}

function topicsAtAGlance(
  topics: readonly [TopicKey, TopicSpec][],
  commands: readonly [CommandName, CommandSpec][],
): string {
  const row = ([, spec]: [TopicKey, TopicSpec]) => [
    `\`B/${spec.template}\``,
    spec.retain ? 'yes' : 'no',
    String(spec.qos),
    spec.expirySeconds === null ? '–' : `${spec.expirySeconds} s`,
    spec.delivery,
    spec.description,
  ];
  const names = (list: readonly [CommandName, CommandSpec][]) =>
    list.map(([name]) => `\`${name}\``).join(', ');
  return [
    '## Topics at a glance\n',
    'Soundpost says:\n',
    table(
      ['topic', 'retained', 'QoS', 'expiry', 'delivery', ''],
      topics.filter(([, { direction }]) => direction === 'out').map(row),
    ),
    'It listens to its own commands and to nothing else of the branch:\n',
    table(
      ['topic', ''],
      topics
        .filter(([, { direction }]) => direction === 'in')
        .map(([, spec]) => [`\`B/${spec.template}\``, spec.description]),
    ),
    'Unless `homeassistant.enabled` is false, there are three topics of Home Assistant as well ([home-assistant.md](home-assistant.md)); `{prefix}` is `homeassistant.prefix`, `{status_topic}` is `homeassistant.status_topic`:\n',
    table(
      ['topic', ''],
      homeAssistantTopics.map(({ address, description }) => [`\`${address}\``, description]),
    ),
    `Commands: ${names(commands)}. As \`B/<thing>/set\` too: ${names(
      commands.filter(([, { parseSet }]) => parseSet !== undefined),
    )}. As \`B/source/<source>/<thing>/set\`: ${names(
      commands.filter(([name, spec]) => isForSources(name, spec)),
    )}.\n`,
  ].join('\n');
}

function fieldTable(fields: readonly Field[]): string {
  return table(
    ['field', 'type', 'unit', ''],
    fields.map(({ path, type, unit, optional, description }) => [
      path === '' ? '(all of it)' : `\`${path}\`${optional ? ' (optional)' : ''}`,
      type.replace(/"(\w+)"/g, '`$1`'),
      unit,
      description,
    ]),
  );
}

function json(value: unknown): string {
  return `\`\`\`json\n${JSON.stringify(value, null, 2)}\n\`\`\`\n`;
}

function topicSection(key: OutKey, spec: TopicSpec): string {
  const example = topicExamples[key];
  const address = `${EXAMPLE_BASE}/${filled(spec.template)}`;
  const shown =
    example === undefined
      ? []
      : [
          `\`${address}\`:\n`,
          typeof example === 'string' ? `\`\`\`text\n${example}\n\`\`\`\n` : json(example),
        ];
  return [
    `### \`B/${spec.template}\`\n`,
    `${spec.description}\n`,
    ...payloadOf(key, spec),
    ...(key === 'log' ? [logCodes()] : []),
    ...shown,
  ].join('\n');
}

/** The fields; of a topic of one source, which topic has the same. */
function payloadOf(key: OutKey, { schema }: TopicSpec): string[] {
  const plain = key.startsWith('source/') ? contract[key.slice('source/'.length) as OutKey] : null;
  return plain?.schema === schema
    ? [`The payload is that of \`B/${plain.template}\`.\n`]
    : [fieldTable(fieldsOf(jsonSchema(schema)))];
}

function filled(template: string): string {
  return template.replace(/<(\w+)>/g, (_, name: string) => exampleParameters[name] ?? name);
}

/** What to type; empty requests are `-n`. */
export function publishCommand(name: string, example: unknown): string {
  const payload = example === undefined ? '-n' : `-m '${JSON.stringify(example).replaceAll("'", `'\\''`)}'`;
  return `mosquitto_pub -t ${EXAMPLE_BASE}/request/${name} ${payload}`;
}

function commandSection(name: CommandName, spec: CommandSpec): string {
  const request = fieldsOf(jsonSchema(spec.schema));
  const lines = [publishCommand(name, spec.example)];
  if (spec.setExample !== undefined) {
    lines.push(`mosquitto_pub -t ${EXAMPLE_BASE}/${name} -m '${spec.setExample.replaceAll("'", `'\\''`)}'`);
  }
  if (isForSources(name, spec)) {
    const payload = spec.setExample ?? JSON.stringify(spec.example);
    lines.push(
      `mosquitto_pub -t ${EXAMPLE_BASE}/source/${exampleParameters['source']}/${name} -m '${payload.replaceAll("'", `'\\''`)}'`,
    );
  }
  const data = replyExamples[name];
  const errors = commandErrors[name] ?? [];
  const limit = spec.timeoutMs === undefined ? '' : ` It is given up after ${duration(spec.timeoutMs)}.`;
  return [
    `### \`${name}\`\n`,
    `${spec.description}${limit}\n`,
    request.length === 0 ? 'The request is empty.\n' : fieldTable(request),
    `\`\`\`sh\n${lines.join('\n')}\n\`\`\`\n`,
    '`data` of the reply:\n',
    fieldTable(fieldsOf(jsonSchema(spec.result))),
    ...(data === undefined ? [] : [json({ status: 'ok', data })]),
    ...(errors.length === 0 ? [] : [errorTable('Errors of its own:', errors)]),
  ].join('\n');
}

function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds >= 7200) return `${seconds / 3600} hours`;
  return seconds >= 120 ? `${seconds / 60} minutes` : `${seconds} s`;
}

const meanings = { ...errorCodes, ...problemCodes };

/** What only the log says, and the errors that answer no command. */
function logCodes(): string {
  const ofCommands = new Set<string>([...commonErrors, ...Object.values(commandErrors).flat()]);
  const codes = [...Object.keys(problemCodes), ...Object.keys(errorCodes)] as (ErrorCode | ProblemCode)[];
  return errorTable(
    'Codes, besides those of the errors below and of what ended a connection to the broker:',
    codes.filter((code) => !ofCommands.has(code)),
  );
}

function errorTable(heading: string, codes: readonly (ErrorCode | ProblemCode)[]): string {
  return [
    `${heading}\n`,
    table(
      ['code', ''],
      codes.map((code) => [`\`${code}\``, meanings[code]]),
    ),
  ].join('\n');
}
