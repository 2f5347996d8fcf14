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
