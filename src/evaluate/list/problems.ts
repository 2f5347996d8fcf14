import { SoundpostError } from '../../common/errors.js';

/** So many problems are told; more say only that the list is something else. */
const MOST_TOLD = 50;

/** What is wrong with a list of recordings, collected so that all of it can be told at once. */
export interface Problems {
  readonly count: number;
  /** @param line of the list, from 1; 0 where it is about none */
  add(line: number, what: string): void;
  /** `list.csv:12: there is no file dog.wav`, in the order of the lines, at most 50 and a word on the rest. */
  told(): string[];
}

/** @param list how messages call the list */
export function createProblems(list: string): Problems {
  let count = 0;
  const kept: { line: number; what: string }[] = [];
  return {
    get count() {
      return count;
    },
    add(line, what) {
      count += 1;
      if (kept.length < MOST_TOLD) kept.push({ line, what });
    },
    told() {
      const lines = [...kept]
        .sort((a, b) => a.line - b.line)
        .map(({ line, what }) => `${line === 0 ? list : `${list}:${line}`}: ${what}`);
      return count > kept.length ? [...lines, `… and ${count - kept.length} more`] : lines;
    },
  };
}

/** The error that says all of it; nothing has been done then. */
export function refusal(list: string, problems: Problems): SoundpostError {
  const number = problems.count === 1 ? 'one problem' : `${problems.count} problems`;
  return new SoundpostError(
    'evaluation_list',
    `${list} cannot be evaluated: ${number}. Correct it, or leave out what is wrong with --keep-going.\n${problems.told().join('\n')}`,
  );
}
