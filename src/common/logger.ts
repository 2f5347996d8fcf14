import pino from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Logger } from './log.js';
import { createSuppressor } from './suppress.js';

/** A warning or an error as `B/log` publishes it. */
export interface Problem {
  /** ISO 8601, UTC, milliseconds. */
  ts: string;
  level: 'warn' | 'error';
  message: string;
  code: string;
  /** How many equal ones were held back in the minute before; left out when none. */
  repeats?: number;
}

export interface LoggerOptions {
  level: 'debug' | 'info' | 'warn' | 'error';
  /** `auto`: pretty where the stream is a terminal, else JSON lines. */
  format: 'auto' | 'pretty' | 'json';
  /** Default: stderr. */
  stream?: NodeJS.WritableStream & { isTTY?: boolean };
  /** Text that must not come up in any record; see `secretsOf` in the configuration. */
  secrets?: readonly string[];
  /** Gets warnings and errors, each code and message at most once a minute. What it throws is logged. */
  onProblem?: (problem: Problem) => void;
  /** Milliseconds since the epoch. */
  now?: () => number;
}

/** Names of fields that are secret wherever they come up in a record. */
const secretFields = ['password', 'passphrase', 'token', 'secret', 'authorization'].flatMap((name) => [
  name,
  `*.${name}`,
  `*.*.${name}`,
]);

/** A logger on pino: JSON lines, or lines for people, written in this process without a worker thread. */
export function createLogger(options: LoggerOptions): Logger {
  const stream = options.stream ?? process.stderr;
  const now = options.now ?? Date.now;
  const isPretty = options.format === 'pretty' || (options.format === 'auto' && stream.isTTY === true);
  // Formatted and written at once: the last line before an exit must not be waiting in a stream.
  const line = isPretty
    ? prettyFactory({
        colorize: stream.isTTY === true && !process.env['NO_COLOR'],
        ignore: 'pid,hostname',
        translateTime: 'SYS:HH:MM:ss.l',
      })
    : undefined;
  const target = line ? { write: (json: string) => stream.write(line(json)) } : stream;
  const log = pino(
    {
      level: options.level,
      base: null,
      redact: { paths: secretFields, censor: '***' },
      serializers: { err: errorFields, error: errorFields },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"ts":"${new Date(now()).toISOString()}"`,
      messageKey: 'message',
      ...(isPretty ? { timestamp: () => `,"time":${now()}`, messageKey: 'msg' } : {}),
    },
    target,
  );
  const hide = redactor(options.secrets ?? []);
  const scrub = options.secrets?.length ? (fields: object): object => hideIn(fields, hide) as object : same;
  const report = problemReporter(options, hide, now, (error) => {
    log.error(scrub({ err: error, code: 'internal' }), 'A problem could not be reported');
  });

  const write = (level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string): void => {
    if (log.isLevelEnabled(level)) log[level](scrub(fields), hide(message));
    if (level === 'warn' || level === 'error') report(level, fields, message);
  };
  return {
    debug: (fields, message) => write('debug', fields, message),
    info: (fields, message) => write('info', fields, message),
    warn: (fields, message) => write('warn', fields, message),
    error: (fields, message) => write('error', fields, message),
  };
}

/**
 * Replaces secrets in text with `***`. Secrets of one or two characters are left: they stand in every other
 * word, and hide nothing.
 */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const longestFirst = secrets.filter((secret) => secret.length > 2).sort((a, b) => b.length - a.length);
  return (text) => longestFirst.reduce((hidden, secret) => hidden.replaceAll(secret, '***'), text);
}

/** An error as plain fields; anything else as it is, what was made plain before included. */
function errorFields(value: unknown): unknown {
  return value instanceof Error ? { ...pino.stdSerializers.err(value) } : value;
}

function same(fields: object): object {
  return fields;
}

/** A copy of a record's fields with secrets replaced in every text, errors and their stacks included. */
function hideIn(value: unknown, hide: (text: string) => string, depth = 0): unknown {
  if (typeof value === 'string') return hide(value);
  if (typeof value !== 'object' || value === null) return value;
  // Deeper than any record of this program; also ends a circle.
  if (depth > 6) return '…';
  if (value instanceof Error) return hideIn(errorFields(value), hide, depth + 1);
  if (ArrayBuffer.isView(value)) return `(${value.byteLength} bytes)`;
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return hideIn((value as { toJSON(): unknown }).toJSON(), hide, depth + 1);
  }
  if (Array.isArray(value)) return value.map((inner) => hideIn(inner, hide, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, hideIn(inner, hide, depth + 1)]),
  );
}

function problemReporter(
  options: LoggerOptions,
  hide: (text: string) => string,
  now: () => number,
  onFailure: (error: unknown) => void,
): (level: 'warn' | 'error', fields: object & { code?: unknown }, message: string) => void {
  const suppressor = createSuppressor();
  const { onProblem } = options;
  let isReporting = false;
  return (level, fields, message) => {
    // A report that itself warns (the broker is away) must not report that, and so on for ever.
    if (!onProblem || isReporting) return;
    const code = typeof fields.code === 'string' ? fields.code : 'internal';
    const hidden = hide(message);
    const verdict = suppressor.offer(`${code}\n${hidden}`, now());
    if (!verdict.pass) return;
    isReporting = true;
    try {
      onProblem({
        ts: new Date(now()).toISOString(),
        level,
        message: hidden,
        code,
        ...(verdict.repeats > 0 ? { repeats: verdict.repeats } : {}),
      });
    } catch (error) {
      onFailure(error);
    } finally {
      isReporting = false;
    }
  };
}
