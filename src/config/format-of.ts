import type { z } from 'zod';
import { numberOfText } from '../common/rules.js';

/**
 * What a value may look like. `read` takes what was written (text from the environment or a flag, or what YAML
 * makes of it), checks it, and gives the value the program works with; reading the result once more changes
 * nothing. It throws a FormatError.
 */
export interface Format<T> {
  /** Says what is allowed; completes "must be …". */
  readonly allowed: string;
  /** True for numbers, switches, lists and maps: text that is a plain YAML scalar has a meaning of its own. */
  readonly typed: boolean;
  /** Where only certain words are allowed: those words. */
  readonly words?: readonly string[];
  read(value: unknown): T;
}

/** Why a value was refused; the message completes the sentence "<key> …" and never quotes the value. */
export class FormatError extends Error {}

/** What a rule of zod does not say itself. */
interface Wording extends Pick<Format<unknown>, 'allowed' | 'words'> {
  typed?: boolean;
  /** Makes of text what the rule is about; gives back what it cannot make anything of, for the rule to refuse. */
  coerce?: (value: unknown) => unknown;
  /** Completes "<key> …" where more can be said of what is wrong with `value`, as coerced, than what is allowed. */
  complaint?: (issue: z.core.$ZodIssue, value: unknown) => string | undefined;
}

/**
 * The format of convict that a rule is: text becomes what the rule is about, and a refusal the sentence for people. A
 * rule says a sentence of its own by an issue of `complain`.
 */
export function formatOf<Rule extends z.ZodType>(rule: Rule, wording: Wording): Format<z.output<Rule>> {
  const { allowed, words, typed = false, coerce = (value: unknown) => value, complaint } = wording;
  return {
    allowed,
    typed,
    ...(words !== undefined && { words }),
    read(value) {
      const coerced = coerce(value);
      const read = rule.safeParse(coerced);
      if (read.success) return read.data;
      const issue = read.error.issues[0]!;
      const own = complaint?.(issue, coerced) ?? ownSentence(issue);
      throw new FormatError(own ?? `must be ${allowed}`);
    },
  };
}

const OWN_SENTENCE = { isOwnSentence: true };

/** Within a rule: refuses with a sentence of its own, which completes "<key> …". */
export function complain(context: z.RefinementCtx, message: string): void {
  context.addIssue({ code: 'custom', message, params: OWN_SENTENCE });
}

function ownSentence(issue: z.core.$ZodIssue): string | undefined {
  return issue.code === 'custom' && issue.params === OWN_SENTENCE ? issue.message : undefined;
}

/** A number; the rule says from where to where, and whether it is a whole one. */
export function numeric(rule: z.ZodNumber, unit?: string): Format<number> {
  const kind = rule.format === null ? 'a number' : 'a whole number';
  const allowed = `${kind} from ${rule.minValue} to ${rule.maxValue}${unit === undefined ? '' : ` (${unit})`}`;
  return formatOf(rule, { allowed, typed: true, coerce: numberOfText });
}

/** A value that may be left out: empty text is null. */
export function optional<T>(format: Format<T>): Format<T | null> {
  return {
    ...format,
    allowed: `${format.allowed}, or empty`,
    read: (value) => (value === null || value === '' ? null : format.read(value)),
  };
}

/** Text that may be empty, which says that there is none. */
export function orEmpty<T>(format: Format<T>): Format<T | ''> {
  return { ...format, read: (value) => (value === '' ? '' : format.read(value)) };
}

/** Lists and maps written as text are JSON. */
export function jsonOfText(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** A word without the spaces around it and in lower case. */
export function wordOf(value: unknown): unknown {
  return typeof value === 'string' ? value.trim().toLowerCase() : value;
}
