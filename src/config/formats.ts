import { z } from 'zod';
import { inputName } from '../audio/input-name.js';
import { nearest } from '../common/nearest.js';
import { deviceId as deviceIdRule, numberFrom, numberOfText, topic as topicRule } from '../common/rules.js';
import { labelName } from '../models/labels.js';
import { modelIdSchema } from '../models/manifest.js';
import { parseConfirm, type Confirm } from '../tagging/confirm.js';
import {
  DEVICE_CLASSES,
  deviceClass,
  confirmText,
  groupNamedTwice,
  labelGroup,
  spanSeconds,
  threshold,
  watchedLabels,
} from '../tagging/rules.js';
import type { LabelGroup } from '../tagging/watch.js';
import { line } from './addresses.js';
import {
  complain,
  formatOf,
  FormatError,
  jsonOfText,
  numeric,
  orEmpty,
  wordOf,
  type Format,
} from './format-of.js';

/*
 * The formats that convict is given, made of the rules: how text becomes what a rule is about, and what people are
 * told. Rules that only the configuration has stand here.
 */

const writtenSwitch = z.stringbool({
  truthy: ['true', 'yes', 'on', '1'],
  falsy: ['false', 'no', 'off', '0'],
});

/** A switch. */
export const flag: Format<boolean> = formatOf(z.union([z.boolean(), writtenSwitch]), {
  allowed: 'true or false',
  typed: true,
  coerce: (value) => (typeof value === 'number' ? String(value) : wordOf(value)),
});

/** One of a few words, in any case. */
export function oneOf<const W extends string>(...words: readonly W[]): Format<W> {
  return formatOf(z.enum(words), {
    allowed: `one of ${words.join(', ')}`,
    words,
    coerce: (value) => words.find((word) => word.toLowerCase() === wordOf(value)) ?? value,
  });
}

/** Text on one line; empty unless `notEmpty`. */
export function text(options: { maxLength: number; notEmpty?: boolean; what?: string }): Format<string> {
  const { maxLength, notEmpty = false, what = 'text on one line' } = options;
  const rule = line(maxLength);
  return formatOf(notEmpty ? rule.regex(/\S/) : rule, {
    allowed: `${what} (at most ${maxLength} characters${notEmpty ? ', not empty' : ''})`,
  });
}

/** The id of the device; empty where it is still to be worked out. */
export const deviceId = orEmpty(
  formatOf(deviceIdRule, { allowed: 'letters, digits, "_" and "-" only (at most 64)' }),
);

/** A topic, or the front part of one. */
export const topic = formatOf(topicRule, {
  allowed:
    'a topic such as "soundpost" or "home/soundpost": without "+" and "#", no "/" at either end, not starting with "$"',
});

/** Name of a model's folder. */
export const modelId = formatOf(modelIdSchema, {
  allowed: 'the id of a model as "npx soundpost models list" shows it',
});

/** The name of a protocol for ALPN (RFC 7301): one to 255 bytes of ASCII; empty is allowed. */
export const alpnProtocol = formatOf(z.string().regex(/^[!-+\--~]{0,255}$/), {
  allowed: 'the name of one protocol, for example x-amzn-mqtt-ca or mqtt',
});

/** A name (or a part of one) or the number of an audio input; empty is the default input. */
export const audioDevice: Format<string | number> = orEmpty(
  formatOf(inputName, {
    allowed: 'the name of an audio input, a part of it, or its number as "npx soundpost devices" shows it',
    typed: true,
    coerce: (value) => (typeof value === 'string' && /^\d{1,15}$/.test(value.trim()) ? Number(value) : value),
  }),
);

/** All channels mixed, or one of them, counted from 1. */
export const audioChannel = formatOf(z.union([z.literal('mix'), numberFrom(1, 64).int()]), {
  allowed: '"mix" or the number of a channel from 1 to 64',
  typed: true,
  coerce: (value) => (wordOf(value) === 'mix' ? 'mix' : numberOfText(value)),
});

/** 1 is real time. */
export const speed = formatOf(z.literal([1, 'max']), {
  allowed: '1 (real time) or "max" (as fast as it goes)',
  typed: true,
  coerce: (value) => (value === '1' ? 1 : wordOf(value)),
});

/** The version of the protocol to begin with. */
export const protocolVersion = formatOf(z.literal([4, 5]), {
  allowed: '5 (MQTT 5) or 4 (MQTT 3.1.1)',
  typed: true,
  coerce(value) {
    const word = wordOf(value);
    return word === '4' ? 4 : word === '5' ? 5 : value;
  },
});

/** How many of the last hops must agree. */
export const confirm = formatOf(confirmText, {
  allowed: 'k/n, two whole numbers with 1 ≤ k ≤ n ≤ 100, for example 2/3',
});

/** The two numbers of `tagging.confirm`: k of the last n hops. Throws a FormatError. */
export function confirmOf(value: string): Confirm {
  const parsed = parseConfirm(value);
  if (parsed === null) throw new FormatError(`must be ${confirm.allowed}`);
  return parsed;
}

/** More labels than any model has are no choice of some. */
const MAX_LABELS = 10_000;

const isMap = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const thresholdPairs = formatOf(z.array(z.tuple([labelName, threshold])).max(MAX_LABELS), {
  allowed:
    'a map of labels to numbers from 0 to 1, for example {"Speech": 0.4} (in the environment and in flags: JSON)',
  typed: true,
  // As pairs, in which a label may be called __proto__ too.
  coerce(value) {
    const map = jsonOfText(value);
    if (!isMap(map)) return undefined;
    return Object.entries(map).map(([label, number]) => [label, numberOfText(number)]);
  },
  complaint({ path: [entry, part] }, value) {
    if (!Array.isArray(value)) return undefined;
    const [label] = (value as [string, unknown][])[Number(entry)] ?? [];
    if (part === 1)
      return `must be a map of labels to numbers; that of "${label}" must be a number from 0 to 1`;
    return isTooLong(value) ? `must have at most ${MAX_LABELS} entries` : undefined;
  },
});

/** On-thresholds by label. */
export const thresholds: Format<Readonly<Record<string, number>>> = {
  ...thresholdPairs,
  read: (value) => Object.fromEntries(thresholdPairs.read(value)),
};

function isTooLong(value: unknown): boolean {
  return Array.isArray(value) && value.length > MAX_LABELS;
}

/** Models of the catalogue, by their ids, or all of them. */
export const offer: Format<'all' | readonly string[]> = formatOf(
  z.union([z.literal('all'), z.array(modelIdSchema).max(1000)]),
  {
    allowed:
      'all, or a list of ids of the catalogue, for example ["mn04_as", "mn10_as"] (in the environment and in flags: JSON)',
    typed: true,
    coerce: (value) => (wordOf(value) === 'all' ? 'all' : jsonOfText(value)),
  },
);

/** The watched labels and groups of labels. */
export const labels: Format<readonly (string | LabelGroup)[]> = formatOf(
  watchedLabels.superRefine((entries, context) => {
    const twice = groupNamedTwice(entries);
    if (twice !== undefined) complain(context, `must not have two groups with the name "${twice}"`);
  }),
  {
    allowed:
      'a list of labels, or of groups {name, labels, threshold, confirm, min_duration_seconds, min_gap_seconds, device_class} of which the last five may be left out, for example ["Speech", {"name": "Alarm", "labels": ["Siren", "Fire alarm"]}] (in the environment and in flags: JSON)',
    typed: true,
    coerce(value) {
      const list = jsonOfText(value);
      return Array.isArray(list) ? list.map(coerceGroup) : list;
    },
    complaint(issue, value) {
      if (isTooLong(value)) return `must have at most ${MAX_LABELS} entries`;
      const [position] = issue.path;
      if (typeof position !== 'number') return undefined;
      return entryComplaint((value as unknown[])[position], `entry ${position + 1}`);
    },
  },
);

/** What is said of the things that a group may say for itself in place of the settings for all. */
const groupFormats: Readonly<Record<string, Format<unknown>>> = {
  threshold: numeric(threshold),
  confirm,
  min_duration_seconds: numeric(spanSeconds, 'seconds'),
  min_gap_seconds: numeric(spanSeconds, 'seconds'),
  device_class: formatOf(deviceClass, { allowed: `one of ${DEVICE_CLASSES.join(', ')}` }),
};
/** Those of them that are no numbers. */
const groupWords: readonly string[] = ['confirm', 'device_class'];

/** A group with the numbers that were written as text, and without what was left empty. */
function coerceGroup(entry: unknown): unknown {
  if (!isMap(entry)) return entry;
  const parts = Object.entries(entry).flatMap(([key, value]: [string, unknown]): [string, unknown][] => {
    if (!Object.hasOwn(groupFormats, key)) return [[key, value]];
    if (value === undefined || value === null) return [];
    return [[key, groupWords.includes(key) ? value : numberOfText(value)]];
  });
  return Object.fromEntries(parts);
}

/** What is wrong with one entry of a list of labels and groups. */
function entryComplaint(entry: unknown, where: string): string {
  const list = 'must be a list of labels and groups;';
  if (typeof entry === 'string') return `${list} ${where} must be the name of a label`;
  if (!isMap(entry)) return `${list} ${where} is neither a label nor a group {name, labels, …}`;
  const known = Object.keys(labelGroup.shape);
  const unknown = Object.keys(entry).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    const meant = nearest(unknown, known);
    return `has a group (${where}) with the unknown key "${unknown}"${meant === undefined ? '' : ` (did you mean ${meant}?)`}; allowed: ${known.join(', ')}`;
  }
  const issues = labelGroup.safeParse(entry).error?.issues ?? [];
  if (issues.some(({ path }) => path[0] === 'labels' && path.length === 1)) {
    return `has a group (${where}) without "labels": a list of at least one label`;
  }
  const key = String(issues[0]?.path[0]);
  if (key === 'name') return `${list} the "name" of the group in ${where} must be text`;
  if (key === 'labels') return `${list} each of "labels" in ${where} must be the name of a label`;
  return `${list} the "${key}" in ${where} must be ${groupFormats[key]?.allowed ?? ''}`;
}

/** Names of labels or groups, or MIDs. */
export const clipLabels: Format<readonly string[]> = formatOf(z.array(labelName).max(1000), {
  allowed: 'a list of names of labels or groups, or of MIDs (in the environment and in flags: JSON)',
  typed: true,
  coerce: jsonOfText,
});
