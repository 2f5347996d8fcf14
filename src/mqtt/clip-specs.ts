import { z } from 'zod';
import { clipId } from '../common/rules.js';
import { labelName } from '../models/labels.js';
import type { CommandSpec } from './command.js';

/*
 * What is told of clips, and the commands about them. Nothing of sound goes over MQTT: a reply says where a clip lies.
 */

const time = z.iso.datetime({ precision: 3 });
/** Whoever asks may have any zone and no milliseconds. */
const askedTime = z.iso.datetime({ offset: true, error: 'has to be a time as in 2026-05-01T12:00:00Z' });
const score = z.number().min(0).max(1);

export const clipSchema = z.object({
  id: clipId.describe('What commands and addresses call it.'),
  event: z.string().min(1).describe('The `id` of the event whose sound it is.'),
  label: z.string().min(1).describe('Name of the sound, as in the event.'),
  mid: z.string().nullable().describe('AudioSet’s machine identifier of the label; null where it has none.'),
  group: z.string().nullable().describe('Name of the watched group; null for a single label.'),
  source: z.string().min(1).describe('The source that heard it.'),
  peak: score.describe('The highest score that was known when it was cut.'),
  started_at: time.describe('When the sound begins.'),
  ended_at: time.nullable().describe('When it ends; null where that was not known when the clip was cut.'),
  clip_started_at: time.describe('When the clip begins.'),
  clip_ended_at: time.describe('When the clip ends.'),
  seconds: z.number().positive().describe('How long the clip is.'),
  sample_rate_hz: z.number().int().positive(),
  samples: z.number().int().positive(),
  bytes: z.number().int().positive().describe('What it takes on the disk.'),
});
export type Clip = z.infer<typeof clipSchema>;

const LIST_LIMIT = { max: 200, default: 50 } as const;

export const clipListRequest = z.strictObject({
  since: askedTime.optional().describe('Only clips that end at this time or later.'),
  until: askedTime.optional().describe('Only clips that begin before this time.'),
  label: labelName.optional().describe('Name of a label or group, in any case, or a MID.'),
  source: z.string().min(1).max(200).optional(),
  limit: z.number().int().min(1).max(LIST_LIMIT.max).default(LIST_LIMIT.default),
  cursor: z
    .string()
    .regex(/^\d{1,16}-[0-9a-f]{32}$/, 'is not one that a reply gave')
    .optional()
    .describe('`cursor` of the reply before: goes on behind it.'),
});
export type ClipListRequest = z.output<typeof clipListRequest>;

const deleteRequest = z.union(
  [
    z.strictObject({ id: clipId }),
    z.strictObject({ before: askedTime }),
    z.strictObject({ all: z.literal(true) }),
  ],
  'has to be {"id"} of one clip, {"before"} with a time such as 2026-05-01T22:00:00Z, or {"all": true}',
);

const EXAMPLE_ID = '5f2b0c9e8d7a46138bfe21c04d9a7763';
/** As long as the disk may take to remove thousands of files. */
const DELETE_TIMEOUT_MS = 60_000;

function spec<Schema extends z.ZodType, Result extends z.ZodType>(
  entry: CommandSpec<Schema, Result>,
): CommandSpec<Schema, Result> {
  return entry;
}

export const clipSpecs = {
  clip: spec({
    description:
      'Says where a clip of sound lies and what is in it. An event names the one that may become of it in `clip`; it is there once the sound has ended and no speech was found in it. No sound goes over MQTT.',
    schema: z.strictObject({ id: clipId }),
    result: clipSchema.extend({
      path: z.string().describe('The file on the device.'),
      url: z
        .string()
        .nullable()
        .describe('Where the page of this device has it; null where there is no page.'),
    }),
    example: { id: EXAMPLE_ID },
  }),
  'clip/list': spec({
    description: 'The clips that are kept, newest first.',
    schema: clipListRequest,
    result: z.object({
      clips: z.array(clipSchema),
      cursor: z
        .string()
        .nullable()
        .describe('To be given with the next request for older ones; null: no more.'),
      total: z.number().int().nonnegative().describe('How many clips are kept in all.'),
      bytes: z.number().int().nonnegative().describe('What they take on the disk.'),
    }),
    example: { label: 'Dog', limit: 20 },
  }),
  'clip/delete': spec({
    description:
      'Deletes one clip (`{"id": …}`), those with sound from before a time (`{"before": …}`), or all of them (`{"all": true}`); those that are being made are included, and sound that was heard before is then in none that comes later. The history is not touched.',
    schema: deleteRequest,
    result: z.object({ deleted: z.number().int().nonnegative().describe('How many clips.') }),
    example: { id: EXAMPLE_ID },
    timeoutMs: DELETE_TIMEOUT_MS,
  }),
} as const;
