import { setMaxListeners } from 'node:events';
import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createSuppressor } from '../common/suppress.js';
import { shuttingDown } from './command-errors.js';
import { createExclusiveLane, createOrdinaryLane, MAX_WAITING } from './command-lanes.js';
import { checkRequest } from './command-request.js';
import { execute, type Execute, type Job, type Outcome } from './command-run.js';
import type { Command } from './command.js';
import type { ResponsePayload, Transaction } from './contract.js';
import type { IncomingMessage } from './incoming.js';
import type { Reply } from './publishing.js';
import type { CommandAddress, Topics } from './topics.js';

export interface CommandRouter {
  /** Takes any message on any topic; never throws. */
  handle(message: IncomingMessage): void;
  /**
   * Takes a request that came by another door than the broker, with the same checks and in the same lanes. Never
   * rejects: what is wrong is said by the reply.
   */
  request(name: string, payload: Uint8Array): Promise<ResponsePayload>;
  /** How many requests were answered with `busy` since the start. */
  counters(): { refused: number };
  /** Refuses what waits and aborts what runs, each with its reply; resolves when nothing runs any more. */
  stop(): Promise<void>;
}

/** How long `stop()` waits for handlers that do not listen to their signal. */
const STOP_LIMIT_MS = 2000;

/**
 * The door for commands. Invariants:
 * - a well-formed request gets exactly one reply, whatever happens inside; anything else on our topics none;
 * - nothing is run that came retained, too big, malformed or invalid (`command-request.ts`);
 * - ordinary commands run one after the other, at most `MAX_WAITING` wait, the next one is `busy`;
 * - exclusive commands run in a lane of their own, so that a download of minutes does not hold up `pause`; there is
 *   no second one until the first has really ended, even where its time limit has been reported before that;
 * - a row of commands without an end takes half of the time at most: tagging goes on (`command-lanes.ts`);
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
  const rules = { commands, topics, foreignResponseTopics };
  const stopping = new AbortController();
  // What runs in each lane and what is looked at before it: many, and bounded. Node would take it for a leak.
  setMaxListeners(2 * MAX_WAITING, stopping.signal);
  const running = new Set<Promise<void>>();
  const outcomes = createOutcomeLog(log);
  const run: Execute = (job) => execute(job, stopping.signal, outcomes.failed);
  const ordinary = createOrdinaryLane({ execute: run, stopping: stopping.signal, track });
  const exclusive = createExclusiveLane({ execute: run, stopping: stopping.signal, track });

  function track(work: Promise<void>): void {
    running.add(work);
    void work.finally(() => running.delete(work));
  }

  function accept(command: Command, job: Job): void {
    if (stopping.signal.aborted) job.answer({ error: shuttingDown() });
    else if (command.exclusive) exclusive.take(job);
    else ordinary.take(job);
  }

  /** `respond` gets the one reply, and the second place for it where the requester named one. */
  function open(
    message: IncomingMessage,
    address: CommandAddress,
    respond: (payload: ResponsePayload, respondTo?: string) => void,
  ): void {
    const { respondTo, transaction, found } = checkRequest(message, address, rules);
    const answer = answerOnce(
      (outcome) => respond(responseOf(outcome, transaction), respondTo),
      (error) => outcomes.failed(address.name, error),
    );
    if ('error' in found) {
      answer(found);
      return;
    }
    try {
      accept(found.command, { command: found.command, work: found.command.prepare(found.input), answer });
    } catch (error) {
      answer({ error });
    }
  }

  return {
    handle(message) {
      const address = topics.commandOf(message.topic);
      if (address === null) {
        log.debug({ topic: message.topic.slice(0, 200) }, 'A message that is no command was ignored');
        return;
      }
      open(message, address, (payload, responseTopic) =>
        reply({ command: address.name, payload, responseTopic, correlationData: message.correlationData }),
      );
    },
    request: (name, payload) =>
      new Promise((resolve) => {
        const message = { topic: topics.of('request', { command: name }), payload, retain: false };
        // A name that could be no topic of a command is unknown like every other that is none.
        open(message, topics.commandOf(message.topic) ?? { name: '(no name)', form: 'request' }, resolve);
      }),
    counters: () => ({ refused: outcomes.refused }),
    async stop() {
      stopping.abort();
      ordinary.refuseAll();
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_LIMIT_MS)));
      await Promise.race([Promise.all(running), limit]);
      clearTimeout(timer);
    },
  };
}

/** Passes on the first outcome only, and tells of its error. `respond` may throw: that is the outcome then. */
function answerOnce(
  respond: (outcome: Outcome) => void,
  failed: (error: unknown) => void,
): (outcome: Outcome) => void {
  let replied = false;
  return (outcome) => {
    if (replied) return;
    replied = true;
    if ('error' in outcome) failed(outcome.error);
    try {
      respond(outcome);
    } catch (error) {
      // Data that cannot be written as JSON.
      failed(error);
      respond({ error });
    }
  };
}

/** Logs what went wrong with commands, and counts those that were `busy`. */
function createOutcomeLog(log: Logger) {
  const said = createSuppressor();
  let refused = 0;
  return {
    get refused() {
      return refused;
    },
    failed: (name: string, error: unknown): void => {
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
    },
  };
}

function responseOf(outcome: Outcome, transaction: Transaction | undefined): ResponsePayload {
  const echo = transaction === undefined ? {} : { transaction };
  if ('data' in outcome) return { status: 'ok', data: { ...outcome.data }, ...echo };
  const error = { code: codeOf(outcome.error), message: messageOf(outcome.error) };
  return { status: 'error', error, data: {}, ...echo };
}
