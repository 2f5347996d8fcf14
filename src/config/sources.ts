import { ONLY_SOURCE } from '../common/only-source.js';
import { deepFreeze } from '../common/deep-freeze.js';
import type { Config, SourceEntry } from './schema.js';
import { kindOf } from './source-rules.js';

/** What the configuration says of one source: whole, whatever an entry of a list leaves out. */
export interface SourceConfig {
  /** What it is called in topics and commands. */
  readonly name: string;
  /** Of a source in a list, `source` is never `auto`. */
  readonly audio: Omit<Config['audio'], 'sources'>;
  readonly tagging: Config['tagging'];
}

/**
 * The sources of a configuration, in the order of its list; without one the one source that the single keys describe,
 * called `main`. What an entry leaves out is as the single keys say, but for where its sound is. Frozen.
 */
export function sourcesOf(
  config: Pick<Config, 'audio' | 'tagging'>,
): readonly [SourceConfig, ...SourceConfig[]] {
  const { sources, ...audio } = config.audio;
  const { tagging } = config;
  const [first, ...others] = sources.map((entry) => withEntry(entry, audio, tagging));
  const one: SourceConfig = { name: ONLY_SOURCE, audio, tagging };
  return deepFreeze(first === undefined ? [one] : [first, ...others]);
}

function withEntry(
  entry: SourceEntry,
  audio: SourceConfig['audio'],
  tagging: SourceConfig['tagging'],
): SourceConfig {
  return {
    name: entry.name,
    audio: {
      ...audio,
      ...pick(entry, keysOf(audio)),
      source: kindOf(entry),
      device: entry.device ?? '',
      file: entry.file ?? '',
      url: entry.url ?? '',
    },
    tagging: {
      ...tagging,
      ...pick(entry, keysOf(tagging)),
      loud: { ...tagging.loud, ...entry.loud },
    },
  };
}

const keysOf = <T extends object>(section: T) => Object.keys(section) as (keyof T & string)[];

/** What an entry gives of these keys. */
function pick<K extends string>(
  entry: SourceEntry,
  keys: readonly K[],
): Pick<SourceEntry, K & keyof SourceEntry> {
  return Object.fromEntries(
    Object.entries(entry).filter(([key]) => (keys as readonly string[]).includes(key)),
  ) as Pick<SourceEntry, K & keyof SourceEntry>;
}
