import { join } from 'node:path';
import { messageOf, SoundpostError } from '../../common/errors.js';
import { projectRoot } from '../../common/project.js';
import type { BackgroundStore, HeardBackground, TimeSpan } from '../../learning/background.js';
import { checkExampleCount } from '../../learning/examples.js';
import type { LearntExample, LearntLabel } from '../../learning/labels-store.js';
import type { EmbeddedExample } from '../../learning/leave-one-out.js';
import type { Rows } from '../../learning/rows.js';
import type { TeachSettings } from '../../learning/teach.js';
import { teachApart } from '../../learning/teach-apart.js';
import { embedGeneral, type Embed } from './embed-example.js';

/** What a sound is taught from. */
export interface Lesson {
  readonly name: string;
  readonly examples: readonly (EmbeddedExample & { readonly name: string; readonly origin: LearntExample })[];
  /** What the device has heard in these times is not counted as something else. */
  readonly without: readonly TimeSpan[];
  readonly model: { readonly id: string; readonly sha256: string };
}

/**
 * Makes labels of examples. Throws SoundpostError `learn_too_few`, `learn_differ`, `learn_other_model`, `learn_failed`,
 * `no_resources`, `aborted`, `file_unreadable` where the background cannot be read.
 */
export type Teacher = (lesson: Lesson, signal?: AbortSignal) => Promise<LearntLabel>;

/** @param options.background what the device has heard; null: nothing is kept of that */
export function createTeacher(options: {
  embed: Embed;
  background: Pick<BackgroundStore, 'read'> | null;
  settings: TeachSettings;
  now?: () => number;
}): Teacher {
  const { embed, background, settings, now = Date.now } = options;
  let general: { rows: Rows; modelSha256: string } | null = null;

  async function generalOf(sha256: string): Promise<Rows> {
    if (general?.modelSha256 !== sha256) general = await embedGeneral(embed, DEMO);
    if (general.modelSha256 === sha256) return general.rows;
    throw new SoundpostError(
      'learn_other_model',
      'The model was changed since the examples were given: they are of no use any more. Give them again.',
    );
  }

  async function heardOf(
    sha256: string,
    without: readonly TimeSpan[],
    signal?: AbortSignal,
  ): Promise<HeardBackground> {
    if (background === null) return NOTHING;
    try {
      return await background.read(sha256, { without, ...(signal && { signal }) });
    } catch (error) {
      if (signal?.aborted === true) {
        throw new SoundpostError('aborted', 'The teaching was called off.', { cause: error });
      }
      throw new SoundpostError(
        'file_unreadable',
        `What this device has heard cannot be read (${messageOf(error)}). Nothing was changed.`,
        { cause: error },
      );
    }
  }

  return async ({ name, examples, without, model }, signal) => {
    checkExampleCount(name, examples.length);
    const rows = await generalOf(model.sha256);
    const heard = await heardOf(model.sha256, without, signal);
    const { head, threshold, quality } = await teachApart(
      {
        sound: {
          name,
          examples: examples.map(({ name: example, plain, taught }) => ({ name: example, plain, taught })),
          background: heard,
          general: rows,
        },
        settings,
      },
      signal,
    );
    return {
      name,
      model,
      head,
      threshold,
      examples: examples.map(({ origin }) => origin),
      made_at: new Date(now()).toISOString(),
      quality: {
        found: quality.found,
        of: quality.of,
        false_alarms_per_day: quality.falseAlarmsPerDay,
        heard_hours: quality.heardHours,
        is_extrapolated: quality.isExtrapolated,
        heard_before: quality.heardBefore,
        doubts: [...quality.doubts],
      },
    };
  };
}

const DEMO = join(projectRoot(), 'models', 'demo', 'day-at-home.wav');

const NOTHING: HeardBackground = {
  rows: { codes: new Int8Array(0), scales: new Float32Array(0), count: 0, dim: 0 },
  moments: [],
  heardSeconds: 0,
};
