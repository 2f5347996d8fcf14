/** The registry of codes against the program: what is thrown, what is logged, and what is documented. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import t from 'tap';
import ts from 'typescript';
import { failedSchema } from '../../src/common/child-messages.js';
import { failed } from '../../src/common/failed.js';
import { errorCodes, isErrorCode, problemCodes } from '../../src/common/error-codes.js';
import { commandErrors, commonErrors } from '../../tools/docs/mqtt/errors.js';
import { projectPath } from '../support/shared.js';

interface Source {
  /** Modules of the project that it imports. */
  imports: readonly string[];
  /** First arguments of `new SoundpostError`, and what else is given as a code. */
  thrown: readonly string[];
  /** Codes of lines of the log. */
  logged: readonly string[];
  texts: ReadonlySet<string>;
}

function read(path: string): Source {
  const file = ts.createSourceFile(
    path,
    readFileSync(projectPath(path), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const imports: string[] = [];
  const thrown: string[] = [];
  const logged: string[] = [];
  const texts = new Set<string>();
  const literals = (node: ts.Node, into: string[]): void => {
    if (ts.isStringLiteral(node)) into.push(node.text);
    else if (ts.isConditionalExpression(node)) {
      literals(node.whenTrue, into);
      literals(node.whenFalse, into);
    }
  };
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteral(node)) texts.add(node.text);
    if (
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) &&
      node.moduleSpecifier !== undefined &&
      ts.isStringLiteral(node.moduleSpecifier) &&
      node.moduleSpecifier.text.startsWith('.')
    )
      imports.push(normalize(join(dirname(path), node.moduleSpecifier.text.replace(/\.js$/, '.ts'))));
    if (ts.isNewExpression(node) && node.expression.getText() === 'SoundpostError') {
      const [code] = node.arguments ?? [];
      if (code !== undefined) literals(code, thrown);
    }
    if (ts.isCallExpression(node) && /^(?:[\w.]*\.)?log[.[]/.test(node.expression.getText())) {
      const [fields] = node.arguments;
      if (fields !== undefined && ts.isObjectLiteralExpression(fields)) {
        for (const property of fields.properties) {
          if (ts.isPropertyAssignment(property) && property.name.getText() === 'code')
            literals(property.initializer, logged);
        }
      }
    }
    // Codes that a function is given, such as readSmallText(path, bytes, 'model_manifest').
    if (
      ts.isCallExpression(node) &&
      /^(?:parseJson|readSmallText|readJson\w*)$/.test(node.expression.getText())
    ) {
      for (const given of node.arguments) {
        if (ts.isStringLiteral(given) && isErrorCode(given.text)) thrown.push(given.text);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return { imports, thrown, logged, texts };
}

const sources = new Map<string, Source>();
for (const folder of ['src', 'tools']) {
  for (const path of readdirSync(projectPath(folder), { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.ts')) sources.set(join(folder, path), read(join(folder, path)));
  }
}
const REGISTRY = join('src', 'common', 'error-codes.ts');
const DOCUMENTS = join('tools', 'docs', 'mqtt', 'errors.ts');

t.test('every code is used, and none is both', (t) => {
  const used = new Set(
    [...sources]
      .filter(([path]) => ![REGISTRY, DOCUMENTS].includes(path))
      .flatMap(([, { texts }]) => [...texts]),
  );
  for (const code of [...Object.keys(errorCodes), ...Object.keys(problemCodes)]) t.ok(used.has(code), code);
  t.same(
    Object.keys(problemCodes).filter((code) => isErrorCode(code)),
    [],
  );
  t.end();
});

t.test('the log has no other codes', (t) => {
  for (const [path, { logged }] of sources) {
    for (const code of logged) t.ok(isErrorCode(code) || code in problemCodes, `${code} in ${path}`);
  }
  t.end();
});

/** All modules that these import, and they themselves. */
function reachable(...entries: string[]): Set<string> {
  const seen = new Set<string>();
  const go = (path: string): void => {
    if (seen.has(path) || !sources.has(path)) return;
    seen.add(path);
    for (const next of sources.get(path)!.imports) go(next);
  };
  entries.forEach(go);
  return seen;
}

/** Modules in which a command does its work, those of its processes too. */
const works = {
  'model/set': [
    'src/inference/start-engine.ts',
    'src/inference/process.ts',
    'src/models/registry.ts',
    'src/install/update-lock.ts',
  ],
  'model/pull': [
    'src/install/installer.ts',
    'src/convert/process.ts',
    'src/inference/start-engine.ts',
    'src/inference/process.ts',
  ],
} as const;

/** What is thrown there, and cannot come of a command. */
const notThere: Readonly<Record<string, string>> = {
  usage: 'of the command line',
  onnx_facts: 'of an import on the command line',
  onnx_invalid: 'of the graph builder, which would be at fault',
  bad_request: 'of a window that the program itself made',
  bad_buffer: 'of a buffer that the program itself made',
  audio_too_short: 'of recordings',
  no_embedding: 'of learning, where heads that do not fit are told and not thrown',
  clip_too_short: 'of sound that is shorter than any window',
  architecture_unknown: 'of a name that is typed; the catalogue is held to those there are',
  model_bundled: 'of model/remove',
  model_in_use: 'of model/remove',
  model_shadowed: 'of a list of models, where it is told and not thrown',
  download_note: 'of a note that is then written anew',
};

for (const [command, entries] of Object.entries(works)) {
  t.test(`what may go wrong in ${command} is documented`, (t) => {
    const documented: readonly string[] = [
      ...commonErrors,
      ...(commandErrors[command as keyof typeof works] ?? []),
    ];
    const modules = reachable(...entries);
    t.ok(modules.size > 10, `${modules.size} modules`);
    for (const path of modules) {
      for (const code of sources.get(path)!.thrown) {
        if (code in notThere) continue;
        t.ok(documented.includes(code), `${code} of ${path}`);
      }
    }
    t.end();
  });
}

t.test('the documents name no code twice, and none without need', (t) => {
  for (const [command, codes] of Object.entries({ any: commonErrors, ...commandErrors })) {
    t.equal(new Set(codes).size, codes.length, command);
  }
  t.end();
});

t.test('what a child says of its failure is told, however long and with whatever code', (t) => {
  const said = failedSchema.parse({ ...failed(new Error('x'.repeat(20_000))), code: 'unheard_of' });
  t.equal(said.code, 'internal');
  t.equal(said.message.length, 10_000);
  t.end();
});
