/** What was measured of one fault, and whether its promise was kept. */
export interface Verdict {
  /** Something measured, for the table. */
  note(text: string): void;
  /** A part of the promise. What does not hold is named in the table. */
  hold(kept: boolean, what: string): void;
  /** A part of the promise with a time: `null` is never. */
  within(seconds: number | null, limit: number, what: string): void;
  readonly pass: boolean;
  readonly measured: string;
}

export function createVerdict(): Verdict {
  const notes: string[] = [];
  const missed: string[] = [];
  const hold = (kept: boolean, what: string) => {
    if (!kept) missed.push(what);
  };
  return {
    note: (text) => void notes.push(text),
    hold,
    within(seconds, limit, what) {
      notes.push(`${what} ${seconds === null ? 'never' : `${seconds.toFixed(1)} s`}`);
      hold(seconds !== null && seconds <= limit, `${what} within ${limit} s`);
    },
    get pass() {
      return missed.length === 0;
    },
    get measured() {
      return [...notes, ...missed.map((what) => `NOT KEPT: ${what}`)].join('; ');
    },
  };
}

/** A fault that this machine has no means for; it counts as neither kept nor missed. */
export class NotHere extends Error {}
