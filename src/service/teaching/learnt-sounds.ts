import type { Logger } from '../../common/log.js';
import type { Learning } from '../../inference/learning.js';
import { NO_HEADS, type HeadsInForce, type LearntHead } from '../../inference/learnt-heads.js';
import type { LearntLabel, LearntLabels, StoredLabel } from '../../learning/labels-store.js';
import type { LearnData } from '../../mqtt/learn-specs.js';
import type { Learnt } from '../../tagging/learnt.js';
import { slugOf } from '../../tagging/slug.js';

type Described = LearnData<'learn/list'>['learnt'][number];

/** The sounds that were taught: what is kept of them, and which of them are at work. */
export interface LearntSounds {
  /** Reads them; each engine gets them before it answers its first window. */
  load(): Promise<void>;
  list(): readonly StoredLabel[];
  /** By its name or slug; undefined where there is none. */
  find(name: string): StoredLabel | undefined;
  /** Keeps one, in place of one of the same name, and sets it to work. Throws what `LearntLabels.save` throws. */
  save(label: LearntLabel): Promise<StoredLabel>;
  /** Returns its name. Throws what `LearntLabels.remove` throws. */
  remove(name: string): Promise<string>;
  /** What the heads of an engine are called, and from which score on they count. */
  learntOf(heads: readonly LearntHead[]): Learnt[];
  /** Which are at work now, and which are not. */
  inForce(heads: HeadsInForce): void;
  /** Why one is not at work; null where it is. */
  stateOf(label: StoredLabel): Pick<Described, 'state' | 'why'>;
  describe(label: StoredLabel): Described;
}

export function createLearntSounds(options: {
  store: LearntLabels;
  learning: () => Pick<Learning, 'setHeads'>;
  log: Logger;
}): LearntSounds {
  const { store, log } = options;
  let all: readonly StoredLabel[] = [];
  let now: HeadsInForce = NO_HEADS;

  async function apply(): Promise<void> {
    now = await options.learning().setHeads(all.map(headOf));
  }

  function stateOf({ slug, model }: StoredLabel): Pick<Described, 'state' | 'why'> {
    const isAtWork = now.heads.some((head) => head.slug === slug && head.modelSha256 === model.sha256);
    if (isAtWork) return { state: 'at_work', why: null };
    const refused = now.refused.find((each) => each.slug === slug);
    if (refused === undefined) return { state: 'cannot', why: 'No model is at work just now.' };
    return { state: refused.code === 'no_embedding' ? 'cannot' : 'teach_again', why: refused.reason };
  }

  return {
    async load() {
      all = await store.load();
      if (all.length === 0) return;
      log.info({}, `Taught sounds: ${all.map(({ name }) => name).join(', ')}`);
      await apply();
    },
    list: () => all,
    find: (name) => all.find(({ slug }) => slug === slugOf(name)),
    async save(label) {
      const stored = await store.save(label, { replace: true });
      all = [...all.filter(({ slug }) => slug !== stored.slug), stored];
      await apply();
      return stored;
    },
    async remove(name) {
      const slug = slugOf(name);
      const found = all.find((each) => each.slug === slug);
      await store.remove(name);
      all = all.filter((each) => each.slug !== slug);
      await apply();
      return found?.name ?? name;
    },
    learntOf: (heads) =>
      heads.map(({ slug }) => {
        const { name, threshold } = all.find((each) => each.slug === slug) ?? { name: slug, threshold: 1 };
        return { name, threshold };
      }),
    inForce: (heads) => void (now = heads),
    stateOf,
    describe(label) {
      const { name, slug, threshold, model, examples, made_at, quality } = label;
      return {
        name,
        slug,
        ...stateOf(label),
        threshold,
        model: model.id,
        examples: examples.length,
        clips: examples.filter(({ kind }) => kind === 'clip').length,
        made_at,
        quality,
      };
    },
  };
}

function headOf({ slug, model, head }: StoredLabel): LearntHead {
  return { slug, modelSha256: model.sha256, weights: head.weights, bias: head.bias };
}
