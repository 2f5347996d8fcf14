import { SoundpostError } from '../../common/errors.js';
import { FEWEST_EXAMPLES, MOST_EXAMPLES } from '../../learning/examples.js';
import type { BegunStore, KeptExample, KeptTeaching } from '../../learning/begun-store.js';
import { slugOf } from '../../tagging/slug.js';

export type GivenExample = KeptExample;
export type Begun = KeptTeaching;

/** What is being taught now. A restart goes on with it. */
export interface BegunSounds {
  readonly size: number;
  /** Goes on with what was being taught, but for what nobody has said anything of for too long, and `isOver`. */
  restore(isOver: (teaching: KeptTeaching) => boolean): Promise<void>;
  /** Begins one, or goes on with it. Throws SoundpostError `invalid_request` where too many have begun. */
  begin(name: string): Begun;
  /**
   * By its name; where that is left out, the one that something was said of last. Throws SoundpostError
   * `learn_unknown`.
   */
  get(name?: string): Begun;
  /** Throws SoundpostError `learn_unknown`, `invalid_request` where there are too many, `learn_other_model`. */
  add(name: string, example: GivenExample): Begun;
  /** Returns whether there was one. */
  remove(name: string): boolean;
  list(): readonly Begun[];
  /** Whether what was said last is on the disk. */
  isKept(): Promise<boolean>;
  /** Forgets all of them until the next start. */
  stop(): Promise<void>;
}

/** Nobody teaches more at a time. */
const MOST_BEGUN = 8;
/** What nobody has said anything of for so long has been forgotten by whoever began it. */
const PATIENCE_MS = 3_600_000;

/** @param options.onChange something has begun, or is not being taught any more; `names` are those that are */
export function createBegunSounds(options: {
  store: BegunStore;
  onChange: (names: readonly string[]) => void;
  now?: () => number;
  patienceMs?: number;
}): BegunSounds {
  const { store, now = Date.now, patienceMs = PATIENCE_MS } = options;
  const all = new Map<string, KeptTeaching>();
  const timers = new Map<string, NodeJS.Timeout>();

  let saved: Promise<boolean> = Promise.resolve(true);
  const tell = () => options.onChange([...all.values()].map(({ name }) => name));

  function waitFor(slug: string, ms: number): void {
    clearTimeout(timers.get(slug));
    const timer = setTimeout(() => drop(slug), ms);
    timer.unref();
    timers.set(slug, timer);
  }

  /** Something was said of it. */
  function touch(teaching: Omit<KeptTeaching, 'touchedMs'>): KeptTeaching {
    const slug = slugOf(teaching.name);
    const touched = { ...teaching, touchedMs: now() };
    // The last one is the one that was touched last.
    all.delete(slug);
    all.set(slug, touched);
    waitFor(slug, patienceMs);
    saved = store.keep(touched);
    return touched;
  }

  function drop(slug: string): boolean {
    clearTimeout(timers.get(slug));
    timers.delete(slug);
    const was = all.get(slug);
    if (was === undefined) return false;
    all.delete(slug);
    void store.drop(was.name);
    tell();
    return true;
  }

  function find(name?: string): KeptTeaching {
    const found = name === undefined ? [...all.values()].at(-1) : all.get(slugOf(name));
    if (found !== undefined) return found;
    if (name === undefined) {
      throw new SoundpostError('learn_unknown', 'No sound is being taught: begin with learn/begin.');
    }
    const names = [...all.values()].map((one) => one.name);
    const others = names.length === 0 ? '' : ` What is being taught: ${names.join(', ')}.`;
    throw new SoundpostError(
      'learn_unknown',
      `No sound "${name}" is being taught: begin with learn/begin.${others}`,
    );
  }

  return {
    get size() {
      return all.size;
    },
    async restore(isOver) {
      for (const teaching of await store.load()) {
        const slug = slugOf(teaching.name);
        // A clock that was set back has no say in how long ago that was.
        const leftMs = patienceMs - Math.max(0, now() - teaching.touchedMs);
        if (all.has(slug)) continue;
        if (leftMs <= 0 || all.size >= MOST_BEGUN || isOver(teaching)) void store.drop(teaching.name);
        else {
          all.set(slug, teaching);
          waitFor(slug, leftMs);
        }
      }
      if (all.size > 0) tell();
    },
    begin(name) {
      const slug = slugOf(name);
      const there = all.get(slug);
      if (there === undefined && all.size >= MOST_BEGUN) {
        throw new SoundpostError(
          'invalid_request',
          `${MOST_BEGUN} sounds are being taught already: finish or remove one of them first.`,
        );
      }
      const begun = touch(there ?? { name, sinceMs: now(), examples: [] });
      if (there === undefined) tell();
      return begun;
    },
    get: find,
    add(name, example) {
      const begun = find(name);
      const { examples } = begun;
      if (examples.length >= MOST_EXAMPLES) {
        throw new SoundpostError(
          'invalid_request',
          `"${name}" has ${MOST_EXAMPLES} examples: that is enough.`,
        );
      }
      const other = examples.find(({ modelSha256 }) => modelSha256 !== example.modelSha256);
      if (other !== undefined) {
        touch({ ...begun, examples: [example] });
        throw new SoundpostError(
          'learn_other_model',
          `The model was changed since the other examples of "${name}" were given: they are of no use any more, and this is the first one now.`,
        );
      }
      return touch({ ...begun, examples: [...examples, example] });
    },
    remove: (name) => drop(slugOf(name)),
    list: () => [...all.values()],
    isKept: () => saved,
    async stop() {
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
      all.clear();
      await store.stop();
    },
  };
}

/** So many examples are missing at least. */
export function missingOf({ examples }: Pick<Begun, 'examples'>): number {
  return Math.max(0, FEWEST_EXAMPLES - examples.length);
}
