import type { ErrorCode } from '../common/error-codes.js';
import { z } from 'zod';
import { SoundpostError } from '../common/errors.js';

/**
 * JSON text checked against a schema.
 * @param text what the file holds.
 * @param file how to call it in a message: its path.
 * @throws SoundpostError with `code` when it is not JSON, or one line per key that is wrong, with what is allowed.
 */
export function parseJson<T>(schema: z.ZodType<T>, text: string, file: string, code: ErrorCode): T {
  let value: unknown;
  try {
    value = JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text);
  } catch (error) {
    throw new SoundpostError(
      code,
      `${file} is not valid JSON: ${(error as Error).message}. Correct the file or install the model again.`,
      { cause: error },
    );
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.slice(0, 8).map((issue) => `  ${describeIssue(schema, issue)}`);
  const more = result.error.issues.length - lines.length;
  if (more > 0) lines.push(`  and ${more} more`);
  throw new SoundpostError(code, `${file} is not right:\n${lines.join('\n')}`);
}

function describeIssue(schema: z.ZodType, issue: z.core.$ZodIssue): string {
  const key = issue.path.length === 0 ? '(the whole file)' : z.core.toDotPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const unknown = issue.keys.map((name) => [...issue.path, name].join('.')).join(', ');
    return `${unknown}: no such key; allowed here: ${allowedKeys(schema, issue.path).join(', ')}`;
  }
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined) {
    const values = discriminatorValues(schema, issue.path);
    return `${key}: expected one of ${values.map((value) => `"${value}"`).join(', ')}`;
  }
  return `${key}: ${issue.message}`;
}

/** The schema without defaults and nulls around it. */
function unwrap(schema: unknown): unknown {
  let inner = schema;
  while (
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodNullable ||
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodPipe
  ) {
    inner = inner instanceof z.ZodPipe ? inner.in : inner.unwrap();
  }
  return inner;
}

/** All the schemas that may stand at a path; more than one below a union. */
function schemasAt(schema: unknown, path: readonly PropertyKey[]): unknown[] {
  const here = unwrap(schema);
  if (here instanceof z.ZodDiscriminatedUnion) {
    if (path.length === 0) return [here];
    return here.options.flatMap((option) => schemasAt(option, path));
  }
  const [head, ...rest] = path;
  if (head === undefined) return [here];
  if (here instanceof z.ZodArray) return schemasAt(here.element, rest);
  if (!(here instanceof z.ZodObject)) return [];
  const next: unknown = here.shape[String(head)];
  return next === undefined ? [] : schemasAt(next, rest);
}

function allowedKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const objects = schemasAt(schema, path).flatMap((at) =>
    at instanceof z.ZodDiscriminatedUnion ? at.options.map(unwrap) : [at],
  );
  return [...new Set(objects.flatMap((at) => (at instanceof z.ZodObject ? Object.keys(at.shape) : [])))];
}

function discriminatorValues(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const name = path.at(-1);
  return schemasAt(schema, path.slice(0, -1))
    .flatMap((at) => (at instanceof z.ZodDiscriminatedUnion ? at.options.map(unwrap) : []))
    .flatMap((option) => (option instanceof z.ZodObject ? [unwrap(option.shape[String(name)])] : []))
    .flatMap((literal) => (literal instanceof z.ZodLiteral ? [...literal.values].map(String) : []));
}
