import { z } from 'zod';

/*
 * What values have to be like that more than one door lets in: the configuration, MQTT commands, what is remembered.
 * Each rule stands once, here or beside the thing it is about. A message completes a sentence that begins with the
 * name of the value; the configuration says the whole rule instead (src/config/formats.ts).
 */

/** A number from `min` to `max`, `unit` being its symbol. */
export function numberFrom(min: number, max: number, unit = ''): z.ZodNumber {
  const of = unit === '' ? '' : ` ${unit}`;
  return z
    .number('has to be a number')
    .min(min, `has to be at least ${min}${of}`)
    .max(max, `has to be at most ${max}${of}`);
}

/** Inferences per second that can be asked for. */
export const RATE_HZ = { min: 0.01, max: 20 } as const;
export const rateHz = numberFrom(RATE_HZ.min, RATE_HZ.max, 'Hz');

/** Time between two messages of telemetry. */
export const TELEMETRY_SECONDS = { min: 1, max: 86_400 } as const;
export const telemetrySeconds = numberFrom(TELEMETRY_SECONDS.min, TELEMETRY_SECONDS.max, 's');

/** Threads that one inference may use. */
export const THREADS = { min: 1, max: 64 } as const;
export const threadCount = numberFrom(THREADS.min, THREADS.max).int();

/** What identifies a device in topics and in Home Assistant. */
export const deviceId = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/);

/** What a source of sound is called in topics, commands and the configuration. */
export const SOURCE_NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/;
export const sourceName = z
  .string('has to be text')
  .regex(
    SOURCE_NAME,
    'has to be 1 to 32 lower-case letters, digits, "_" and "-", of which the first is a letter or a digit',
  );

/** So many sources one device may have. */
export const MAX_SOURCES = 16;

/** A SHA-256 as text. */
export const SHA256_HEX = /^[0-9a-f]{64}$/;
export const sha256Hex = z.string().regex(SHA256_HEX, '64 lower-case hexadecimal digits');

/**
 * What names a clip, in commands, addresses and file names: 128 random bits, so that nobody guesses one, and nothing
 * that a path could be made of.
 */
export const clipId = z.string('has to be the id of a clip').regex(/^[0-9a-f]{32}$/, 'is no id of a clip');

/** A topic, or the front part of one: no filter, no system topic, no empty level. */
export const topic = z
  .string()
  .min(1)
  .max(200)
  // eslint-disable-next-line no-control-regex -- they are what is refused
  .regex(/^(?!\$)[^+#\u0000-\u001f\u007f]*$/)
  .regex(/^(?!\/)(?:(?!\/\/)[^])*(?<!\/)$/);

/**
 * The number that a decimal text stands for, from the environment, a flag or a plain MQTT payload; anything else comes
 * back as it is, for the rule to refuse.
 */
export function numberOfText(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const isNumber = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?$/i.test(value.trim());
  return isNumber ? Number(value) : value;
}
