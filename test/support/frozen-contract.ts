import { z } from 'zod';
import type { CommandSpec } from '../../src/mqtt/command.js';
import type { TopicSpec } from '../../src/mqtt/contract.js';
import { fieldsOf, jsonSchema, type JsonSchema } from '../../tools/docs/mqtt/schema.js';

/** What a payload may hold: each path with its JSON types and words, and the paths that are always there. */
export interface FrozenPayload {
  fields: Record<string, string[]>;
  required: string[];
}

/** Everything about a topic that others rely on. */
export interface FrozenTopic extends FrozenPayload {
  template: string;
  direction: string;
  format: string;
  qos: number;
  retain: boolean;
}

export interface FrozenCommand {
  /** Whether it has a topic for plain text. */
  set: boolean;
  request: FrozenPayload;
  reply: FrozenPayload;
}

function collect(schema: JsonSchema, path: string, fields: Map<string, Set<string>>): void {
  const types = fields.get(path) ?? new Set();
  fields.set(path, types);
  for (const type of [schema.type ?? []].flat()) types.add(type);
  for (const value of schema.enum ?? (schema.const === undefined ? [] : [schema.const])) {
    types.add(JSON.stringify(value));
  }
  for (const choice of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) collect(choice, path, fields);
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    collect(child, path === '' ? name : `${path}.${name}`, fields);
  }
  if (schema.items !== undefined) collect(schema.items, `${path}[]`, fields);
  const { additionalProperties: named } = schema;
  if (typeof named === 'object' && named.properties !== undefined) collect(named, `${path}.<name>`, fields);
}

function freezePayload(schema: z.ZodType): FrozenPayload {
  const fields = new Map<string, Set<string>>();
  collect(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema, '', fields);
  return {
    fields: Object.fromEntries([...fields].map(([path, types]) => [path, [...types].sort()])),
    required: fieldsOf(jsonSchema(schema))
      .filter(({ optional }) => !optional)
      .map(({ path }) => path),
  };
}

export function freezeTopic({ template, direction, format, qos, retain, schema }: TopicSpec): FrozenTopic {
  return { template, direction, format, qos, retain, ...freezePayload(schema) };
}

export function freezeCommand({ parseSet, schema, result }: CommandSpec): FrozenCommand {
  return { set: parseSet !== undefined, request: freezePayload(schema), reply: freezePayload(result) };
}

/** Why somebody who wrote or read the payload before would fail now. */
function payloadBreaks(was: FrozenPayload, now: FrozenPayload, direction: string): string[] {
  const lost = Object.entries(was.fields).flatMap(([path, types]) => {
    const present = now.fields[path];
    if (present === undefined) return [`${path} is gone`];
    return types.filter((type) => !present.includes(type)).map((type) => `${path} is never ${type} any more`);
  });
  // A reader relies on what was always there; a writer has not sent what nobody asked for.
  const [before, after] = direction === 'out' ? [was.required, now.required] : [now.required, was.required];
  const moved = before
    .filter((path) => !after.includes(path))
    .map((path) => (direction === 'out' ? `${path} may be missing` : `${path} has to be there`));
  return [...lost, ...moved];
}

/** What of a topic has changed in another way than by additions. */
export function topicBreaks(was: FrozenTopic, now: FrozenTopic | undefined): string[] {
  if (now === undefined) return ['it is gone'];
  const changed = (['template', 'direction', 'format', 'qos', 'retain'] as const)
    .filter((name) => was[name] !== now[name])
    .map((name) => `${name} was ${was[name]} and is ${now[name]}`);
  return [...changed, ...payloadBreaks(was, now, was.direction)];
}

/** The same for a command. */
export function commandBreaks(was: FrozenCommand, now: FrozenCommand | undefined): string[] {
  if (now === undefined) return ['it is gone'];
  return [
    ...(was.set && !now.set ? ['its topic for plain text is gone'] : []),
    ...payloadBreaks(was.request, now.request, 'in').map((text) => `request: ${text}`),
    ...payloadBreaks(was.reply, now.reply, 'out').map((text) => `reply: ${text}`),
  ];
}
