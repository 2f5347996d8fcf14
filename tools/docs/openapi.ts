import { z } from 'zod';
import { commandSpecs, type CommandName } from '../../src/mqtt/command-specs.js';
import type { CommandSpec } from '../../src/mqtt/command.js';
import { contract, SCHEMA_VERSION, type TopicKey, type TopicSpec } from '../../src/mqtt/contract.js';
import { CLIP_ID } from '../../src/web/clips.js';
import { loginSchema } from '../../src/web/entry.js';
import { commandErrors, commonErrors } from './mqtt/errors.js';
import { replyExamples, topicExamples } from './mqtt/examples.js';
import { jsonSchema, requestSchema, type JsonSchema } from './mqtt/schema.js';

/* What the page's server answers, as an OpenAPI document: made from the schemas of MQTT, since it says the same. */

/** A JSON object of the document. */
type Node = Record<string, unknown>;

const schemaRef = (name: string): Node => ({ $ref: `#/components/schemas/${name}` });
const errorRef = (name: string): Node => ({ $ref: `#/components/responses/${name}` });
/** A name for the document's own maps: `audio/status` is `audioStatus`. */
const nameOf = (text: string): string =>
  text.replace(/[^a-zA-Z0-9]+([a-zA-Z0-9]?)/g, (_, next: string) => next.toUpperCase());

const json = (schema: object, example?: unknown): Node => ({
  'application/json': { schema, ...(example !== undefined && { example }) },
});

/** Codes of replies that only a broker brings about. */
const onlyMqtt: readonly string[] = ['retained', 'invalid_response_topic'];

/** The topics whose documents are in the feed. */
const fed = (Object.entries(contract) as [TopicKey, TopicSpec][]).filter(
  ([key, { direction }]) => direction === 'out' && key !== 'response',
);

/** The `data` of an event of the feed. */
function feedData([key, spec]: [TopicKey, TopicSpec]): JsonSchema {
  const topic = spec.template.replace(/<(\w+)>/g, '{$1}');
  return {
    type: 'object',
    description: `\`event: ${key}\`. ${spec.description}`,
    properties: {
      topic: { type: 'string', description: `\`${topic}\`, below the device’s own part of the topic.` },
      source: { type: 'string', description: 'The source of sound, where the topic names one.' },
      payload: jsonSchema(spec.schema),
    },
    required: ['topic', 'payload'],
    ...(key in topicExamples && {
      examples: [{ topic: topic.replace(/\{\w+\}/g, 'dog'), payload: (topicExamples as Node)[key] }],
    }),
  };
}

const spectrogramColumns = z
  .object({
    source: z.string(),
    start: z.iso.datetime({ precision: 3 }).describe('When the first column begins.'),
    column_ms: z.number().positive().describe('From one column to the next.'),
    bands: z.number().int().positive().describe('Bands of a column.'),
    columns: z.number().int().nonnegative(),
    low: z.number().describe('What a byte of 0 stands for, in the unit of the model’s log-mel.'),
    high: z.number().describe('What a byte of 255 stands for.'),
    data: z.base64().describe('A byte a value, one column after the other, low bands first.'),
  })
  .describe('`event: columns`.');

function commandPath(name: CommandName, spec: CommandSpec): Node {
  const codes = [...(commandErrors[name] ?? []), ...commonErrors].filter((code) => !onlyMqtt.includes(code));
  const data = (replyExamples as Node)[name];
  return {
    post: {
      operationId: nameOf(name),
      tags: ['commands'],
      summary: name,
      description: spec.description,
      requestBody: {
        content: json(requestSchema(spec.schema), spec.example ?? {}),
      },
      responses: {
        200: {
          description: 'It has been done.',
          content: json(
            {
              type: 'object',
              properties: {
                status: { const: 'ok' },
                data: jsonSchema(spec.result),
                transaction: jsonSchema(contract.request.schema).properties?.['transaction'],
              },
              required: ['status', 'data'],
            },
            data === undefined ? undefined : { status: 'ok', data },
          ),
        },
        401: errorRef('NotSignedIn'),
        403: errorRef('Foreign'),
        default: {
          description: `It has not been done; \`error.code\` says why: ${codes.map((code) => `\`${code}\``).join(', ')}.`,
          content: json(schemaRef('Error')),
        },
      },
    },
  };
}

const eventStream = (description: string, names: readonly string[]): Node => ({
  description,
  content: {
    'text/event-stream': {
      schema: {
        type: 'string',
        description: `Server-sent events. Their \`data\` is JSON: ${names.map((name) => `\`#/components/schemas/${name}\``).join(', ')}.`,
      },
    },
  },
});

const plainReply = (data: JsonSchema): Node => ({
  type: 'object',
  properties: { status: { const: 'ok' }, data },
  required: ['status', 'data'],
});

function ownPaths(): Node {
  const nothing = plainReply({ type: 'object' });
  const get = (operationId: string, summary: string, more: Node): Node => ({
    get: { operationId, tags: ['reading'], summary, ...more },
  });
  const signIn = (operationId: string, summary: string, more: Node): Node => ({
    post: { operationId, tags: ['signing in'], summary, security: [], ...more },
  });
  return {
    '/api/session': get('session', 'Whether a password is asked for, and has been given', {
      security: [],
      responses: {
        200: {
          description: 'How it is.',
          content: json(
            plainReply({
              type: 'object',
              properties: { password_required: { type: 'boolean' }, signed_in: { type: 'boolean' } },
              required: ['password_required', 'signed_in'],
            }),
          ),
        },
      },
    }),
    '/api/login': signIn('login', 'Gives the password', {
      requestBody: { required: true, content: json(jsonSchema(loginSchema), { password: 'correct horse' }) },
      responses: {
        200: {
          description: 'It is right; the cookie is the session.',
          headers: { 'Set-Cookie': { schema: { type: 'string' } } },
          content: json(nothing),
        },
        401: { description: '`password_wrong`.', content: json(schemaRef('Error')) },
        403: errorRef('Foreign'),
        429: {
          description: '`too_many_attempts`.',
          headers: { 'Retry-After': { description: 'In seconds.', schema: { type: 'integer' } } },
          content: json(schemaRef('Error')),
        },
      },
    }),
    '/api/logout': signIn('logout', 'Ends the session, and what goes on in it', {
      responses: { 200: { description: 'It has ended.', content: json(nothing) }, 403: errorRef('Foreign') },
    }),
    '/api/feed': get('feed', 'What is published over MQTT, as it comes', {
      description:
        'First the newest document of every topic that is retained, then `ready`, then what is new. The name of an event is the key of its topic.',
      responses: {
        200: eventStream(
          'It goes on until the viewer leaves.',
          fed.map(([key]) => `feed.${nameOf(key)}`),
        ),
        401: errorRef('NotSignedIn'),
        503: errorRef('Full'),
      },
    }),
    '/api/spectrogram': get('spectrogram', 'The log-mel spectrogram that the network sees, as it comes', {
      parameters: [
        {
          name: 'source',
          in: 'query',
          description: 'The source of sound.',
          schema: { type: 'string', default: 'main' },
        },
      ],
      responses: {
        200: eventStream('It goes on until the viewer leaves.', ['SpectrogramColumns']),
        401: errorRef('NotSignedIn'),
        404: errorRef('NotThere'),
        503: errorRef('Full'),
      },
    }),
    '/api/clips/{id}': get('clipSound', 'The recording around an event', {
      description: 'A `Range` of bytes may be asked for.',
      parameters: [
        { name: 'id', in: 'path', required: true, schema: { type: 'string', pattern: CLIP_ID.source } },
      ],
      responses: {
        200: { description: 'The recording.', content: { 'audio/flac': {}, 'audio/wav': {} } },
        206: { description: 'A part of it.', content: { 'audio/flac': {}, 'audio/wav': {} } },
        401: errorRef('NotSignedIn'),
        404: errorRef('NotThere'),
        416: { description: 'It has no such part.' },
      },
    }),
    '/api/openapi.json': get('openapi', 'This document', {
      responses: {
        200: { description: 'It.', content: json({ type: 'object' }) },
        401: errorRef('NotSignedIn'),
      },
    }),
  };
}

/** The server's API as an OpenAPI 3.1 document. */
export function openApi(): Node {
  const commands = Object.entries(commandSpecs) as [CommandName, CommandSpec][];
  const error = (description: string): Node => ({ description, content: json(schemaRef('Error')) });
  return {
    openapi: '3.1.0',
    info: {
      title: 'Soundpost',
      version: String(SCHEMA_VERSION),
      description:
        'What the server of the page answers. Commands and documents are those of MQTT (mqtt.md); web.md says who may.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '../', description: 'Where the page is, whatever stands before it.' }],
    tags: [
      { name: 'reading', description: 'What is heard.' },
      { name: 'commands', description: 'The commands of MQTT, with the same requests and replies.' },
      { name: 'signing in', description: 'Only where `web.password` is set.' },
    ],
    security: [{ session: [] }, {}],
    paths: {
      ...ownPaths(),
      ...Object.fromEntries(
        commands.map(([name, spec]) => [`/api/request/${name}`, commandPath(name, spec)]),
      ),
    },
    components: {
      schemas: {
        Error: errorSchema(),
        SpectrogramColumns: jsonSchema(spectrogramColumns),
        ...Object.fromEntries(fed.map((topic) => [`feed.${nameOf(topic[0])}`, feedData(topic)])),
      },
      responses: {
        NotSignedIn: error('`not_signed_in`.'),
        Foreign: error('`origin_refused`: the request comes from the page of another address.'),
        NotThere: error('`no_such_path`.'),
        Full: error('`too_many_viewers`.'),
      },
      securitySchemes: {
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'soundpost-8099',
          description: 'From `/api/login`; the name has the port, and `__Host-` before it behind https.',
        },
      },
    },
  };
}

function errorSchema(): JsonSchema {
  const { anyOf, oneOf = anyOf } = jsonSchema(contract.response.schema);
  return oneOf!.find(({ properties }) => properties?.['error'] !== undefined)!;
}

/** `config/openapi.json`, which ships with the program. */
export function openApiDocuments(): Record<string, string> {
  return { 'config/openapi.json': `${JSON.stringify(openApi(), null, 1)}\n` };
}
