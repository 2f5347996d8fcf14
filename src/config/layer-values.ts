import { resolve } from 'node:path';
import { readBounded } from '../common/bounded-read.js';
import { editDistance, nearest } from '../common/nearest.js';
import { FormatError } from './format-of.js';
import type { EntryList, Reach } from './key.js';
import type { Candidate, Layer, LayerProblem } from './layers.js';
import { knownAs } from './meant.js';
import { looksLikePath } from './pem.js';
import { keys } from './schema.js';
import { placeOf } from './source-list.js';
import { maxYamlBytes, readYaml } from './yaml-layer.js';

/** The checked value of a key, and where it was written. */
export interface Value {
  value: unknown;
  origin: string;
}

const maxSecretFileBytes = 256 * 1024;

/**
 * What a configuration file says. `wish` is how somebody asked for it, `--config x.yaml`; one that may be missing says
 * nothing where it is.
 */
export function yamlFile(path: string, wish: string, mayBeMissing: boolean): Layer {
  const read = readBounded(path, maxYamlBytes);
  if ('problem' in read) {
    if (mayBeMissing && read.problem === 'does not exist') return { candidates: [], problems: [] };
    const message = `${wish}: the file ${path} ${read.problem}`;
    return { candidates: [], problems: [{ message }], unreadable: true };
  }
  const source = decode(read.bytes);
  if (source === undefined) {
    return { candidates: [], problems: [{ message: `${path}: is not text in UTF-8` }], unreadable: true };
  }
  return readYaml(source, path);
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The checked values of one layer. Of a list the entries that are right are a value where others are not. */
export function valuesOf(
  layer: Layer,
  cwd: string,
): { values: Map<string, Value>; problems: LayerProblem[] } {
  const values = new Map<string, Value>();
  const problems: LayerProblem[] = [];
  const directAndFile = new Map<string, Candidate>();
  for (const candidate of layer.candidates) {
    const other = directAndFile.get(candidate.key);
    if (other) {
      problems.push({
        message: `${candidate.key}: is given twice, by ${other.origin} and by ${candidate.origin}; take one away`,
        key: candidate.key,
      });
      continue;
    }
    directAndFile.set(candidate.key, candidate);
    try {
      const { value, origin } = contentOf(candidate, cwd);
      const { reader, entries } = keys.get(candidate.key)!;
      if (entries === undefined) {
        values.set(candidate.key, { value: reader.read(value), origin });
        continue;
      }
      const list = readEntries({ ...candidate, value, origin }, entries, cwd);
      problems.push(...list.problems);
      if (list.problems.length === 0 || list.entries.length > 0) {
        values.set(candidate.key, { value: list.entries, origin });
      }
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const message = `${candidate.key}${shown(candidate)} (${candidate.origin}): ${error.message}`;
      problems.push({ message, key: candidate.key });
    }
  }
  return { values, problems };
}

/** What was written: the value itself, or what is in the file that it names. */
function contentOf(candidate: Candidate, cwd: string): Value {
  const { value, origin } = candidate;
  const { orPath = false, reader } = keys.get(candidate.key)!;
  const isPath = orPath && typeof value === 'string' && looksLikePath(value);
  if (candidate.isFile !== true && !isPath) return { value, origin };
  const read = candidate.isFile === true ? textOfFile(value, cwd) : textOfPath(value, cwd, reader.allowed);
  if (orPath && looksLikePath(read.text)) throw new FormatError(`must be ${reader.allowed}`);
  return { value: read.text, origin: `${origin}, file ${read.path}` };
}

/** The text in a file that was named as one. */
function textOfFile(value: unknown, cwd: string): { text: string; path: string } {
  const read = textAt(value, cwd);
  if (read === null) throw new FormatError('must be the path of a file');
  if ('problem' in read) throw new FormatError(`the file ${read.path} ${read.problem}`);
  return read;
}

/** The same of a key or a certificate, which may be the thing itself, spoilt: then it is no path to be shown. */
function textOfPath(value: unknown, cwd: string, allowed: string): { text: string; path: string } {
  const read = textAt(value, cwd);
  if (read === null) throw new FormatError(`must be ${allowed}`);
  if ('text' in read) return read;
  throw new FormatError(
    read.isRead ? `the file ${read.problem}` : `must be ${allowed}; taken for a path, it ${read.problem}`,
  );
}

/** The text in a file without the line end behind it, or what is wrong with the file; null for what is no path. */
function textAt(
  value: unknown,
  cwd: string,
): { text: string; path: string } | { problem: string; isRead: boolean; path: string } | null {
  if (typeof value !== 'string' || value.includes('\0') || value.length > 4096) return null;
  const path = resolve(cwd, value);
  const read = readBounded(path, maxSecretFileBytes);
  if ('problem' in read) return { problem: read.problem, isRead: false, path };
  const text = decode(read.bytes)?.replace(/\r?\n$/, '');
  if (text === undefined) return { problem: 'is not text in UTF-8', isRead: true, path };
  return text === '' ? { problem: 'is empty', isRead: true, path } : { text, path };
}

/** The entries of a list that nothing is wrong with, and a problem for each thing that is wrong with the others. */
function readEntries(
  candidate: Candidate,
  list: EntryList,
  cwd: string,
): { entries: readonly object[]; problems: LayerProblem[] } {
  const { key, value, origin, entryOrigins } = candidate;
  const reach: Reach = {
    textOf: (path) => textOfFile(path, cwd).text,
    absolute: (path) => resolve(cwd, path),
    meant: meantInEntry,
  };
  const { entries, problems } = list.read(value, reach);
  const others = entries.length > 0;
  return {
    entries,
    problems: problems.map((problem) => {
      const place = problem.index === null ? origin : (entryOrigins?.[problem.index] ?? origin);
      return {
        message: `${key}${placeOf(problem)} (${place}): ${problem.message}`,
        key,
        ...(others && {
          remains:
            problem.index === null ? 'the first ones go on' : 'the other sources go on without this one',
        }),
      };
    }),
  };
}

/** The key of an entry that was meant: one that is spelt almost so, or what other programs call so. */
function meantInEntry(name: string, known: readonly string[]): string | undefined {
  const close = nearest(name, known);
  if (close !== undefined && editDistance(name, close, 2) <= 2) return close;
  const ownName = (key: string) => key.replace(/^(audio|tagging)\./, '');
  return [`audio.${name}`, `tagging.${name}`, name]
    .flatMap(knownAs)
    .map(ownName)
    .find((key) => known.includes(key));
}

/** ` = "value"` for messages, or nothing where the value is secret, may hold a secret, or is too long. */
function shown(candidate: Candidate): string {
  const spec = keys.get(candidate.key);
  if (!spec || spec.secret || spec.fromFile || candidate.isFile || typeof candidate.value === 'object')
    return '';
  const text = JSON.stringify(candidate.value) as string | undefined;
  return text === undefined || text.length > 80 ? '' : ` = ${text}`;
}
