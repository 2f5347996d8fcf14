import { z } from 'zod';
import { SoundpostError } from '../common/errors.js';

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
  readonly parseSet?: (text: string) => Readonly<Record<string, unknown>>;
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
  /** Whether it can be about one of several sources. */
  readonly takesSource: boolean;
  /** Checks the input, and returns the work. Throws SoundpostError `invalid_request`. */
  prepare(input: unknown): Work;
}

/** What is to be done for a request. */
export interface Work {
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
    takesSource: takesSource(spec),
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

/** Whether a request of this command may name one of several sources, and so may be on a topic of that source. */
export function takesSource({ schema }: Pick<CommandSpec, 'schema'>): boolean {
  return schema instanceof z.ZodObject && 'source' in schema.shape;
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

/** In every reply of a command that sets what is remembered. */
export const remembers = {
  persisted: z
    .boolean()
    .optional()
    .describe(
      'Left out where a restart keeps what was set. `false`: the disk did not take it, so it holds now and a restart may forget it; it is written again until it stands.',
    ),
};
