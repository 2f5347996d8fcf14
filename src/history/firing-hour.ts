import { RUNGS } from '../tagging/ladder.js';

/** How often one watched label or group would have started. */
export interface Firings {
  readonly name: string;
  /** The rules that it was counted by, as `rulesOf` writes them: counts of other rules cannot be added up. */
  readonly rules: string;
  /** [RUNGS]: events that would have started, by the rung of the threshold. */
  readonly onsets: ArrayLike<number>;
}

/** What would have started at a source in an hour, or in the part of it that was heard. */
export interface FiringHour {
  /** When it was first heard, ms since the epoch; no two hours of a source have the same. */
  readonly fromMs: number;
  readonly source: string;
  /** The model, as `modelKey` writes it: scores of other models say nothing. */
  readonly model: string;
  /** How much sound was looked at, in ms. */
  readonly heardMs: number;
  /**
   * The rules of whatever was watched and is not among `items`, because it would not have started, or only with low
   * thresholds; null where everything is there.
   */
  readonly rest: string | null;
  readonly items: readonly Firings[];
}

/** Counts as text: most rungs have the same as their neighbour, and high ones have none. */
export function textOfOnsets(onsets: ArrayLike<number>): string {
  const parts: string[] = [];
  let end = onsets.length;
  while (end > 0 && onsets[end - 1] === 0) end -= 1;
  for (let rung = 0; rung < end;) {
    let next = rung + 1;
    while (next < end && onsets[next] === onsets[rung]) next += 1;
    parts.push(next - rung === 1 ? String(onsets[rung]) : `${onsets[rung]}*${next - rung}`);
    rung = next;
  }
  return parts.join(',');
}

/** The counts of a text, [RUNGS]; null where it is not of `textOfOnsets`. */
export function onsetsOfText(text: string): Uint32Array | null {
  const onsets = new Uint32Array(RUNGS);
  let rung = 0;
  for (const part of text === '' ? [] : text.split(',')) {
    const [, count, times = '1'] = /^(\d{1,9})(?:\*(\d{1,3}))?$/.exec(part) ?? [];
    if (count === undefined || rung + Number(times) > RUNGS) return null;
    onsets.fill(Number(count), rung, rung + Number(times));
    rung += Number(times);
  }
  return onsets;
}
