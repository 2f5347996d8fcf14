import { z } from 'zod';
import { inputNameOrDefault } from '../audio/input-name.js';
import {
  numberOfText,
  RATE_HZ,
  rateHz,
  SHA256_HEX,
  sourceName,
  TELEMETRY_SECONDS,
  telemetrySeconds,
} from '../common/rules.js';
import { labelName } from '../models/labels.js';
import { modelIdSchema as id } from '../models/manifest.js';
import { threshold, watchedLabels } from '../tagging/rules.js';
import { remembers, type CommandSpec } from './command.js';
import { clipSpecs } from './clip-specs.js';
import { contract } from './contract.js';
import { historySpecs } from './history-specs.js';
import { learnSpecs } from './learn-specs.js';
import { thresholdSpecs } from './threshold-specs.js';

/*
 * Every command: its request, its reply and what it does, in one map. The executor's checks, the types of the
 * handlers, the documents and the tests come from it. A request and a reply only ever gain optional fields.
 */

/** A swap loads, checks and warms up a network; the largest take a minute on the smallest machine. */
const SWAP_TIMEOUT_MS = 180_000;
/** 350 MB over a slow line, and their conversion on a slow machine. */
const PULL_TIMEOUT_MS = 6 * 3600 * 1000;
const REMOVE_TIMEOUT_MS = 60_000;
const MAX_PAUSE_SECONDS = 7 * 24 * 3600;

const seconds = z
  .number('has to be a number')
  .positive('has to be above 0')
  .max(MAX_PAUSE_SECONDS, 'has to be at most 7 days');

const sha256 = z
  .string()
  .toLowerCase()
  .regex(SHA256_HEX, 'has to be a SHA-256: 64 hexadecimal digits')
  .optional();
const pullRequest = z.union(
  [
    z.strictObject({ id, sha256 }),
    z.strictObject({
      url: z.string().max(2048),
      sha256,
      /** As in model.json; `installer` checks it. */
      manifest: z.record(z.string(), z.unknown()),
      labels: z.array(z.string()).min(1).optional(),
    }),
  ],
  'has to be {"id"} for a model of the catalogue, or {"url","sha256","manifest"} for a network at an address',
);

const nothing = z.strictObject({});

/** In every request that can be about one of several sources. */
const aboutSource = {
  source: sourceName
    .optional()
    .describe('One of several sources, by its name in `audio.sources`; left out: all of them.'),
};
/** In every reply to such a request. */
const aboutThatSource = {
  source: z.string().optional().describe('As in the request; left out where it named none.'),
};

const pauseResult = z.object({
  paused: z.boolean(),
  seconds: z.number().positive().optional(),
  ...aboutThatSource,
  ...remembers,
});
/** One thing that may be well or not. */
const check = z.object({ name: z.string(), ok: z.boolean(), detail: z.string() });
const installedModel = contract.info.schema.shape.models.shape.installed.element;

function switchIn(text: string): unknown {
  const word = text.toLowerCase();
  if (word === 'on' || word === 'true') return true;
  if (word === 'off' || word === 'false') return false;
  return text;
}

/** Only for its types: an entry keeps those of its own schemas. */
function spec<Schema extends z.ZodType, Result extends z.ZodType>(
  entry: CommandSpec<Schema, Result>,
): CommandSpec<Schema, Result> {
  return entry;
}

export const commandSpecs = {
  'model/set': spec({
    description:
      'Changes the model. The new one is loaded, checked and warmed up beside the old one, so that no window is lost; where that fails the old one goes on.',
    schema: z.strictObject({ id }),
    result: z.object({
      model: z.string(),
      load_ms: z
        .number()
        .nonnegative()
        .describe('How long loading and checking took; 0 where the model was at work already.'),
      ...remembers,
    }),
    example: { id: 'mn10_as' },
    setExample: 'mn10_as',
    parseSet: (text) => ({ id: text }),
    exclusive: true,
    timeoutMs: SWAP_TIMEOUT_MS,
  }),
  'model/list': spec({
    description:
      'The models that are installed, the folders that hold a broken one, and those of the catalogue that can be pulled.',
    schema: nothing,
    result: z.object({
      installed: z.array(installedModel.extend({ bundled: z.boolean() })),
      broken: z.array(z.object({ id: z.string(), error: z.string() })),
      available: z.array(
        z.object({
          id: z.string(),
          title: z.string(),
          family: z.string(),
          parameters: z.number().nullable(),
          macs: z.number().nullable(),
          audioset_map: z.number().nullable(),
          bytes: z.number().nullable().describe('Of the download; in part an estimate.'),
          licence: z.string().nullable(),
        }),
      ),
    }),
  }),
  'model/pull': spec({
    description:
      'Downloads a model of the catalogue, or a ready network at an address, checks it and installs it; its progress is in `state.swap`. It is not chosen by that. What may be downloaded is limited by `models.remote_pull` (by default the catalogue), `models.allowed_hosts` and `models.require_digest`.',
    schema: pullRequest,
    result: z.object({
      model: z.string(),
      installed: z.boolean().describe('False where it was there already.'),
    }),
    example: { id: 'mn10_as' },
    exclusive: true,
    timeoutMs: PULL_TIMEOUT_MS,
  }),
  'model/cancel': spec({
    description:
      'Calls off the `model/pull` that is under way, which is then answered with `aborted`; what had come is removed.',
    schema: nothing,
    result: z.object({
      cancelled: z.boolean().describe('False where nothing was being installed.'),
      model: id.nullable().describe('What was being installed.'),
    }),
  }),
  'model/remove': spec({
    description: 'Removes an installed model. The bundled one and the one at work are refused.',
    schema: z.strictObject({ id }),
    result: z.object({ model: z.string(), removed: z.literal(true) }),
    example: { id: 'mn10_as' },
    // A model that is being installed or loaded must not go away meanwhile.
    exclusive: true,
    timeoutMs: REMOVE_TIMEOUT_MS,
  }),
  'rate/set': spec({
    description: `Sets the inferences per second, ${RATE_HZ.min} to ${RATE_HZ.max}. Heat may lower it: the reply and \`state\` say what is in effect.`,
    schema: z.strictObject({ hz: rateHz }),
    result: z.object({
      rate_hz: z.number().describe('Inferences per second that were asked for.'),
      effective_rate_hz: z.number().describe('After throttling.'),
      ...remembers,
    }),
    example: { hz: 0.5 },
    setExample: '0.5',
    parseSet: (text) => ({ hz: numberOfText(text) }),
  }),
  'paused/set': spec({
    description: 'Pauses listening, or goes on with it; `ON` and `OFF` in plain text.',
    schema: z.strictObject({
      paused: z.boolean('has to be ON or OFF (in JSON true or false)'),
      ...aboutSource,
    }),
    result: pauseResult,
    example: { paused: true },
    setExample: 'ON',
    parseSet: (text) => ({ paused: switchIn(text) }),
  }),
  pause: spec({
    description:
      'Pauses listening. With `seconds` it goes on by itself after so long, and the pause does not outlive a restart.',
    schema: z.strictObject({ seconds: seconds.optional(), ...aboutSource }),
    result: pauseResult,
    example: { seconds: 600 },
  }),
  resume: spec({
    description: 'Goes on listening after a pause.',
    schema: z.strictObject({ ...aboutSource }),
    result: pauseResult,
  }),
  'threshold/set': spec({
    description:
      'Sets the score at which a sound starts an event: for all labels, or with `label` for one label or group, which then wins over everything else. Null is the way back: for all labels to the thresholds that are recommended for each (as plain text: `model`), with `label` to what holds for all; labels that have one of their own keep it.',
    schema: z.strictObject({
      value: threshold
        .nullable()
        .describe('Null: the recommended one of each label, or with `label` none of its own any more.'),
      label: labelName.optional(),
      ...aboutSource,
    }),
    result: z.object({
      threshold: z.number().nullable().describe('As in the request.'),
      label: z.string().optional().describe('As the model or the configuration spells it.'),
      ...aboutThatSource,
      ...remembers,
    }),
    example: { value: 0.3, label: 'Dog' },
    setExample: '0.4',
    parseSet: (text) => ({ value: text.toLowerCase() === 'model' ? null : numberOfText(text) }),
  }),
  'labels/set': spec({
    description:
      'Chooses what may start an event, in place of what was watched before: labels, by name or MID, and groups of labels that count as one. An empty list is every label of the model. Names that the model does not know are left out and come back in `unknown`, with those that come near; where it knows none of them the request is refused.',
    schema: z.strictObject({ labels: watchedLabels, ...aboutSource }),
    result: z.object({
      labels: z
        .array(
          z.object({
            name: z.string(),
            slug: z.string().describe('Its level of `label/<slug>`.'),
            group: z.boolean(),
          }),
        )
        .describe('What is watched now; empty for every label of the model.'),
      unknown: z.array(
        z.object({
          name: z.string(),
          suggestions: z.array(z.string()).describe('Labels of the model that come near.'),
        }),
      ),
      ...aboutThatSource,
      ...remembers,
    }),
    example: {
      labels: ['Dog', { name: 'Alarm', labels: ['Smoke detector, smoke alarm', 'Siren'], threshold: 0.4 }],
    },
  }),
  'telemetry/set': spec({
    description: `Sets the time between two messages on \`telemetry\`, ${TELEMETRY_SECONDS.min} to ${TELEMETRY_SECONDS.max} s; one follows at once.`,
    schema: z.strictObject({ interval_seconds: telemetrySeconds }),
    result: z.object({ interval_seconds: z.number(), ...remembers }),
    example: { interval_seconds: 60 },
    setExample: '60',
    parseSet: (text) => ({ interval_seconds: numberOfText(text) }),
  }),
  'audio/list': spec({
    description: 'The audio inputs of the machine. The one that is open is among them.',
    schema: nothing,
    result: z.object({
      source: contract.state.schema.shape.source,
      device: contract.state.schema.shape.audio_device,
      devices: z.array(
        z.object({
          index: z.number().int().describe('Changes when devices come and go; the name does not.'),
          name: z.string(),
          host_api: z.string().describe('The sound system behind it, such as `ALSA`.'),
          channels: z.number().int(),
          sample_rate_hz: z.number(),
          is_default: z.boolean(),
          in_use: z.boolean().describe('Whether this service listens to it now.'),
          used_by: z
            .array(z.string())
            .optional()
            .describe('Names of the sources that listen to it now; only where there are several.'),
        }),
      ),
    }),
  }),
  'audio/set': spec({
    description:
      'Changes to another microphone: its name, a part of it, or its index; null is the default input. Whether it delivers sound is then said by `audio/status`. Refused where the sound does not come from a microphone. Where several sources are microphones, `source` has to say which.',
    schema: z.strictObject({
      device: inputNameOrDefault,
      source: sourceName
        .optional()
        .describe('One of several sources, by its name in `audio.sources`; left out: the only microphone.'),
    }),
    result: z.object({
      device: contract.state.schema.shape.audio_device,
      name: z.string().describe('The full name of the input.'),
      ...aboutThatSource,
      ...remembers,
    }),
    example: { device: 'USB Audio' },
    setExample: 'USB Audio',
    parseSet: (text) => ({ device: text }),
  }),
  restart: spec({
    description:
      'Ends the process, after this reply has been delivered, with exit code 1: whoever started the service (systemd, the container engine) starts it again.',
    schema: nothing,
    result: z.object({ restarting: z.literal(true) }),
  }),
  info: spec({
    description: 'Publishes `info` again, after a fresh look at the installed models, and replies with it.',
    schema: nothing,
    result: contract.info.schema,
  }),
  health: spec({
    description: 'Whether the service does its work, by its parts: the broker, the sound, the inference.',
    schema: nothing,
    result: z.object({
      healthy: z.boolean(),
      checks: z.array(check),
      sources: z
        .array(check)
        .optional()
        .describe('The sound of each source, by its name; only where there are several.'),
    }),
  }),
  ...historySpecs,
  ...thresholdSpecs,
  ...learnSpecs,
  ...clipSpecs,
} as const;

export type CommandName = keyof typeof commandSpecs;
/** What a handler is given. */
export type CommandInput<K extends CommandName> = z.output<(typeof commandSpecs)[K]['schema']>;
/** The `data` of the reply. */
export type CommandData<K extends CommandName> = z.output<(typeof commandSpecs)[K]['result']>;
