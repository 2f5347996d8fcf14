import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import t from 'tap';
import { parse } from 'yaml';
import { z } from 'zod';
import { commandSpecs, type CommandName } from '../../src/mqtt/command-specs.js';
import type { CommandSpec } from '../../src/mqtt/command.js';
import { contract, type OutKey, type TopicSpec } from '../../src/mqtt/contract.js';
import { mosquittoAcl } from '../../tools/docs/mqtt/acl.js';
import { isForSources } from '../../tools/docs/mqtt/asyncapi.js';
import { replyExamples, topicExamples } from '../../tools/docs/mqtt/examples.js';
import { mqttDocuments } from '../../tools/docs/mqtt/index.js';
import { publishCommand } from '../../tools/docs/mqtt/markdown.js';
import { fieldsOf, jsonSchema, requestSchema } from '../../tools/docs/mqtt/schema.js';
import { projectPath } from '../support/shared.js';

const topics = Object.entries(contract) as [OutKey, TopicSpec][];
const outgoing = topics.filter(
  ([key, { direction }]) => direction === 'out' && key !== ('response' as string),
);
const commands = Object.entries(commandSpecs) as [CommandName, CommandSpec][];
const guide = readFileSync(projectPath('docs/mqtt.md'), 'utf8');
const yaml = readFileSync(projectPath('docs/asyncapi.yaml'), 'utf8');

t.test('the generated documents are current ("npm run docs" writes them)', (t) => {
  for (const [path, content] of Object.entries(mqttDocuments())) {
    t.equal(readFileSync(projectPath(path), 'utf8'), content, path);
  }
  t.end();
});

t.test('every topic and every command is explained, with an example that keeps the contract', (t) => {
  for (const [key, spec] of outgoing) {
    t.match(guide, `### \`B/${spec.template}\`\n`, key);
    const fields = fieldsOf(jsonSchema(spec.schema));
    t.ok(fields.length > 0, `${key} has fields`);
    const result = spec.schema.safeParse(topicExamples[key]);
    t.ok(result.success, `${key}: ${result.error?.message}`);
  }
  for (const [name, spec] of commands) {
    t.match(guide, `### \`${name}\`\n`, name);
    t.match(guide, publishCommand(name, spec.example), `${name}: what to type`);
    const request = spec.schema.safeParse(spec.example ?? {});
    t.ok(request.success, `${name}: ${request.error?.message}`);
    const reply = spec.result.safeParse(replyExamples[name]);
    t.ok(reply.success, `${name}: ${reply.error?.message}`);
    t.equal(
      spec.setExample === undefined,
      spec.parseSet === undefined,
      `${name}: an example for each plain topic`,
    );
    if (spec.parseSet !== undefined) {
      t.ok(spec.schema.safeParse(spec.parseSet(spec.setExample!)).success, `${name} ${spec.setExample}`);
    }
  }
  t.end();
});

t.test('the AsyncAPI document', async (t) => {
  const { document, diagnostics } = await new Parser().parse(yaml);
  const found = diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path, message }));
  t.same(
    // 3.1 exists; the tools of today read 3.0.
    found.filter(({ code }) => code !== 'asyncapi-latest-version'),
    [],
    'neither errors nor warnings',
  );
  t.equal(document?.version(), '3.0.0');

  const plainCommands = commands.filter(([, { parseSet }]) => parseSet !== undefined);
  const forSources = commands.filter(([name, spec]) => isForSources(name, spec));
  const operations = document!.operations().all();
  t.equal(
    operations.filter((one) => one.isSend()).length,
    outgoing.length + 2,
    'all topics, and the discovery of boxes and of sources',
  );
  t.equal(
    operations.filter((one) => one.isReceive()).length,
    commands.length + plainCommands.length + forSources.length + 1,
    'all commands, those for one of several sources, and the birth message',
  );
  t.ok(
    operations.every((one) => one.isSend() || /Birth$/.test(one.id()!) || one.reply() !== undefined),
    'each command is answered',
  );
  const addresses = new Set(
    document!
      .channels()
      .all()
      .map((channel) => channel.address()),
  );
  for (const [, { template }] of outgoing) {
    t.ok(addresses.has(`{base_topic}/{device_id}/${template.replace(/<(\w+)>/g, '{$1}')}`), template);
  }
  for (const [name] of commands) {
    t.ok(addresses.has(`{base_topic}/{device_id}/request/${name}`), name);
    t.ok(addresses.has(`{base_topic}/{device_id}/response/${name}`), name);
  }
  for (const [name] of forSources) {
    t.ok(addresses.has(`{base_topic}/{device_id}/source/{source}/${name}`), name);
  }
});

t.test('its schemas take its examples, and nothing else', (t) => {
  interface Message {
    payload: object;
    examples?: { payload: unknown }[];
  }
  const { components } = parse(yaml) as { components: { messages: Record<string, Message> } };
  for (const [name, { payload, examples = [] }] of Object.entries(components.messages)) {
    const schema = z.fromJSONSchema(payload as Parameters<typeof z.fromJSONSchema>[0]);
    t.ok(examples.length > 0, `${name} has an example`);
    for (const example of examples) {
      const result = schema.safeParse(example.payload);
      t.ok(result.success, `${name}: ${result.error?.message}`);
    }
    t.notOk(schema.safeParse(17).success, `${name} is not everything`);
  }
  t.end();
});

t.test('schemas for readers', (t) => {
  const schema = z.object({ at: z.iso.datetime().describe('When.'), n: z.number().int().nullable() });
  t.same(jsonSchema(schema), {
    type: 'object',
    properties: {
      at: { type: 'string', format: 'date-time', description: 'When.' },
      n: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
    },
    required: ['at', 'n'],
  });
  t.same(
    fieldsOf(jsonSchema(z.object({ wait_ms: z.number().optional(), o: z.object({ rate_hz: z.number() }) }))),
    [
      { path: 'wait_ms', type: 'number', unit: 'ms', optional: true, description: '' },
      { path: 'o', type: 'object', unit: '', optional: false, description: '' },
      { path: 'o.rate_hz', type: 'number', unit: 'Hz', optional: false, description: '' },
    ],
  );
  const byName = z.object({ sources: z.record(z.string(), z.object({ level_dbfs: z.number() })) });
  t.same(
    fieldsOf(jsonSchema(byName)).map(({ path, unit }) => [path, unit]),
    [
      ['sources', ''],
      ['sources.<name>.level_dbfs', 'dBFS'],
    ],
  );
  const choice = z.union([z.strictObject({ a: z.string() }), z.strictObject({ b: z.string() })]);
  t.same(
    fieldsOf(jsonSchema(choice)).map(({ path, optional }) => [path, optional]),
    [
      ['a', true],
      ['b', true],
    ],
  );
  const withTransaction = z.fromJSONSchema(requestSchema(choice) as Parameters<typeof z.fromJSONSchema>[0]);
  t.ok(withTransaction.safeParse({ a: 'x', transaction: 3 }).success);
  t.notOk(withTransaction.safeParse({ a: 'x', c: 3 }).success);
  t.end();
});

t.test('the access rules', (t) => {
  const acl = mosquittoAcl();
  for (const [, { template, direction }] of topics) {
    const path = template.replace(/<command>$/, '#').replace(/<\w+>/g, '+');
    t.match(acl, `pattern ${direction === 'out' ? 'write' : 'read'} soundpost/%u/${path}\n`, template);
  }
  t.notMatch(acl, /^topic (read|write|readwrite) #/m, 'nobody may do everything');
  t.notMatch(acl, /^pattern write soundpost\/%u\/#/m);
  t.end();
});
