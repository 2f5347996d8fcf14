import { setTimeout as delay } from 'node:timers/promises';
import type { z } from 'zod';
import { SoundpostError, codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createSuppressor } from '../common/suppress.js';
import { transactionSchema, type ResponsePayload, type Transaction } from './contract.js';
import type { IncomingMessage } from './incoming.js';
import type { Reply } from './publishing.js';
import type { CommandAddress, Topics } from './topics.js';

export interface CommandContext {
  /** Fires at the time limit and at shutdown: stop what you are doing. */
  signal: AbortSignal;
  /** Has something done once a reply that is `ok` has been handed over; not at all after any other. */
  afterReply: (action: () => void) => void;
}

/** What is known of a command without the service: its request, its reply, and how to carry it out. */
export interface CommandSpec<Schema extends z.ZodType = z.ZodType, Result extends z.ZodType = z.ZodType> {
  /** One sentence or two, for people. */
  readonly description: string;
  /** Of the request's JSON object, `transaction` taken out. */
  readonly schema: Schema;
  /** Of the `data` of a reply that is `ok`. */
  readonly result: Result;
  /** A request; left out where it is empty. */
  readonly example?: z.input<Schema>;
  /**
   * For names that end in `/set`: turns the trimmed plain text of the `B/<name>` topic into an input, which is
   * then checked by the schema. Without it that topic takes JSON only.
   */
  readonly parseSet?: (text: string) => unknown;
  /** Plain text for the `B/<name>` topic, where there is one. */
  readonly setExample?: string;
  /** Default 10 s. */
  readonly timeoutMs?: number;
  /** Long work of which there is one at a time: a second one is `busy` at once. */
  readonly exclusive?: boolean;
}

/** A command whose input type has been sealed in. */
export interface Command extends CommandSpec {
  /** As in the topic: `pause`, `model/set`. */
  readonly name: string;
  readonly timeoutMs: number;
  readonly exclusive: boolean;
  /** Checks the input, and returns the work. Throws SoundpostError `invalid_request`. */
  prepare(input: unknown): Work;
}

/** What is to be done for a request. */
interface Work {
  run: (context: CommandContext) => object | Promise<object>;
  /** Awaited before an exclusive command takes its lane; rejects where the request cannot be carried out anyway. */
  admit?: () => Promise<void>;
}

/**
 * Joins a command's spec with what it does.
 * @param admit for exclusive commands: a quick look at what the schema cannot know; see `Work`
 */
export function defineCommand<Input>(
  name: string,
  spec: CommandSpec<z.ZodType<Input>>,
  run: (input: Input, context: CommandContext) => object | Promise<object>,
  admit?: (input: Input) => Promise<void>,
): Command {
  return {
    timeoutMs: 10_000,
    exclusive: false,
    ...spec,
    name,
    prepare(input) {
      const parsed = spec.schema.safeParse(input);
      if (!parsed.success) throw new SoundpostError('invalid_request', sentences(parsed.error));
      const { data } = parsed;
      return {
        run: (context) => run(data, context),
        ...(admit !== undefined && { admit: () => admit(data) }),
      };
    },
  };
}

export interface CommandRouter {
  /** Takes any message on any topic; never throws. */
  handle(message: IncomingMessage): void;
  /** How many requests were answered with `busy` since the start. */
  counters(): { refused: number };
  /** Refuses what waits and aborts what runs, each with its reply; resolves when nothing runs any more. */
  stop(): Promise<void>;
}

/** The largest payload of a request, in bytes. */
export const MAX_REQUEST_BYTES = 64 * 1024;
/** How many commands may wait behind the one that runs. */
export const MAX_WAITING = 16;
/** How long the look at an exclusive request may take before it is let into its lane. */
const ADMIT_MS = 10_000;
/** How long `stop()` waits for handlers that do not listen to their signal. */
const STOP_LIMIT_MS = 2000;
/** In a flood: after each command the lane rests as long as that has taken, up to so long. */
const MAX_REST_MS = 100;
/** At shutdown: what is done within this time is reported as it is, and not as called off. */
const GRACE_MS = 100;

/** A request that passed the door. */
interface Job {
  command: Command;
  work: Work;
  /** Sends the one reply; further calls do nothing. */
  answer: (outcome: Outcome) => void;
}

type Outcome = { data: object } | { error: unknown };

/**
 * The door for commands. Invariants:
 * - a well-formed request gets exactly one reply, whatever happens inside; anything else on our topics none;
 * - nothing is run that came retained, too big, malformed or invalid;
 * - ordinary commands run one after the other, at most `MAX_WAITING` wait, the next one is `busy`;
 * - exclusive commands run in a lane of their own, so that a download of minutes does not hold up `pause`; there is
 *   no second one until the first has really ended, even where its time limit has been reported before that;
 * - a row of commands without an end takes half of the time at most: tagging goes on.
 * - an exclusive request that cannot be carried out is refused before it takes that lane.
 */
export function createCommandRouter(options: {
  commands: readonly Command[];
  topics: Topics;
  reply: (reply: Reply) => void;
  /** Whether replies go to response topics of MQTT 5 outside of `B/response/` too. */
  foreignResponseTopics?: boolean;
  log: Logger;
}): CommandRouter {
  const { topics, reply, foreignResponseTopics = false, log } = options;
  const commands = new Map(options.commands.map((command) => [command.name, command]));
  const names = [...commands.keys()].sort().join(', ');
  const stopping = new AbortController();
  const waiting: Job[] = [];
  const running = new Set<Promise<void>>();
  let laneBusy = false;
  let exclusiveBusy = false;
  let refused = 0;
  const said = createSuppressor();
  /** Exclusive requests that are being looked at. */
  let admitting = 0;

  function accept(job: Job): void {
    if (stopping.signal.aborted) {
      job.answer({ error: shuttingDown() });
    } else if (job.command.exclusive) {
      if (job.work.admit === undefined) takeLane(job);
      else if (exclusiveBusy || admitting >= MAX_WAITING) job.answer({ error: laneTaken(job) });
      else track(admit(job, job.work.admit));
    } else if (waiting.length >= MAX_WAITING) {
      job.answer({
        error: new SoundpostError(
          'busy',
          `${waiting.length} commands are waiting already. Try again in a moment.`,
        ),
      });
    } else {
      waiting.push(job);
      if (!laneBusy) track(runLane());
    }
  }

  async function admit(job: Job, look: () => Promise<void>): Promise<void> {
    admitting += 1;
    let giveUp: () => void = () => undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      // A disk that hangs must not leave anybody without a reply.
      const over = new Promise<never>((_, reject) => {
        giveUp = () => reject(shuttingDown());
        stopping.signal.addEventListener('abort', giveUp);
        timer = setTimeout(() => reject(tookTooLong(job.command.name, ADMIT_MS)), ADMIT_MS);
      });
      await Promise.race([look(), over]);
    } catch (error) {
      job.answer({ error: stopping.signal.aborted ? shuttingDown() : error });
      return;
    } finally {
      admitting -= 1;
      clearTimeout(timer);
      stopping.signal.removeEventListener('abort', giveUp);
    }
    takeLane(job);
  }

  function takeLane(job: Job): void {
    if (exclusiveBusy) {
      job.answer({ error: laneTaken(job) });
      return;
    }
    exclusiveBusy = true;
    track(runExclusive(job));
  }

  function track(work: Promise<void>): void {
    running.add(work);
    void work.finally(() => running.delete(work));
  }

  async function runExclusive(job: Job): Promise<void> {
    try {
      await execute(job).settled;
    } finally {
      exclusiveBusy = false;
    }
  }

  async function runLane(): Promise<void> {
    laneBusy = true;
    try {
      let row = 0;
      for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
        row += 1;
        const begun = performance.now();
        await execute(job).answered;
        if (waiting.length === 0 || row <= MAX_WAITING) continue;
        const worked = performance.now() - begun;
        await delay(Math.min(MAX_REST_MS, worked), undefined, { signal: stopping.signal }).catch(
          () => undefined,
        );
      }
    } finally {
      laneBusy = false;
    }
  }

  /** Runs a job. `answered`: the reply is out. `settled`: the handler has come back as well. Neither rejects. */
  function execute({ command, work, answer }: Job): { answered: Promise<void>; settled: Promise<void> } {
    if (stopping.signal.aborted) {
      answer({ error: shuttingDown() });
      return { answered: Promise.resolve(), settled: Promise.resolve() };
    }
    const abort = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const ended = new Promise<Outcome>((resolve) => {
      const end = (error: SoundpostError): void => {
        resolve({ error });
        abort.abort(error);
      };
      timer = setTimeout(() => {
        end(tookTooLong(command.name, command.timeoutMs));
      }, command.timeoutMs);
      stopping.signal.addEventListener(
        'abort',
        () => {
          clearTimeout(timer);
          timer = setTimeout(() => resolve({ error: shuttingDown() }), GRACE_MS);
          abort.abort(shuttingDown());
        },
        { signal: abort.signal },
      );
    });
    const actions: (() => void)[] = [];
    const context: CommandContext = {
      signal: abort.signal,
      afterReply: (action) => actions.push(action),
    };
    // An async function turns a handler that throws at once into one that rejects.
    const handled = (async (): Promise<Outcome> => {
      try {
        return { data: await work.run(context) };
      } catch (error) {
        // Whatever it says then, this is the cause.
        return { error: stopping.signal.aborted ? shuttingDown() : error };
      }
    })();
    const answered = Promise.race([handled, ended]).then((outcome) => {
      clearTimeout(timer);
      // The listener for the shutdown goes with it.
      abort.abort();
      answer(outcome);
      if ('data' in outcome) runAll(command.name, actions);
    });
    return { answered, settled: Promise.all([answered, handled]).then(() => undefined) };
  }

  function runAll(name: string, actions: readonly (() => void)[]): void {
    for (const action of actions) {
      try {
        action();
      } catch (error) {
        report(name, error);
      }
    }
  }

  function open(message: IncomingMessage, address: CommandAddress): void {
    const { responseTopic, correlationData } = message;
    const command = commands.get(address.name);
    let transaction: Transaction | undefined;
    let respondTo: string | undefined;
    let replied = false;
    const respond = (outcome: Outcome): void =>
      reply({
        command: address.name,
        payload: responseOf(outcome, transaction),
        responseTopic: respondTo,
        correlationData,
      });
    const answer = (outcome: Outcome): void => {
      if (replied) return;
      replied = true;
      if ('error' in outcome) report(address.name, outcome.error);
      try {
        respond(outcome);
      } catch (error) {
        // Data that cannot be written as JSON.
        report(address.name, error);
        respond({ error });
      }
    };

    try {
      if (responseTopic !== undefined) {
        if (!topics.mayRespondTo(responseTopic)) {
          throw new SoundpostError(
            'invalid_response_topic',
            `The response topic cannot be used: choose an ordinary topic outside of ${topics.base}, or one under ${topics.base}/response/, that no device takes commands on.`,
          );
        }
        if (foreignResponseTopics || topics.isOwnResponse(responseTopic)) respondTo = responseTopic;
      }
      if (message.payload.length > MAX_REQUEST_BYTES) {
        throw new SoundpostError(
          'too_large',
          `The request has ${message.payload.length} bytes; ${MAX_REQUEST_BYTES} are the limit.`,
        );
      }
      const body = decode(message.payload, address, command);
      transaction = body.transaction;
      if (message.retain) {
        throw new SoundpostError(
          'retained',
          'A retained request is not carried out, because it would run again at every connect: publish it without the retain flag, and clear it with an empty retained message while the device is off.',
        );
      }
      if (command === undefined) {
        throw new SoundpostError(
          'unknown_command',
          `There is no command ${address.name}. Known are: ${names}.`,
        );
      }
      accept({ command, work: command.prepare(body.input), answer });
    } catch (error) {
      answer({ error });
    }
  }

  function report(name: string, error: unknown): void {
    const code = codeOf(error);
    const text = messageOf(error);
    if (code === 'busy') {
      refused += 1;
      // Thousands of them would keep the log busier than the commands do.
      if (!said.offer('busy', performance.now()).pass) return;
    }
    if (code === 'internal')
      log.error({ code: 'command_failed', err: error }, `Command ${name} failed: ${text}`);
    else log.info({ command: name, code }, `Command ${name} refused: ${text}`);
  }

  return {
    handle(message) {
      const address = topics.commandOf(message.topic);
      if (address === null) {
        log.debug({ topic: message.topic.slice(0, 200) }, 'A message that is no command was ignored');
        return;
      }
      open(message, address);
    },
    counters: () => ({ refused }),
    async stop() {
      stopping.abort();
      for (const job of waiting.splice(0)) job.answer({ error: shuttingDown() });
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_LIMIT_MS)));
      await Promise.race([Promise.all(running), limit]);
      clearTimeout(timer);
    },
  };
}

function responseOf(outcome: Outcome, transaction: Transaction | undefined): ResponsePayload {
  const echo = transaction === undefined ? {} : { transaction };
  if ('data' in outcome) return { status: 'ok', data: { ...outcome.data }, ...echo };
  const error = { code: codeOf(outcome.error), message: messageOf(outcome.error) };
  return { status: 'error', error, data: {}, ...echo };
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Reads a payload. Throws SoundpostError `invalid_payload` or, for a bad transaction, `invalid_request`. */
function decode(
  payload: Uint8Array,
  { form }: CommandAddress,
  command: Command | undefined,
): { input: unknown; transaction: Transaction | undefined } {
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

function laneTaken({ command }: Job): SoundpostError {
  return new SoundpostError(
    'busy',
    `${command.name} has to wait: such work is being done already. Try again when it has ended.`,
  );
}

function tookTooLong(name: string, ms: number): SoundpostError {
  return new SoundpostError('timeout', `${name} took longer than ${ms / 1000} s and was given up.`);
}

function shuttingDown(): SoundpostError {
  return new SoundpostError('shutting_down', 'The service is shutting down.');
}

/** One sentence for each problem: where it is, and what is wrong. */
function sentences(error: z.ZodError): string {
  return error.issues
    .slice(0, 8)
    .map(({ path, message }) => {
      const where = path.length === 0 ? 'The request' : path.join('.');
      const what = message.replace(/^Invalid input: /, '').replace(/\.$/, '');
      return `${where}: ${what}.`;
    })
    .join(' ');
}
