import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import t from 'tap';
import { z } from 'zod';
import { commandSpecs } from '../../src/mqtt/command-specs.js';
import { contract } from '../../src/mqtt/contract.js';
import { openApi, openApiDocuments } from '../../tools/docs/openapi.js';
import { projectPath } from '../support/shared.js';

interface Media {
  schema?: Parameters<typeof z.fromJSONSchema>[0];
  example?: unknown;
}
interface Operation {
  operationId: string;
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { content?: Record<string, Media> }>;
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, { examples?: unknown[] }> };
}

const text = readFileSync(projectPath('config/openapi.json'), 'utf8');
const document = JSON.parse(text) as Document;

t.test('the document is current ("npm run docs" writes it), and ships with the program', (t) => {
  t.equal(openApiDocuments()['config/openapi.json'], text);
  t.same(openApi(), document, 'nothing in it gets lost as JSON');
  const { files } = JSON.parse(readFileSync(projectPath('package.json'), 'utf8')) as { files: string[] };
  t.ok(files.includes('config'));
  t.end();
});

t.test('it is an OpenAPI document', async (t) => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(JSON.parse(text) as Record<string, unknown>);
  t.ok(valid, JSON.stringify(errors));
  t.equal(validator.version, '3.1');
  const broken = JSON.parse(text) as Record<'paths', Record<string, unknown>>;
  broken.paths['/api/feed'] = { get: { responses: 17 } };
  t.notOk((await new Validator().validate(broken)).valid, 'what is none is noticed');
});

t.test('every reference leads somewhere, and every operation has a name of its own', (t) => {
  for (const [, path] of text.matchAll(/"\$ref": "#\/([^"]+)"/g)) {
    const found = path!
      .split('/')
      .reduce<unknown>((node, name) => (node as Record<string, unknown>)[name], document);
    t.ok(found, path ?? '');
  }
  for (const [, name] of text.matchAll(/`#\/components\/schemas\/([\w.]+)`/g)) {
    t.ok(document.components.schemas[name!], name ?? '');
  }
  const names = Object.values(document.paths).flatMap((path) =>
    Object.values(path).map((one) => one.operationId),
  );
  t.equal(new Set(names).size, names.length);
  t.end();
});

t.test('every command and every document of MQTT is in it, with examples that fit', (t) => {
  const fits = (name: string, { schema, example }: Media): void => {
    const result = z.fromJSONSchema(schema!).safeParse(example);
    t.ok(result.success, `${name}: ${result.error?.message}`);
  };
  for (const name of Object.keys(commandSpecs)) {
    const post = document.paths[`/api/request/${name}`]?.['post'];
    fits(`${name}, request`, post!.requestBody!.content['application/json']!);
    fits(`${name}, reply`, post!.responses['200']!.content!['application/json']!);
  }
  let documents = 0;
  for (const [name, schema] of Object.entries(document.components.schemas)) {
    if (!name.startsWith('feed.')) continue;
    documents += 1;
    t.ok(schema.examples?.length, name);
    for (const example of schema.examples ?? []) fits(name, { schema: schema, example });
  }
  const sent = Object.entries(contract).filter(
    ([key, { direction }]) => direction === 'out' && key !== 'response',
  );
  t.equal(documents, sent.length);
  t.end();
});
