import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../common/errors.js';
import { createJsonMemory, readCheckedMemory } from '../common/json-memory.js';
import type { Logger } from '../common/log.js';
import { sourceName } from '../common/rules.js';
import type { InstalledModel } from '../models/registry.js';
import { createSourceLink, type LinkOfSource } from '../mqtt/source-link.js';
import { uniqueSlugs } from '../tagging/slug.js';
import type { LabelMemory } from './label-memory.js';

/** The names of sources whose retained topics the broker may have, in `<dataDir>/sources.json`. */
export interface FormerSources {
  /** A last attempt for what is not on the disk yet. */
  stop(): Promise<void>;
}

/** Far above what anybody has: names change with the configuration only. */
const MAX_SOURCES = 1000;
const MAX_BYTES = 64 * 1024;
const fileSchema = z.array(sourceName);

/**
 * Clears what earlier lives have left at the broker and nobody speaks of any more: the retained topics of sources that
 * are gone, and the plain ones where there are several sources now. Whatever the broker has not confirmed is cleared
 * again by the next start. A device that has never had several sources is left as it is, without a file.
 * @param options.sources the names of the sources where there are several now; none where there is one
 * @param options.installed models whose labels may have topics where the memory of labels is incomplete
 */
export function clearFormerSources(options: {
  dataDir: string;
  sources: readonly string[];
  link: LinkOfSource;
  labels: Pick<LabelMemory, 'of' | 'sources'>;
  installed: readonly Pick<InstalledModel, 'labels'>[];
  log: Logger;
}): FormerSources {
  const { sources, link, labels, installed, log } = options;
  const path = join(options.dataDir, 'sources.json');
  const remembered = read(path, log);
  /** Those that are gone first, since the newest of too many are kept. */
  const known = new Set([...remembered.filter((name) => !sources.includes(name)), ...sources]);
  const memory = createJsonMemory({
    path,
    content: () => `${JSON.stringify([...known].slice(-MAX_SOURCES))}\n`,
    failing: (error) =>
      log.warn(
        { code: 'sources_not_written' },
        `${path} cannot be written (${messageOf(error)}): it is written again until it stands. Check that the disk has room and that this user may write there.`,
      ),
  });
  if (sources.some((name) => !remembered.includes(name))) void memory.save();

  /** `source`: null for the plain topics of a life with one source. */
  function clear(source: string | null): void {
    const { topics, publishElsewhere } = createSourceLink(link, source);
    const ofSource = labels.of(source);
    const slugs = new Set([...ofSource.slugs(), ...(ofSource.isIncomplete ? slugsOf(installed) : [])]);
    /** Each topic with what is to be done once the broker has cleared it. */
    const left = new Map<string, () => void>([
      [topics.of('tags'), () => undefined],
      [topics.of('level'), () => undefined],
    ]);
    // The plain one goes on: it says whether sound arrives from all.
    if (source !== null) left.set(topics.of('audio/status'), () => undefined);
    for (const slug of slugs) {
      left.set(topics.of('label', { slug }), () => ofSource.forget(slug));
      publishElsewhere(topics.of('last', { slug }), '');
    }
    for (const [topic, cleared] of [...left]) {
      const delivered = (): void => {
        cleared();
        left.delete(topic);
        if (left.size === 0 && source !== null && known.delete(source)) void memory.save();
      };
      publishElsewhere(topic, '', { delivered });
    }
  }

  if (sources.length > 0) clear(null);
  const ever = new Set([...known, ...labels.sources().filter((source) => source !== null)]);
  for (const name of ever) if (!sources.includes(name)) clear(name);

  return {
    async stop() {
      await memory.stop();
    },
  };
}

function slugsOf(models: readonly Pick<InstalledModel, 'labels'>[]): string[] {
  return models.flatMap(({ labels }) => uniqueSlugs(labels.map(({ name }) => name)));
}

function read(path: string, log: Logger): readonly string[] {
  const found = readCheckedMemory(path, MAX_BYTES, fileSchema);
  if ('value' in found) return [...new Set(found.value)].slice(-MAX_SOURCES);
  if (found.problem === 'none') return [];
  const { reason, fate } = found;
  log.warn(
    { code: 'sources_unreadable' },
    `${path} ${reason}: ${fate === '' ? '' : `${fate}; `}what the broker still has of sources that are gone may stay there`,
  );
  return [];
}
