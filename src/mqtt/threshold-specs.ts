import { z } from 'zod';
import { numberFrom } from '../common/rules.js';
import type { CommandSpec } from './command.js';

/*
 * The commands about thresholds from life, in the form of `commandSpecs`: to be spread into it.
 */

/** So many labels are told of in one reply. */
export const MAX_SUGGESTIONS = 100;

const name = z.string().trim().min(1, 'has to have a name in it').max(200);
const score = z.number().min(0).max(1);
const count = z.number().int().nonnegative();
const perDay = z.number().nonnegative();

const request = z.strictObject({
  label: name
    .optional()
    .describe('Name or slug of a watched label or group; all of them where it is left out.'),
  source: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('One of several sources, by its name; left out: each of them for itself.'),
  per_day: numberFrom(0.01, 1000)
    .optional()
    .describe('How often in 24 hours of sound it may start; once where it is left out.'),
  days: numberFrom(1, 90).optional().describe('How far back is looked; 7 where it is left out.'),
});

const judged = z
  .object({
    right: count,
    wrong: count,
    precision: score.nullable().describe('The part of them that was right; null where nobody said anything.'),
    suggested_right: count
      .nullable()
      .describe('Of the right ones, how many reach the suggested threshold; null where there is none.'),
    suggested_wrong: count.nullable().describe('Of the wrong ones, how many reach it.'),
    without_wrong: z
      .object({
        threshold: score.describe('The lowest one that none of the wrong ones reaches.'),
        loses: count.describe('How many of the right ones do not reach it either.'),
      })
      .nullable()
      .describe('Null where nothing was wrong, or where a wrong one reaches every threshold.'),
  })
  .describe('What `event/judge` said of its events in these days, as if their highest score decided.');

export const suggestionSchema = z.object({
  label: z.string().describe('The watched label or group.'),
  slug: z.string(),
  group: z.boolean().describe('Whether it is a group.'),
  source: z.string().optional().describe('Which of several sources; left out where there is only one.'),
  threshold: score.describe('In force now; of a group the lowest one of its labels.'),
  started: count.describe('How often it has started in these days, with whatever thresholds were in force.'),
  would_have_started: count
    .nullable()
    .describe('With the threshold in force now, rounded to a hundredth, by the counts.'),
  suggested: score
    .nullable()
    .describe(
      'The lowest threshold with which it would not have started more often than `per_day`; or null.',
    ),
  suggested_would_have_started: count.nullable().describe('With that one.'),
  suggested_per_day: z
    .object({
      expected: perDay,
      low: perDay,
      high: perDay,
    })
    .nullable()
    .describe('That in 24 hours of sound, and between which bounds it is with a probability of 0.9.'),
  heard_hours: perDay.describe(
    'So much sound the counts rest on: heard with the model and the rules that are at work now.',
  ),
  since: z.iso.datetime({ precision: 3 }).nullable().describe('When they begin; null where there are none.'),
  rests_on: z
    .enum(['enough', 'little', 'nothing'])
    .describe('`enough`: a day or more, and so long that three events would be expected at the wished rate.'),
  why: z
    .enum(['fits', 'nothing_heard', 'too_often', 'hardly_heard'])
    .describe(
      '`fits`: there is a suggestion. `too_often`: it starts too often even at 0.99. `hardly_heard`: it would not start so often with any threshold, so there is nothing to choose by.',
    ),
  advice: z.string().describe('The same as a sentence for people.'),
  judged,
  onsets: z
    .array(count)
    .optional()
    .describe(
      'Only with `label`: how often it would have started with the thresholds 0.01, 0.02 … 0.99, in this order.',
    ),
});

/** Only for its types: an entry keeps those of its own schemas. */
function spec<Schema extends z.ZodType, Result extends z.ZodType>(
  entry: CommandSpec<Schema, Result>,
): CommandSpec<Schema, Result> {
  return entry;
}

export const thresholdSpecs = {
  'thresholds/suggest': spec({
    description: `Which threshold would have let a watched label start as often as is wished, counted on the device with the label's own rules (confirmation, durations, gaps), and what right and wrong answers say of it. Nothing is changed. Where every label of the model is watched, only those that started or would have started are told of; at most ${MAX_SUGGESTIONS}.`,
    schema: request,
    result: z.object({
      per_day: perDay.describe('As it was asked for.'),
      days: z.number().positive(),
      suggestions: z.array(suggestionSchema),
    }),
    example: { label: 'Dog', per_day: 1 },
    timeoutMs: 30_000,
  }),
  'thresholds/apply': spec({
    description:
      'Sets the suggested thresholds, as `threshold/set` with a label does. Without `label` only those that rest on enough; with it, also one that rests on little.',
    schema: request,
    result: z.object({
      applied: z
        .array(
          z.object({
            label: z.string(),
            source: z.string().optional(),
            before: score,
            after: score,
          }),
        )
        .describe('What was set.'),
      left: z
        .array(z.object({ label: z.string(), source: z.string().optional(), why: z.string() }))
        .describe('What was left as it was, and why.'),
      persisted: z
        .boolean()
        .optional()
        .describe('Left out where a restart keeps it; `false`: see `threshold/set`.'),
    }),
    example: { label: 'Dog', per_day: 1 },
    timeoutMs: 30_000,
  }),
} as const;
