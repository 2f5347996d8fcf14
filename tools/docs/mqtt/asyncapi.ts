import { stringify } from 'yaml';
import { commandSpecs, type CommandName } from '../../../src/mqtt/command-specs.js';
import { commandErrors, commonErrors } from './errors.js';
import { homeAssistantTopics } from './home-assistant.js';
import { takesSource, type CommandSpec } from '../../../src/mqtt/command.js';
import { contract, SCHEMA_VERSION, type TopicKey, type TopicSpec } from '../../../src/mqtt/contract.js';
import { replyExamples, topicExamples } from './examples.js';
import { jsonSchema, requestSchema, type JsonSchema } from './schema.js';

/** A JSON object of the AsyncAPI document. */
type Node = Record<string, unknown>;

const parameterDescriptions: Record<string, string> = {
  base_topic: '`mqtt.base_topic`; may have several levels.',
  device_id: '`device.id`.',
  prefix: '`homeassistant.prefix`.',
  status_topic: '`homeassistant.status_topic`; may have several levels.',
  slug: 'The name of the label or group in lower case, with `_` for everything that is no letter or digit.',
  id: 'The id of a model.',
  source: 'The name of one of several sources, as in `audio.sources`.',
};

const ref = (path: string) => ({ $ref: `#/${path}` });
/** A name for the document's own maps: `model/set` is `modelSet`. */
const nameOf = (text: string) =>
  text.replace(/[^a-zA-Z0-9]+([a-zA-Z0-9]?)/g, (_, next: string) => next.toUpperCase());
const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function parametersOf(address: string): Node {
  const names = [...address.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  return Object.fromEntries(
    names.map((name) => [name, { description: parameterDescriptions[name] ?? `The ${name}.` }]),
  );
}

/** The contract as an AsyncAPI 3.0 document. */
export function asyncApi(): Node {
  const channels: Node = {};
  const operations: Node = {};
  const messages: Record<string, Node> = {};

  const channel = (name: string, template: string, description: string, message: string): void => {
    const address = `{base_topic}/{device_id}/${template.replace(/<(\w+)>/g, '{$1}')}`;
    channels[name] = {
      address,
      description,
      parameters: parametersOf(address),
      messages: { [message]: ref(`components/messages/${message}`) },
    };
  };
  const bindings = ({ qos, retain, expirySeconds }: TopicSpec): Node => ({
    mqtt: {
      qos,
      retain,
      ...(expirySeconds === null ? {} : { messageExpiryInterval: expirySeconds }),
      bindingVersion: '0.2.0',
    },
  });
  const message = (name: string, summary: string, payload: JsonSchema, more: Node = {}): void => {
    const text = more['contentType'] ?? 'application/json';
    messages[name] = {
      name,
      summary,
      contentType: text,
      payload,
      ...more,
      bindings: { mqtt: { contentType: text, bindingVersion: '0.2.0' } },
    };
  };
  const examplesOf = (value: unknown): Node =>
    value === undefined ? {} : { examples: [{ payload: value }] };

  for (const [key, spec] of Object.entries(contract) as [TopicKey, TopicSpec][]) {
    if (key === 'response' || spec.direction === 'in') continue;
    const name = nameOf(key);
    channel(name, spec.template, spec.description, name);
    message(name, spec.description, jsonSchema(spec.schema), {
      ...(spec.format === 'text' ? { contentType: 'text/plain' } : {}),
      ...examplesOf((topicExamples as Node)[key]),
    });
    operations[`publish${capital(name)}`] = {
      action: 'send',
      channel: ref(`channels/${name}`),
      summary: spec.description,
      messages: [ref(`channels/${name}/messages/${name}`)],
      bindings: bindings(spec),
    };
  }

  for (const [command, spec] of Object.entries(commandSpecs) as [string, CommandSpec][]) {
    const name = nameOf(command);
    const [request, response, set] = [`${name}Request`, `${name}Response`, `${name}Text`];
    const correlation = { correlationId: ref('components/correlationIds/transaction') };
    channel(request, `request/${command}`, `Requests of the command ${command}.`, request);
    channel(response, `response/${command}`, `Replies to the command ${command}.`, response);
    message(request, spec.description, requestSchema(spec.schema), {
      ...correlation,
      ...examplesOf(spec.example ?? {}),
    });
    const data = (replyExamples as Node)[command];
    message(
      response,
      `The one reply to a request of ${command}.`,
      replySchema(command as CommandName, spec),
      {
        ...correlation,
        ...examplesOf(data === undefined ? undefined : { status: 'ok', data }),
      },
    );
    const receive = (channelName: string): Node => ({
      action: 'receive',
      channel: ref(`channels/${channelName}`),
      summary: spec.description,
      messages: [ref(`channels/${channelName}/messages/${channelName}`)],
      bindings: bindings(contract.request),
      reply: {
        channel: ref(`channels/${response}`),
        messages: [ref(`channels/${response}/messages/${response}`)],
      },
    });
    operations[name] = receive(request);
    if (spec.parseSet !== undefined) {
      channel(set, command, `The command ${command} by a bare value.`, set);
      message(
        set,
        spec.description,
        { type: 'string', description: 'The value as plain text.' },
        { contentType: 'text/plain', ...examplesOf(spec.setExample) },
      );
      operations[set] = receive(set);
    }
    if (isForSources(command, spec)) {
      const ofSource = `${name}OfSource`;
      channel(
        ofSource,
        `source/<source>/${command}`,
        `The command ${command} for one of several sources.`,
        ofSource,
      );
      const asText = spec.parseSet !== undefined;
      message(
        ofSource,
        spec.description,
        asText ? { type: 'string', description: 'The value as plain text.' } : requestSchema(spec.schema),
        {
          ...(asText ? { contentType: 'text/plain' } : {}),
          ...examplesOf(asText ? spec.setExample : spec.example),
        },
      );
      operations[ofSource] = receive(ofSource);
    }
  }

  for (const { name, address, description, payload, contentType, action, example } of homeAssistantTopics) {
    channels[name] = {
      address,
      description,
      parameters: parametersOf(address),
      messages: { [name]: ref(`components/messages/${name}`) },
    };
    message(name, description, payload, { contentType, ...examplesOf(example) });
    operations[`${action === 'send' ? 'publish' : 'receive'}${capital(name)}`] = {
      action,
      channel: ref(`channels/${name}`),
      summary: description,
      messages: [ref(`channels/${name}/messages/${name}`)],
      bindings: { mqtt: { qos: 1, ...(action === 'send' ? { retain: true } : {}), bindingVersion: '0.2.0' } },
    };
  }

  return {
    asyncapi: '3.0.0',
    id: 'urn:soundpost:mqtt',
    info: {
      title: 'Soundpost',
      version: String(SCHEMA_VERSION),
      description:
        'Soundpost listens, names what it hears, and posts it over MQTT. This describes it from its own side: it sends what others subscribe to, and receives requests. mqtt.md says the same for people.',
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers: {
      broker: server('mqtt', '1883', 'A broker in a network that is trusted, or the embedded one.'),
      secure: {
        ...server('secure-mqtt', '8883', 'A broker with TLS.'),
        security: [ref('components/securitySchemes/password'), ref('components/securitySchemes/certificate')],
      },
    },
    channels,
    operations,
    components: {
      messages,
      correlationIds: {
        transaction: {
          description:
            'What the requester put into the request. With MQTT 5 correlation data and response topic are honoured as well.',
          location: '$message.payload#/transaction',
        },
      },
      securitySchemes: {
        password: { type: 'userPassword', description: '`mqtt.username` and `mqtt.password`.' },
        certificate: { type: 'X509', description: '`mqtt.cert` and `mqtt.key`.' },
      },
    },
  };
}

/** Whether a command has a topic of its own below `source/<source>/`. */
export function isForSources(command: string, spec: CommandSpec): boolean {
  return command.endsWith('/set') && takesSource(spec);
}

function server(protocol: string, port: string, description: string): Node {
  return {
    host: `{host}:${port}`,
    protocol,
    protocolVersion: '5.0',
    description: `${description} MQTT 5, or 3.1.1 where the broker speaks no 5.`,
    variables: { host: { description: 'Name or address of the broker.', default: 'localhost' } },
    bindings: {
      mqtt: {
        lastWill: { topic: 'soundpost/attic/status', qos: 1, message: 'offline', retain: true },
        bindingVersion: '0.2.0',
      },
    },
  };
}

/** The reply, with the command's own data where it is `ok`, and the codes that it may have where it is `error`. */
function replySchema(command: CommandName, { result }: CommandSpec): JsonSchema {
  const { oneOf = [], anyOf = oneOf, ...rest } = jsonSchema(contract.response.schema);
  const [ok, error] = anyOf;
  const failed = error?.properties?.['error'];
  const code = {
    ...failed?.properties?.['code'],
    examples: [...(commandErrors[command] ?? []), ...commonErrors],
  };
  const properties = {
    ...error?.properties,
    error: { ...failed, properties: { ...failed?.properties, code } },
  };
  return {
    ...rest,
    oneOf: [
      { ...ok, properties: { ...ok?.properties, data: jsonSchema(result) } },
      { ...error, properties },
    ],
  };
}

/** `docs/asyncapi.yaml`. */
export function asyncApiYaml(): string {
  const head = '# Written by "npm run docs" from src/mqtt/contract.ts, payloads.ts and command-specs.ts.\n';
  return head + stringify(asyncApi(), { lineWidth: 110, aliasDuplicateObjects: false });
}
