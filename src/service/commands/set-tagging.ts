import { SoundpostError } from '../../common/errors.js';
import { didYouMean } from '../../common/nearest.js';
import type { Config } from '../../config/schema.js';
import { persistence, type StateStore } from '../../config/state-store.js';
import type { Pipeline } from '../../inference/pipeline.js';
import type { ServiceControl } from '../../mqtt/command-table.js';
import { describeUnknown } from '../../tagging/unknown.js';
import type { TaggingSettings } from '../../tagging/watch.js';
import type { Announcer } from '../announcer.js';
import type { PublishInfo } from '../info.js';
import { labelNames } from '../remembered.js';
import type { StateHolder } from '../state.js';

/** The commands that say what is watched, and from which score on it counts. */
export function createTaggingCommands(options: {
  config: Config;
  pipeline: Pick<Pipeline, 'ready' | 'model'>;
  announcer: Pick<Announcer, 'update' | 'preview' | 'watched' | 'nameOf'>;
  state: StateHolder;
  store: Pick<StateStore, 'set'>;
  /** Those in force at the start. */
  tagging: TaggingSettings;
  publishInfo: PublishInfo;
}): Pick<ServiceControl, 'setThreshold' | 'setLabels'> {
  const { config, pipeline, announcer, state, store, publishInfo } = options;
  let { tagging } = options;

  async function setForAll(value: number | null) {
    tagging = { ...tagging, threshold: value };
    announcer.update(tagging);
    state.change({ threshold: value });
    const saved = await store.set('threshold', value, config.tagging.threshold);
    await publishInfo({ look: false });
    return { threshold: value, ...persistence(saved) };
  }

  async function setForOne(value: number | null, label: string) {
    // What is kept for a label of another model can be taken back as well.
    const kept = value === null && Object.hasOwn(tagging.thresholds, label) ? label : null;
    // While no model is at work nobody can say whether it has the label, as of those in the configuration.
    const name = announcer.nameOf(label) ?? kept ?? (pipeline.ready ? null : label);
    if (name === null) throw labelUnknown(label);
    const thresholds = withThreshold(tagging.thresholds, name, value, (key) => announcer.nameOf(key) ?? key);
    tagging = { ...tagging, thresholds };
    announcer.update(tagging);
    const saved = await store.set('thresholds', thresholds, config.tagging.thresholds);
    await publishInfo({ look: false });
    return { threshold: value, label: name, ...persistence(saved) };
  }

  function labelUnknown(label: string): SoundpostError {
    const names = [...announcer.watched(), ...pipeline.model.labels].map((known) => known.name);
    return new SoundpostError(
      'label_unknown',
      `${pipeline.model.manifest.id} has no label or group "${label}".${didYouMean(label, names)} Take a name as it is in B/tags.`,
    );
  }

  return {
    setThreshold: (value, label) => (label === undefined ? setForAll(value) : setForOne(value, label)),

    async setLabels(labels) {
      const next = { ...tagging, labels };
      const asked = new Set(labels.flatMap((entry) => (typeof entry === 'string' ? [entry] : entry.labels)));
      const meaning = announcer.preview(next);
      // Thresholds may be kept for labels that another model has: those are not what was asked for.
      const unknown = (meaning?.unknown ?? []).filter(({ name }) => asked.has(name));
      if (labels.length > 0 && meaning?.items.length === 0) {
        throw new SoundpostError(
          'label_unknown',
          `${state.now.model ?? 'The model'} knows none of these labels: ${describeUnknown(unknown)}. Nothing was changed.`,
        );
      }
      announcer.update(next);
      tagging = next;
      state.change({ labels: labelNames(labels) });
      const saved = await store.set('labels', labels, config.tagging.labels);
      await publishInfo({ look: false });
      return { labels: announcer.watched(), unknown, ...persistence(saved) };
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
