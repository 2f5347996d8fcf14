import { SoundpostError } from '../../../src/common/errors.js';
import type { ServiceControl } from '../../../src/mqtt/command-table.js';
import { isoTime } from '../../../src/mqtt/contract.js';
import type { LearnData } from '../../../src/mqtt/learn-specs.js';
import { slugOf } from '../../../src/tagging/slug.js';

type Learnt = LearnData<'learn/finish'>;
type Begun = LearnData<'learn/begin'>;

const FEWEST = 3;

/** The commands about taught sounds, with examples that are made up: each is found where nothing is wrong with it. */
export function createDemoLearning(taken: readonly string[]): ServiceControl['learn'] {
  const learnt = new Map<string, Learnt>();
  const begun = new Map<string, Begun>();

  function begunOf(name: string): Begun {
    const found = begun.get(slugOf(name));
    if (found !== undefined) return found;
    throw new SoundpostError('learn_unknown', `No sound "${name}" is being taught: begin with learn/begin.`);
  }

  // Commands reject, they do not throw.
  const answer = <T>(work: () => T): Promise<T> => Promise.resolve().then(work);

  return {
    'learn/begin': ({ name }) =>
      answer(() => {
        const slug = slugOf(name);
        if (learnt.has(slug) || taken.some((label) => slugOf(label) === slug)) {
          throw new SoundpostError('learn_exists', `There is a label "${name}" already.`);
        }
        const one = begun.get(slug) ?? { name, since: isoTime(Date.now()), examples: 0, missing: FEWEST };
        begun.set(slug, one);
        return one;
      }),
    'learn/example': ({ name = [...begun.values()].at(-1)?.name ?? '', clip = null }) =>
      answer(() => {
        const before = begunOf(name);
        const examples = before.examples + 1;
        const one = { ...before, examples, missing: Math.max(0, FEWEST - examples) };
        begun.set(slugOf(name), one);
        const toMs = Date.now() - 900;
        return {
          ...one,
          from: clip === null ? isoTime(toMs - 1800) : null,
          to: clip === null ? isoTime(toMs) : null,
          seconds: 1.8,
          peak_dbfs: -22.4,
          clip,
        };
      }),
    'learn/finish': ({ name }) =>
      answer(() => {
        const { examples, name: asBegun } = begunOf(name);
        if (examples < FEWEST) {
          throw new SoundpostError(
            'learn_too_few',
            `"${name}" has ${examples} examples; at least ${FEWEST} are needed.`,
          );
        }
        const one: Learnt = {
          name: asBegun,
          slug: slugOf(name),
          state: 'at_work',
          why: null,
          threshold: 0.61,
          model: 'soundpost-home',
          examples,
          clips: 0,
          made_at: isoTime(Date.now()),
          quality: {
            found: examples,
            of: examples,
            false_alarms_per_day: { low: 0.2, high: 2.4 },
            heard_hours: 31.5,
            is_extrapolated: true,
            heard_before: 0,
            doubts: [],
          },
        };
        begun.delete(one.slug);
        learnt.set(one.slug, one);
        return one;
      }),
    'learn/list': () =>
      answer(() => ({
        can_learn: true,
        why: null,
        learnt: [...learnt.values()],
        begun: [...begun.values()],
        background: { kept: true, bytes: 18_204_112 },
      })),
    'learn/remove': ({ name }) =>
      answer(() => {
        const slug = slugOf(name);
        const wasThere = [begun.delete(slug), learnt.delete(slug)].includes(true);
        if (!wasThere) throw new SoundpostError('learn_unknown', `No sound "${name}" has been taught.`);
        return { name, removed: true };
      }),
  };
}
