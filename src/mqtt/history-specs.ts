import { z } from 'zod';
import type { CommandSpec } from './command.js';
import { contract } from './contract.js';

/*
 * The commands of the history, in the form of `commandSpecs`: to be spread into it. They are here and not in
 * src/history, for the contract comes before it.
 */

/** What one reply carries at most, so that it stays small beside what brokers take. */
export const MAX_EVENTS = 500;
export const MAX_POINTS = 2000;

const moment = z.iso
  .datetime({
    offset: true,
    error: 'has to be a time such as 2026-05-01T22:00:00Z or 2026-05-01T22:00:00+02:00',
  })
  .max(40);
const name = z.string().trim().min(1, 'has to have a name in it').max(200);
const source = z.string().min(1).max(64).describe('Name of a source; all of them where it is left out.');
const limit = z
  .number('has to be a number')
  .int('has to be a whole number')
  .min(1, 'has to be at least 1')
  .max(MAX_EVENTS, `has to be at most ${MAX_EVENTS}`);
const points = z
  .number('has to be a number')
  .int('has to be a whole number')
  .min(1, 'has to be at least 1')
  .max(MAX_POINTS, `has to be at most ${MAX_POINTS}`);
const cursor = z
  .string()
  .max(400)
  .regex(/^-?\d{1,16}\..+$/s, 'has to be the `cursor` of a reply');
const eventId = z.string().min(1, 'has to be the id of an event, or "last"').max(256);
/** In the place of an id: the event that began last. */
export const LAST_EVENT = 'last';
const time = z.iso.datetime({ precision: 3 });
const score = z.number().min(0).max(1);

const keptEvent = contract.event.schema.extend({
  source: z.string().optional().describe('Name of the source; left out where there is only one.'),
  right: z
    .boolean()
    .nullable()
    .describe('What `event/judge` said about it last; null where nobody has said anything.'),
});

/** Only for its types: an entry keeps those of its own schemas. */
function spec<Schema extends z.ZodType, Result extends z.ZodType>(
  entry: CommandSpec<Schema, Result>,
): CommandSpec<Schema, Result> {
  return entry;
}

export const historySpecs = {
  history: spec({
    description: `The sounds that were heard, newest first, whether the broker was there or not: one entry for each, its \`ended\` where it has ended, else its \`started\`. Times are when a sound began. A reply has at most ${MAX_EVENTS} entries, and fewer where they are long; \`cursor\` gets the older ones.`,
    schema: z.strictObject({
      since: moment.optional().describe('From then on.'),
      until: moment.optional().describe('Before then.'),
      label: name.optional().describe('Name, slug or MID of a label, or name or slug of a group.'),
      source: source.optional(),
      limit: limit.optional().describe('At most so many; 100 where it is left out.'),
      cursor: cursor.optional().describe('From the reply before, for those that come after it.'),
    }),
    result: z.object({
      events: z.array(keptEvent),
      cursor: z
        .string()
        .nullable()
        .describe('Of the next request, for older ones; null where there are none.'),
    }),
    example: { since: '2026-05-01T22:00:00Z', label: 'Dog', limit: 20 },
  }),
  'history/scores': spec({
    description:
      'The highest scores of a watched label or group over time: of each minute, or of longer stretches where there are more minutes than points.',
    schema: z.strictObject({
      label: name.describe('Name or slug of a label or group.'),
      source: source.optional().describe('Name of a source; the highest of all where it is left out.'),
      since: moment
        .optional()
        .describe('From the minute in which this is; a day before `until` where it is left out.'),
      until: moment.optional().describe('Before then; now where it is left out.'),
      points: points.optional().describe('At most so many; 500 where it is left out.'),
    }),
    result: z.object({
      step_seconds: z.number().positive().describe('How long a stretch is.'),
      points: z
        .array(z.object({ ts: time.describe('When the stretch begins.'), score }))
        .describe(
          'In order; stretches in which the label was not watched, or nothing was heard, are left out.',
        ),
    }),
    example: { label: 'Dog', since: '2026-05-01T00:00:00Z' },
  }),
  'history/delete': spec({
    description:
      'Deletes what is remembered: everything (`{"all": true}`), or what began before a time (`{"before": …}`). It is gone for good; clips and what the broker keeps are not touched.',
    schema: z.union(
      [z.strictObject({ before: moment }), z.strictObject({ all: z.literal(true) })],
      'has to be {"all": true}, or {"before"} with a time such as 2026-05-01T22:00:00Z',
    ),
    result: z.object({
      deleted: z.literal(true),
      bytes: z.number().int().nonnegative().describe('That were freed on the disk.'),
    }),
    example: { before: '2026-05-01T00:00:00Z' },
    timeoutMs: 60_000,
  }),
  'event/judge': spec({
    description:
      'Says whether an event was detected rightly. It is remembered with the event, and the last word counts. `last` is the sound that began last.',
    schema: z.strictObject({
      id: eventId.describe('Of the event; `last` for the newest one.'),
      right: z.boolean('has to be true or false'),
      source: source.optional().describe('With `last`: the newest one of this source.'),
    }),
    result: z.object({
      id: z.string().describe('Of the event.'),
      label: z.string().describe('Of the event.'),
      right: z.boolean(),
    }),
    example: { id: '01J8Z3NDEKTSV4RRFFQ69G5FAV', right: false },
  }),
} as const;

export type HistoryCommandName = keyof typeof historySpecs;
/** What a handler is given. */
export type HistoryInput<K extends HistoryCommandName> = z.output<(typeof historySpecs)[K]['schema']>;
/** The `data` of the reply. */
export type HistoryData<K extends HistoryCommandName> = z.output<(typeof historySpecs)[K]['result']>;
