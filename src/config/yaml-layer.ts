import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type ErrorCode,
  type Node,
} from 'yaml';
import { MAX_SOURCES } from '../common/rules.js';
import { mayComeFromFile, type EntryList } from './key.js';
import { keyHint, type Layer } from './layers.js';
import { keys } from './schema.js';

/** What a configuration file may weigh, in bytes. */
export const maxYamlBytes = 256 * 1024;

/** A file with more problems than this is something else; the search for names that come near takes its time. */
const maxProblems = 100;

/** Sentences of our own: the parser's quote what is in the file, and that may be a password. */
const sentences: Partial<Record<ErrorCode, string>> = {
  DUPLICATE_KEY: 'this key stands here a second time; take one of the two away',
  BAD_INDENT: 'the indentation does not fit what stands above',
  TAB_AS_INDENT: 'there is a tab; YAML is indented with spaces only',
  BAD_ALIAS: 'this alias (*) is broken; text that begins with "*" or "&" must stand in quotes',
  BAD_SCALAR_START: 'text that begins with this sign must stand in quotes',
  TAG_RESOLVE_FAILED: 'tags (!) are not known here; text that begins with "!" must stand in quotes',
  MULTIPLE_DOCS: 'there is a second document ("---"); a configuration is one document',
  MISSING_CHAR: 'a closing quote or bracket, or a space after ":", is missing',
  BAD_DQ_ESCAPE: 'there is a "\\" that means nothing in double quotes; use single quotes',
  BLOCK_AS_IMPLICIT_KEY: 'there is a second ":" on this line; put text with ": " in it in quotes',
  MULTILINE_IMPLICIT_KEY: 'a ":" is missing, or the indentation does not fit what stands above',
};

/**
 * The values in a YAML file. `name` is how messages call the file. Everything that is wrong with it becomes a
 * problem of the layer, with its place as `file:line:column`; nothing is thrown.
 */
export function readYaml(source: string, name: string): Layer {
  const layer: Layer = { candidates: [], problems: [] };
  if (Buffer.byteLength(source) > maxYamlBytes) {
    layer.problems.push({
      message: `${name}: is larger than ${maxYamlBytes / 1024} KiB; that is no configuration`,
    });
    layer.unreadable = true;
    return layer;
  }
  const lines = new LineCounter();
  const place = (offset: number | undefined): string => {
    const { line, col } = lines.linePos(offset ?? 0);
    return `${name}:${line}:${col}`;
  };
  let document: Document;
  try {
    document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  } catch {
    // Only reached by text that is nested thousands of levels deep.
    layer.problems.push({ message: `${name}: is not YAML that can be read` });
    layer.unreadable = true;
    return layer;
  }
  for (const problem of [...document.errors, ...document.warnings].slice(0, maxProblems)) {
    const message = `${place(problem.pos[0])}: ${sentences[problem.code] ?? 'this is not valid YAML'}`;
    layer.problems.push({ message });
  }
  if (layer.problems.length > 0) layer.unreadable = true;
  else walk(document, document.contents, '', layer, place, new Set());
  return layer;
}

function walk(
  document: Document,
  node: unknown,
  prefix: string,
  layer: Layer,
  place: (offset: number | undefined) => string,
  inside: ReadonlySet<unknown>,
): void {
  const section = prefix.slice(0, -1);
  const here = isAlias(node) ? node.resolve(document) : node;
  if (isAlias(node) && !here) {
    layer.problems.push({ message: `${section} (${place(node.range?.[0])}): ${missingAnchor}` });
    return;
  }
  if (here === null || here === undefined || (isScalar(here) && here.value === null)) return;
  const at = place((node as Node).range?.[0]);
  if (!isMap(here)) {
    layer.problems.push({
      message:
        section === ''
          ? `${at}: a configuration is a map of sections, for example "mqtt:" and below it, indented, "url: mqtt://…"`
          : `${section} (${at}): is a section; its keys stand below it, indented: ${keysOf(prefix).join(', ')}`,
    });
    return;
  }
  if (inside.has(here)) {
    layer.problems.push({ message: `${section} (${at}): contains itself` });
    return;
  }
  for (const { key: keyNode, value } of here.items) {
    if (layer.problems.length >= maxProblems) return;
    const position = place((keyNode as Node | null)?.range?.[0]);
    if (!isScalar(keyNode)) {
      layer.problems.push({ message: `${position}: the name of a key must be plain text` });
      continue;
    }
    const key = `${prefix}${String(keyNode.value)}`;
    if (String(keyNode.value).includes('.')) {
      const nested = keys.has(key)
        ? `; write "${key.split('.').join(': { ')}: …${' }'.repeat(key.split('.').length - 1)}", or nested on lines of their own`
        : keyHint(key);
      layer.problems.push({
        message: `${key} (${position}): the name of a key in a file has no "."${nested}`,
        ...(keys.has(key) && { key }),
      });
      continue;
    }
    const base = key.replace(/_file$/, '');
    const known = keys.get(key);
    const fromFile = !known && base !== key ? keys.get(base) : undefined;
    if (known) {
      const read =
        known.entries === undefined
          ? leafOf(document, value, known.reader.typed)
          : listOf(document, value, known.entries, place);
      if ('problem' in read) layer.problems.push({ message: `${key} (${position}): ${read.problem}`, key });
      else if (read.value !== null) layer.candidates.push({ key, origin: position, ...read });
    } else if (fromFile && mayComeFromFile(fromFile)) {
      const read = leafOf(document, value, false);
      if ('problem' in read) {
        layer.problems.push({ message: `${key} (${position}): ${read.problem}`, key: base });
      } else if (read.value !== null) {
        layer.candidates.push({ key: base, value: read.value, origin: position, isFile: true });
      }
    } else if (keysOf(`${key}.`).length > 0) {
      walk(document, value, `${key}.`, layer, place, new Set([...inside, here]));
    } else {
      layer.problems.push({ message: `${key} (${position}): there is no such key${keyHint(key)}` });
    }
  }
}

const missingAnchor = 'is an alias (*) of nothing; text that begins with "*" must stand in quotes';

function keysOf(prefix: string): string[] {
  return [...keys.keys()].filter((key) => key.startsWith(prefix));
}

/**
 * A list of maps and where each of them stands, with the values of each as a key of its own would have them. What is
 * no such list comes back as it is, for the format to refuse.
 */
function listOf(
  document: Document,
  node: unknown,
  entries: EntryList,
  place: (offset: number | undefined) => string,
): { value: unknown; entryOrigins?: readonly string[] } | { problem: string } {
  const list = isAlias(node) ? node.resolve(document) : node;
  if (!isSeq(list)) return leafOf(document, node, true);
  const values: unknown[] = [];
  const entryOrigins: string[] = [];
  // One more than there may be is enough to be refused.
  for (const item of list.items.slice(0, MAX_SOURCES + 1)) {
    entryOrigins.push(place((item as Node | null)?.range?.[0]));
    const entry = isAlias(item) ? item.resolve(document) : item;
    if (!isMap(entry)) {
      const read = leafOf(document, item, true);
      if ('problem' in read) return read;
      values.push(read.value);
      continue;
    }
    const pairs: [string, unknown][] = [];
    for (const { key, value } of entry.items) {
      if (!isScalar(key)) return { problem: 'the name of a key must be plain text' };
      const name = String(key.value);
      const read = leafOf(document, value, entries.isTyped(name));
      if ('problem' in read) return read;
      pairs.push([name, read.value]);
    }
    values.push(Object.fromEntries(pairs));
  }
  return { value: values, entryOrigins };
}

/** The value of a node; text keys take a plain number or word as it was written (`0123` stays `0123`). */
function leafOf(document: Document, node: unknown, typed: boolean): { value: unknown } | { problem: string } {
  try {
    const here = isAlias(node) ? node.resolve(document) : node;
    if (isAlias(node) && !here) return { problem: missingAnchor };
    if (here === null || here === undefined) return { value: null };
    if (isScalar(here)) {
      return { value: !typed && here.value !== null ? (here.source ?? here.value) : here.value };
    }
    return { value: (here as Node).toJS(document, { maxAliasCount: 100 }) as unknown };
  } catch {
    return { problem: 'its aliases (*) cannot be followed, or multiply too much' };
  }
}
