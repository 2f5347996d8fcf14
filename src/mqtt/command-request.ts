import { SoundpostError, messageOf } from '../common/errors.js';
import type { Command } from './command.js';
import { transactionSchema, type Transaction } from './contract.js';
import type { IncomingMessage } from './incoming.js';
import type { CommandAddress, Topics } from './topics.js';

/** The largest payload of a request, in bytes. */
export const MAX_REQUEST_BYTES = 64 * 1024;

/** A request as far as it could be read. What was read before a fault is there all the same: the reply needs it. */
export interface CheckedRequest {
  /** A second place for the reply, that may be written to. */
  respondTo?: string;
  transaction?: Transaction;
  /** What the command is to check, or why the request is not carried out. */
  found: { command: Command; input: unknown } | { error: unknown };
}

/** By what requests are judged. */
export interface Rules {
  commands: ReadonlyMap<string, Command>;
  topics: Pick<Topics, 'base' | 'mayRespondTo' | 'isOwnResponse'>;
  /** Whether replies go to response topics of MQTT 5 outside of `B/response/` too. */
  foreignResponseTopics: boolean;
}

/** Reads a request, and checks all that is to be checked before its command looks at it. Pure; never throws. */
export function checkRequest(
  message: IncomingMessage,
  address: CommandAddress,
  rules: Rules,
): CheckedRequest {
  const checked: Omit<CheckedRequest, 'found'> = {};
  try {
    const respondTo = responseTopicOf(message, rules);
    if (respondTo !== undefined) checked.respondTo = respondTo;
    if (message.payload.length > MAX_REQUEST_BYTES) {
      throw new SoundpostError(
        'too_large',
        `The request has ${message.payload.length} bytes; ${MAX_REQUEST_BYTES} are the limit.`,
      );
    }
    const command = rules.commands.get(address.name);
    const { input, transaction } = decode(message.payload, address, command);
    if (transaction !== undefined) checked.transaction = transaction;
    if (message.retain) {
      throw new SoundpostError(
        'retained',
        'A retained request is not carried out, because it would run again at every connect: publish it without the retain flag, and clear it with an empty retained message while the device is off.',
      );
    }
    if (command === undefined) {
      const names = [...rules.commands.keys()].sort().join(', ');
      throw new SoundpostError(
        'unknown_command',
        `There is no command ${address.name}. Known are: ${names}.`,
      );
    }
    return { ...checked, found: { command, input: withSource(input, address, command) } };
  } catch (error) {
    return { ...checked, found: { error } };
  }
}

/** Throws SoundpostError `invalid_response_topic`. */
function responseTopicOf(
  { responseTopic }: IncomingMessage,
  { topics, foreignResponseTopics }: Rules,
): string | undefined {
  if (responseTopic === undefined) return undefined;
  if (!topics.mayRespondTo(responseTopic)) {
    throw new SoundpostError(
      'invalid_response_topic',
      `The response topic cannot be used: choose an ordinary topic outside of ${topics.base}, or one under ${topics.base}/response/, that no device takes commands on.`,
    );
  }
  return foreignResponseTopics || topics.isOwnResponse(responseTopic) ? responseTopic : undefined;
}

/**
 * The input of a request on a topic of one source: about that source. Throws SoundpostError `invalid_request` where the
 * command is not for sources, or the payload names another one.
 */
function withSource(input: object, { name, source }: CommandAddress, command: Command): object {
  if (source === undefined) return input;
  if (!command.takesSource) {
    throw new SoundpostError(
      'invalid_request',
      `${name} is for the whole device and not for one source: publish on ${name}, without source/${source}.`,
    );
  }
  if ('source' in input && input.source !== source) {
    throw new SoundpostError(
      'invalid_request',
      `source: the topic is one of ${source}, and the payload names another source. Leave it out, or take the topic of that one.`,
    );
  }
  return { ...input, source };
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Reads a payload. Throws SoundpostError `invalid_payload` or, for a bad transaction, `invalid_request`. */
function decode(
  payload: Uint8Array,
  { form }: CommandAddress,
  command: Command | undefined,
): { input: object; transaction: Transaction | undefined } {
  let text: string;
  try {
    text = utf8.decode(payload).trim();
  } catch (cause) {
    throw new SoundpostError('invalid_payload', 'The payload is not UTF-8 text.', { cause });
  }
  if (form === 'set' && !text.startsWith('{')) {
    if (command === undefined) return { input: {}, transaction: undefined };
    if (command.parseSet !== undefined) return { input: command.parseSet(text), transaction: undefined };
    throw new SoundpostError(
      'invalid_payload',
      `${command.name} takes a JSON object only, such as ${JSON.stringify(command.example ?? {})}.`,
    );
  }
  if (text === '') return { input: {}, transaction: undefined };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SoundpostError('invalid_payload', `The payload is not JSON: ${messageOf(cause)}.`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SoundpostError(
      'invalid_payload',
      'The payload has to be empty or a JSON object, such as {"transaction":"1"}.',
    );
  }
  const { transaction, ...input } = value as Record<string, unknown>;
  if (transaction === undefined) return { input, transaction: undefined };
  const checked = transactionSchema.safeParse(transaction);
  if (!checked.success) {
    throw new SoundpostError(
      'invalid_request',
      'transaction: has to be a number, or text of at most 256 characters.',
    );
  }
  return { input, transaction: checked.data };
}
