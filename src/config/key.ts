import type { Format } from './format-of.js';

/** Name of the format that `load.ts` registers with convict. */
export const convictFormat = 'soundpost';

/** A key of the configuration, as a node of a convict schema. */
export interface Key<T> {
  /** One sentence or a few, for people. */
  doc: string;
  default: T;
  /** The one format convict is told of; it asks the `reader`. */
  format: typeof convictFormat;
  reader: Format<T>;
  /** What the default means, where the value alone does not say it. */
  defaultDoc?: string;
  /** Never shown. */
  secret?: boolean;
  /** May also be read from a file that `<key>_file` names; every secret may. */
  fromFile?: boolean;
  /** The value may be the path of a file that holds it. */
  orPath?: boolean;
  /** A path on this machine: made absolute. */
  path?: boolean;
  /** A list of maps with keys of their own: how they are read one by one. */
  entries?: EntryList;
}

/** What is wrong with one entry of a list, or with the list. */
export interface EntryProblem {
  /** Which entry, counted from 0; null where it is the list itself. */
  index: number | null;
  /** The key within the entry, `loud.above_background_db`; empty where it is the entry itself. */
  key: string;
  /** Completes "<place> …" or, after a colon, "<place>: …"; never quotes a value. */
  message: string;
}

/** What reading the entries of a list takes from the world. */
export interface Reach {
  /** The text in a file that a `…_file` key names. Throws a FormatError. */
  textOf(path: unknown): string;
  /** A path of this machine, made absolute. */
  absolute(path: string): string;
  /** The key of an entry that was probably meant by a name that is none. */
  meant(name: string, known: readonly string[]): string | undefined;
}

/** How a list of maps is read, so that what is wrong with one of them is told apart from the others. */
export interface EntryList {
  /** The entries that nothing is wrong with, in their order, and everything that is wrong with the others. */
  read(value: unknown, reach: Reach): { entries: readonly object[]; problems: readonly EntryProblem[] };
  /** Whether a plain YAML scalar under this name is more than the text that it is written with; see `Format.typed`. */
  isTyped(name: string): boolean;
}

type Options<T> = Omit<Key<T>, 'default' | 'format' | 'reader'>;

export function key<T>(reader: Format<T>, defaultValue: NoInfer<T>, options: Options<T>): Key<T> {
  return { default: defaultValue, format: convictFormat, reader, ...options };
}

/** Keys, and sections of keys, by their names. */
export interface Section {
  readonly [name: string]: Section | Key<unknown>;
}

export function isKey(node: Section | Key<unknown>): node is Key<unknown> {
  return node.format === convictFormat;
}

/** The keys of a section with their names, `section.key`, in its order. */
export function leaves(section: Section, prefix: string): [string, Key<unknown>][] {
  return Object.entries(section).flatMap(([name, node]): [string, Key<unknown>][] =>
    isKey(node) ? [[prefix + name, node]] : leaves(node, `${prefix}${name}.`),
  );
}

/** Whether a key may be read from a file that `<key>_file` names. */
export function mayComeFromFile(key: Key<unknown>): boolean {
  return key.secret === true || key.fromFile === true;
}

/** The values of a section. */
export type ValueOf<S> = S extends Key<infer T> ? T : { readonly [K in keyof S]: ValueOf<S[K]> };

/** Some of the values of a section. */
export type PartOf<S> = { readonly [K in keyof S]?: S[K] extends Key<infer T> ? T : PartOf<S[K]> };
