import type { SourceKind } from '../audio/source.js';
import type { EntryProblem } from './key.js';

/* What holds between the values of an entry of `audio.sources`, and between the entries. */

/** What an entry says of where its sound is. */
export interface Whereabouts {
  readonly source?: SourceKind | 'auto';
  readonly device?: string | number;
  readonly file?: string;
  readonly url?: string;
}

/** The keys that say where the sound of a source is; no entry takes them from the single ones. */
export const WHEREABOUTS = ['source', 'device', 'file', 'url'] as const satisfies (keyof Whereabouts)[];

/** What kind of source an entry asks for. `auto` is the microphone where nothing else is named, and never the demo. */
export function kindOf({ source = 'auto', url = '', file = '' }: Whereabouts): SourceKind {
  if (source !== 'auto') return source;
  return url !== '' ? 'stream' : file !== '' ? 'file' : 'microphone';
}

/** What is wrong within an entry. */
export type Problem = Omit<EntryProblem, 'index'>;

/** An entry, and what is wrong with it by itself. */
export interface ReadEntry {
  /** What could be read of it. */
  entry: Readonly<Record<string, unknown>>;
  problems: readonly Problem[];
}

/** What contradicts itself in an entry of which each value is right. */
export function contradictions(entry: Whereabouts): Problem[] {
  const { source = 'auto', device = '', file = '', url = '' } = entry;
  const kind = kindOf(entry);
  if (url !== '' && file !== '') {
    return [
      { key: 'file', message: 'url is given as well: a source has one place; take one of the two away' },
    ];
  }
  if (kind === 'file' && file === '') {
    return [{ key: 'source', message: '"file" needs file, the path of a recording' }];
  }
  if (kind === 'stream' && url === '' && file === '') {
    return [
      { key: 'source', message: '"stream" needs one of url (a network stream) and file (a recording)' },
    ];
  }
  if ((source === 'microphone' || source === 'demo') && url + file !== '') {
    const key = url === '' ? 'file' : 'url';
    return [{ key, message: `does not go with the source "${source}"; take one of the two away` }];
  }
  if (kind !== 'microphone' && device !== '') {
    return [
      { key: 'device', message: `names a microphone, and the sound comes from a ${kind}; take it away` },
    ];
  }
  return [];
}

/**
 * What each entry has in common with one before it and must not: its name, its microphone. Only entries that are right
 * by themselves are compared: a wrong one goes out whatever the others say, and half of what it means is not known.
 */
export function clashesOf(read: readonly ReadEntry[]): (readonly Problem[])[] {
  const holders = new Map<string, number>();
  return read.map(({ entry, problems }, index) => {
    if (problems.length > 0) return [];
    const claims = claimsOf(entry);
    const taken = claims.filter(({ id }) => holders.has(id));
    if (taken.length === 0) for (const { id } of claims) holders.set(id, index);
    return taken.map(({ id, key, message }) => ({ key, message: message(holders.get(id)!) }));
  });
}

interface Claim extends Pick<Problem, 'key'> {
  id: string;
  /** What is said to an entry that claims the same as the one at `index`. */
  message: (index: number) => string;
}

function claimsOf(entry: Whereabouts & { readonly name?: string }): Claim[] {
  const own: Claim = {
    id: `name ${entry.name ?? ''}`,
    key: 'name',
    message: (index) => `is that of audio.sources[${index}] as well; every source has a name of its own`,
  };
  if (kindOf(entry) !== 'microphone') return [own];
  const device = String(entry.device ?? '').toLowerCase();
  const once = 'a microphone can be opened once';
  return [
    own,
    device === ''
      ? {
          id: 'microphone',
          key: '',
          message: (index) =>
            `listens to the default microphone, as audio.sources[${index}] does, and ${once}: name each with device`,
        }
      : {
          id: `microphone ${device}`,
          key: 'device',
          message: (index) =>
            `names the microphone of audio.sources[${index}], and ${once}: name another, or take one of the two away`,
        },
  ];
}
