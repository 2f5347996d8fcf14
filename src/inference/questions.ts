import { setPatience } from '../common/patience.js';
import type { SoundpostError } from '../common/errors.js';

/** How long an answer may take, and what it is about, for people. */
export interface Patience {
  timeoutMs: number;
  doing: string;
}

/** A question to a process that answers each with one message, in order. */
export interface Question<Reply> extends Patience {
  /** What holds from the first sign of progress on. */
  afterProgress: Patience | undefined;
  /** Called once, with the answer or with why there is none. */
  settle(reply: Reply | SoundpostError): void;
}

/** The questions that have no answer yet; the oldest is waited for with patience. */
export interface Questions<Reply> {
  add(question: Question<Reply>): void;
  /** The process is at work on the oldest. */
  progress(): void;
  /** The answer to the oldest. */
  answer(reply: Reply): void;
  /** There will be no more answers. */
  fail(error: SoundpostError): void;
}

/** @param onSilence the oldest was not answered within its time; called again only after another sign of life */
export function createQuestions<Reply>(onSilence: (patience: Patience) => void): Questions<Reply> {
  const questions: Question<Reply>[] = [];
  let callOff: () => void = () => undefined;

  function watch(): void {
    callOff();
    const [question] = questions;
    if (question !== undefined) callOff = setPatience(question.timeoutMs, () => onSilence(question));
  }

  return {
    add(question) {
      questions.push(question);
      if (questions.length === 1) watch();
    },
    progress() {
      const [question] = questions;
      if (question !== undefined) Object.assign(question, question.afterProgress);
      watch();
    },
    answer(reply) {
      questions.shift()?.settle(reply);
      watch();
    },
    fail(error) {
      callOff();
      for (const question of questions.splice(0)) question.settle(error);
    },
  };
}
