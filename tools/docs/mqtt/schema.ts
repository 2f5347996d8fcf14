import { z } from 'zod';
import { transactionSchema } from '../../../src/mqtt/contract.js';

/** A JSON Schema (draft 7), as far as the contract uses it. */
export interface JsonSchema {
  type?: string | string[];
  description?: string;
  enum?: unknown[];
  const?: unknown;
  format?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  examples?: unknown[];
  [keyword: string]: unknown;
}

/** One field of a payload. */
export interface Field {
  /** From the payload's root: `window.start`, `tags[].label`; empty for a payload that is one bare value. */
  path: string;
  /** For people: `number or null`, `"ON" or "OFF"`. */
  type: string;
  unit: string;
  optional: boolean;
  description: string;
}

/** What a payload has to look like for who reads it: unknown fields are left to the future. */
export function jsonSchema(schema: z.ZodType): JsonSchema {
  const made = z.toJSONSchema(schema, {
    target: 'draft-7',
    io: 'input',
    unrepresentable: 'any',
  }) as JsonSchema;
  delete made['$schema'];
  return plain(made);
}

/** A request with the `transaction` that every request may carry beside its own fields. */
export function requestSchema(schema: z.ZodType): JsonSchema {
  const add = (object: JsonSchema): JsonSchema => {
    const choices = object.anyOf ?? object.oneOf;
    if (choices !== undefined) return { ...object, anyOf: choices.map(add) };
    return { ...object, properties: { ...object.properties, transaction: jsonSchema(transactionSchema) } };
  };
  return add(jsonSchema(schema));
}

/** In place of a property escape, which readers of JSON Schema understand only in their Unicode mode. */
const NO_CONTROL = '[^\\u0000-\\u001f\\u007f-\\u009f]';

/** Without what only repeats the type: the widest whole number, and the pattern of a format. */
function plain(schema: JsonSchema): JsonSchema {
  const entries = Object.entries(schema).filter(([keyword, value]) => {
    if (keyword === 'maximum') return value !== Number.MAX_SAFE_INTEGER;
    if (keyword === 'minimum') return value !== Number.MIN_SAFE_INTEGER;
    return !(keyword === 'pattern' && schema.format !== undefined);
  });
  const walked = entries.map(([keyword, value]): [string, unknown] => {
    switch (keyword) {
      case 'properties':
        return [
          keyword,
          Object.fromEntries(
            Object.entries(value as Record<string, JsonSchema>).map(([name, inner]) => [name, plain(inner)]),
          ),
        ];
      case 'pattern':
        return [keyword, String(value).replaceAll('\\P{Cc}', NO_CONTROL)];
      case 'anyOf':
      case 'oneOf':
        return [keyword, (value as JsonSchema[]).map(plain)];
      case 'items':
      case 'additionalProperties':
        return [keyword, typeof value === 'object' ? plain(value as JsonSchema) : value];
      default:
        return [keyword, value];
    }
  });
  return Object.fromEntries(walked);
}

const units: Record<string, string> = {
  hz: 'Hz',
  mhz: 'MHz',
  ms: 'ms',
  s: 's',
  seconds: 's',
  // As the contract has it from the beginning; see payloads.ts.
  mb: 'MiB',
  bytes: 'bytes',
  c: '°C',
  percent: '%',
  percentage: '%',
  dbfs: 'dBFS',
  fs: 'dBFS(A)',
  '60s': 'dBFS(A)',
  dba: 'dB(A)',
};

/** The unit that a field's name ends in, or that of the object it is in (`rate_hz.measured`); a count has none. */
function unitOf(path: string): string {
  const names = path.replaceAll('[]', '').split('.').reverse();
  if (names[0] === 'count') return '';
  const name = names.find((part) => (part.split('_').at(-1) ?? '') in units);
  return name === undefined ? '' : units[name.split('_').at(-1) ?? '']!;
}

/** The fields of a payload in the order of the schema; a union's choices one after the other, each field once. */
export function fieldsOf(schema: JsonSchema): Field[] {
  const fields = new Map<string, Field>();
  const visit = (node: JsonSchema, path: string, optional: boolean): void => {
    const choices = (node.anyOf ?? node.oneOf ?? []).filter(({ type }) => type !== 'null');
    const objects = choices.filter(({ properties }) => properties !== undefined);
    const isNamed = path !== '' || (node.properties === undefined && objects.length === 0);
    if (isNamed) {
      const known = fields.get(path);
      const type = typeOf(node);
      const isNumber = /number/.test(type);
      fields.set(path, {
        path,
        type: known === undefined || known.type === type ? type : `${known.type} or ${type}`,
        unit: isNumber ? unitOf(path) : '',
        optional: known === undefined ? optional : known.optional && optional,
        description: known?.description ?? describe(node),
      });
    }
    for (const part of [node, ...choices]) {
      // A field that not every choice has cannot be relied on.
      const inAll = (name: string) => objects.every(({ properties }) => properties?.[name] !== undefined);
      for (const [name, child] of Object.entries(part.properties ?? {})) {
        const given = part.required?.includes(name) === true && (part === node || inAll(name));
        visit(child, path === '' ? name : `${path}.${name}`, !given);
      }
      if (part.items !== undefined && hasParts(part.items)) visit(part.items, `${path}[]`, false);
      const { additionalProperties: named } = part;
      if (typeof named === 'object' && hasParts(named)) visit(named, `${path}.<name>`, false);
    }
  };
  visit(schema, '', false);
  return [...fields.values()].filter(({ path }) => !/(?:\[\]|\.<name>)$/.test(path));
}

function hasParts({ properties, anyOf, oneOf }: JsonSchema): boolean {
  return properties !== undefined || [...(anyOf ?? []), ...(oneOf ?? [])].some(hasParts);
}

function describe(node: JsonSchema): string {
  if (node.description !== undefined) return node.description;
  const described = [...(node.anyOf ?? []), ...(node.oneOf ?? [])].find(({ type }) => type !== 'null');
  return described?.description ?? '';
}

function typeOf(node: JsonSchema): string {
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum !== undefined) return node.enum.map((value) => JSON.stringify(value)).join(' or ');
  const choices = node.anyOf ?? node.oneOf;
  if (choices !== undefined) return [...new Set(choices.map(typeOf))].join(' or ');
  if (node.type === 'array') return `list of ${plural(typeOf(node.items ?? {}))}`;
  if (node.format === 'date-time') return 'time';
  return [node.type ?? 'anything']
    .flat()
    .map((type) => words[type] ?? type)
    .join(' or ');
}

const words: Record<string, string> = {
  integer: 'whole number',
  string: 'text',
  boolean: 'true or false',
};

function plural(type: string): string {
  return type === 'text' || type.startsWith('"') ? type : type.replace(/\b(object|number)\b/g, '$1s');
}
