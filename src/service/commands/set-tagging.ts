import { SoundpostError } from '../../common/errors.js';
import { didYouMean } from '../../common/nearest.js';
import { persistence } from '../../config/state-store.js';
import type { Pipeline } from '../../inference/pipeline.js';
import type { CommandData } from '../../mqtt/command-specs.js';
import type { ServiceControl } from '../../mqtt/command-table.js';
import { describeUnknown } from '../../tagging/unknown.js';
import type { TaggingSettings } from '../../tagging/watch.js';
import type { PublishInfo } from '../info.js';
import type { Listening } from '../listening.js';
import { labelNames } from '../remembered.js';
import { meant } from '../which-source.js';

/** The commands that say what is watched, and from which score on it counts. */
export function createTaggingCommands(options: {
  pipeline: Pick<Pipeline, 'ready' | 'model'>;
  sources: readonly Listening[];
  publishInfo: PublishInfo;
}): Pick<ServiceControl, 'setThreshold' | 'setLabels'> {
  const { pipeline, sources, publishInfo } = options;
  const tagging = new Map(sources.map((source) => [source, createSourceTagging(source, pipeline)]));
  const of = (name: string | undefined) => meant(name, sources).map((source) => tagging.get(source)!);

  /** All is looked at before anything is changed. */
  async function carryOut<Data extends { persisted?: boolean | undefined }>(
    plans: readonly (() => Promise<Data>)[],
  ): Promise<Data[]> {
    const done: Data[] = [];
    for (const plan of plans) done.push(await plan());
    await publishInfo({ look: false });
    return done;
  }

  return {
    async setThreshold(value, label, name) {
      const plans = of(name).map((source) =>
        label === undefined ? source.planForAll(value) : source.planForOne(value, label),
      );
      const done = await carryOut(plans);
      return { ...done[0]!, ...persistence(done.every(isPersisted)) };
    },

    async setLabels(labels, name) {
      const done = await carryOut(of(name).map((source) => source.planLabels(labels)));
      return {
        labels: uniqueBy(
          done.flatMap((each) => each.labels),
          ({ slug }) => slug,
        ),
        unknown: uniqueBy(
          done.flatMap((each) => each.unknown),
          (each) => each.name,
        ),
        ...persistence(done.every(isPersisted)),
      };
    },
  };
}

const isPersisted = ({ persisted }: { persisted?: boolean | undefined }): boolean => persisted !== false;

function uniqueBy<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [keyOf(item), item])).values()];
}

/** What is set of one source. A plan throws what is wrong before it is carried out; until then nothing has changed. */
interface SourceTagging {
  planForAll(value: number | null): () => Promise<CommandData<'threshold/set'>>;
  planForOne(value: number | null, label: string): () => Promise<CommandData<'threshold/set'>>;
  planLabels(labels: TaggingSettings['labels']): () => Promise<CommandData<'labels/set'>>;
}

function createSourceTagging(
  { announcer, state, store, config, wishes }: Listening,
  pipeline: Pick<Pipeline, 'ready' | 'model'>,
): SourceTagging {
  let { tagging } = wishes;

  function labelUnknown(label: string): SoundpostError {
    const names = [...announcer.watched(), ...pipeline.model.labels].map((known) => known.name);
    return new SoundpostError(
      'label_unknown',
      `${pipeline.model.manifest.id} has no label or group "${label}".${didYouMean(label, names)} Take a name as it is in B/tags.`,
    );
  }

  return {
    planForAll: (value) => async () => {
      tagging = { ...tagging, threshold: value };
      announcer.update(tagging);
      state.change({ threshold: value });
      const saved = await store.set('threshold', value, config.tagging.threshold);
      return { threshold: value, ...persistence(saved) };
    },

    planForOne(value, label) {
      // What is kept for a label of another model can be taken back as well.
      const kept = value === null && Object.hasOwn(tagging.thresholds, label) ? label : null;
      // While no model is at work nobody can say whether it has the label, as of those in the configuration.
      const name = announcer.nameOf(label) ?? kept ?? (pipeline.ready ? null : label);
      if (name === null) throw labelUnknown(label);
      return async () => {
        const thresholds = withThreshold(
          tagging.thresholds,
          name,
          value,
          (key) => announcer.nameOf(key) ?? key,
        );
        tagging = { ...tagging, thresholds };
        announcer.update(tagging);
        const saved = await store.set('thresholds', thresholds, config.tagging.thresholds);
        return { threshold: value, label: name, ...persistence(saved) };
      };
    },

    planLabels(labels) {
      const next = { ...tagging, labels };
      const asked = new Set(labels.flatMap((entry) => (typeof entry === 'string' ? [entry] : entry.labels)));
      const meaning = announcer.preview(next);
      // Thresholds may be kept for labels that another model has: those are not what was asked for.
      const unknown = (meaning?.unknown ?? []).filter(({ name }) => asked.has(name));
      if (labels.length > 0 && meaning?.items.length === 0) {
        throw new SoundpostError(
          'label_unknown',
          `${pipeline.ready ? pipeline.model.manifest.id : 'The model'} knows none of these labels: ${describeUnknown(unknown)}. Nothing was changed.`,
        );
      }
      return async () => {
        tagging = { ...tagging, labels };
        announcer.update(tagging);
        state.change({ labels: labelNames(labels) });
        const saved = await store.set('labels', labels, config.tagging.labels);
        return {
          labels: announcer.watched(),
          unknown: unknown.map((each) => ({ ...each })),
          ...persistence(saved),
        };
      };
    },
  };
}

/**
 * The thresholds with that of one label changed, or taken out (null). The same label may be there by its MID or in
 * another case.
 * @param nameOf how a key is spelt by the model at work
 */
export function withThreshold(
  thresholds: TaggingSettings['thresholds'],
  name: string,
  value: number | null,
  nameOf: (key: string) => string,
): TaggingSettings['thresholds'] {
  const others = Object.entries(thresholds).filter(([key]) => nameOf(key) !== name);
  return Object.fromEntries(value === null ? others : [...others, [name, value]]);
}
