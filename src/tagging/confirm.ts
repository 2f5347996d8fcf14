/** k of the last n hops, this one included. */
export interface Confirm {
  readonly k: number;
  readonly n: number;
}

const MOST_HOPS = 100;

/** `2/3` as its two numbers; null unless they are whole with 1 ≤ k ≤ n ≤ 100. */
export function parseConfirm(text: string): Confirm | null {
  const match = /^\s*(\d{1,3})\s*\/\s*(\d{1,3})\s*$/.exec(text);
  if (match === null) return null;
  const [k, n] = [Number(match[1]), Number(match[2])];
  return k >= 1 && k <= n && n <= MOST_HOPS ? { k, n } : null;
}
