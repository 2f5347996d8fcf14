/**
 * What the rooms need of a logger; a pino logger is one. The object comes first, as with pino; `code` in it
 * is the stable name of the fault that `B/log` publishes.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export interface LogFields {
  code?: string;
  [field: string]: unknown;
}

/** A logger that says nothing, for tests and for commands that report in their own way. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * The same log for one of several that say the same words: each message begins with its name. Without it nobody could
 * tell whose fault it is, and the equal fault of another would pass for a repetition.
 */
export function namedLogger(log: Logger, name: string): Logger {
  const named = (message: string) => `${name}: ${message}`;
  return {
    debug: (fields, message) => log.debug(fields, named(message)),
    info: (fields, message) => log.info(fields, named(message)),
    warn: (fields, message) => log.warn(fields, named(message)),
    error: (fields, message) => log.error(fields, named(message)),
  };
}
