import { z } from 'zod';
import { clipId, sourceName } from '../common/rules.js';
import { DOUBTS } from '../learning/doubts.js';
import { labelName } from '../models/labels.js';
import { remembers, type CommandSpec } from './command.js';

/*
 * The commands about sounds of one's own, in the form of `commandSpecs`: to be spread into it. Nothing of sound goes over
 * MQTT: an example is a time, or a clip that lies on the device.
 */

/** So far back an example may lie. */
export const MOST_SECONDS_AGO = 60;
/** So long an example may be. */
export const MOST_EXAMPLE_SECONDS = 30;
const MOST_NAME = 100;

const moment = z.iso
  .datetime({ offset: true, error: 'has to be a time such as 2026-05-01T22:00:00Z' })
  .max(40);
const time = z.iso.datetime({ precision: 3 });
const count = z.number().int().nonnegative();
const perDay = z.number().nonnegative();
const name = labelName.max(MOST_NAME, `has to have at most ${MOST_NAME} characters`);

const example = z
  .strictObject({
    name: name
      .optional()
      .describe(
        'As in `learn/begin`; left out: what is being taught, of several sounds the one that something was said of last.',
      ),
    seconds_ago: z
      .number('has to be a number')
      .min(0, 'has to be at least 0')
      .max(MOST_SECONDS_AGO, `has to be at most ${MOST_SECONDS_AGO}`)
      .optional()
      .describe('How long ago it was heard, about.'),
    from: moment.optional().describe('Or when it began: it is looked for from then on …'),
    to: moment.optional().describe(`… until then, at most ${MOST_EXAMPLE_SECONDS} s later.`),
    source: sourceName.optional().describe('Which of several sources heard it.'),
    clip: clipId.optional().describe('In place of all that: a clip that holds it.'),
  })
  .refine(({ from, to, seconds_ago: secondsAgo, clip }) => {
    const ways = [from ?? to, secondsAgo, clip].filter((way) => way !== undefined);
    return ways.length <= 1 && (from === undefined) === (to === undefined);
  }, 'has to say when it was heard in one way: `seconds_ago`, `from` and `to`, or a `clip`');

/** How good a taught sound may be expected to be. */
const quality = z.object({
  found: count.describe('Examples that were found by what was learnt from the others.'),
  of: count.describe('Of so many.'),
  false_alarms_per_day: z
    .object({ low: perDay, high: perDay })
    .nullable()
    .describe(
      'Between which bounds they are in 24 hours of what this device hears, with a probability of 0.9; null where it has heard too little to say.',
    ),
  heard_hours: perDay.describe('On so much sound that rests.'),
  is_extrapolated: z
    .boolean()
    .describe(
      'The threshold lies beyond everything that was heard: that is no count, but what it leads one to expect.',
    ),
  heard_before: count.describe(
    'Sounds of the time before it was taught that are taken for it, and do not count as something else.',
  ),
  doubts: z
    .array(z.enum(DOUBTS))
    .describe(
      'Where it is expected to do worse. `misses`: not all examples were found again, since other sounds here are too much like it. `little_heard`: less than a day was listened to, so that sounds of kinds not heard yet may be taken for it. `common`: `heard_before` is too much to be left out, so it does count as something else.',
    ),
});

export const learntSchema = z.object({
  name: z.string(),
  slug: z.string().describe('Its level of `label/<slug>`.'),
  state: z
    .enum(['at_work', 'teach_again', 'cannot'])
    .describe(
      '`at_work`: it is a label like any other. `teach_again`: it was taught with another model, or is damaged. `cannot`: the model at work cannot be taught, or none is at work.',
    ),
  why: z.string().nullable().describe('Why it is not at work, for people; null where it is.'),
  threshold: z
    .number()
    .min(0)
    .max(1)
    .describe('What was found for it; another one may be in force, see `info`.'),
  model: z.string().describe('The model that it was taught with.'),
  examples: count.describe('How many it was taught from.'),
  clips: count.describe('Of how many of them there was a clip, from which it can be taught again.'),
  made_at: z.iso.datetime(),
  quality,
});

const begun = z.object({
  name: z.string(),
  since: time,
  examples: count,
  missing: count.describe('So many more are needed at least.'),
});

/** Only for its types: an entry keeps those of its own schemas. */
function spec<Schema extends z.ZodType, Result extends z.ZodType>(
  entry: CommandSpec<Schema, Result>,
): CommandSpec<Schema, Result> {
  return entry;
}

export const learnSpecs = {
  'learn/begin': spec({
    description:
      'Begins to teach a sound of one’s own under this name, or goes on with it. From then on, and until it is finished or nothing was said for an hour, the sound of the last minute stays in memory, so that an example can be taken from it; it is never written down for that. A restart of the service goes on with what has begun and with the examples that were given, not with that minute of sound. Refused where there is a label or group of this name.',
    schema: z.strictObject({ name }),
    result: begun.extend(remembers),
    example: { name: 'Our doorbell' },
  }),
  'learn/example': spec({
    description: `“That was it”: takes what stands out of the last seconds as an example; or of the time that is given, or of a clip. It is kept as what the network makes of it, and no sound, until \`learn/finish\`; where clips are kept, a clip is made of it too, so that the sound can be taught to another model.`,
    schema: example,
    result: begun.extend({
      from: time.nullable().describe('What was taken: from when …'),
      to: time.nullable().describe('… to when; null for a clip.'),
      seconds: z.number().nonnegative().describe('How long it sounds.'),
      peak_dbfs: z.number().describe('Level of its loudest moment.'),
      clip: z.string().nullable().describe('The clip of it; null where none is made.'),
      ...remembers,
    }),
    example: { name: 'Our doorbell' },
    timeoutMs: 60_000,
  }),
  'learn/finish': spec({
    description:
      'Teaches the sound from its examples, at least three, against what this device has heard. From then on it is a label like any other, with a threshold for at most `learn.false_alarms_per_day`.',
    schema: z.strictObject({ name }),
    result: learntSchema,
    example: { name: 'Our doorbell' },
    exclusive: true,
    timeoutMs: 180_000,
  }),
  'learn/list': spec({
    description:
      'The sounds that were taught, how good each may be expected to be, and those that are being taught.',
    schema: z.strictObject({}),
    result: z.object({
      can_learn: z.boolean().describe('Whether the model at work can be taught.'),
      why: z.string().nullable().describe('Why not, for people.'),
      learnt: z.array(learntSchema),
      begun: z.array(begun),
      background: z
        .object({
          kept: z.boolean().describe('`learn.background`'),
          bytes: count.describe('What it takes on the disk.'),
        })
        .describe(
          'What the device keeps of what it hears day in, day out: no sound, but what the network makes of it.',
        ),
    }),
  }),
  'learn/remove': spec({
    description: 'Forgets a sound that was taught, or one that is being taught.',
    schema: z.strictObject({ name: name.describe('Or its slug.') }),
    result: z.object({ name: z.string(), removed: z.literal(true) }),
    example: { name: 'Our doorbell' },
  }),
} as const;

export type LearnCommandName = keyof typeof learnSpecs;
/** What a handler is given. */
export type LearnInput<K extends LearnCommandName> = z.output<(typeof learnSpecs)[K]['schema']>;
/** The `data` of the reply. */
export type LearnData<K extends LearnCommandName> = z.output<(typeof learnSpecs)[K]['result']>;
