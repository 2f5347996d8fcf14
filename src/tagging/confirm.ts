/** k of the last n hops, this one included. */
export interface Confirm {
  readonly k: number;
  readonly n: number;
}

const MOST_HOPS = 100;

/** `2/3` as its two numbers; null unless they are such as `isConfirm` takes. */
export function parseConfirm(text: string): Confirm | null {
  const match = /^\s*(\d{1,3})\s*\/\s*(\d{1,3})\s*$/.exec(text);
  if (match === null) return null;
  const confirm = { k: Number(match[1]), n: Number(match[2]) };
  return isConfirm(confirm) ? confirm : null;
}

/** Whether both are whole numbers with 1 ≤ k ≤ n ≤ 100. */
export function isConfirm({ k, n }: Confirm): boolean {
  return Number.isInteger(k) && Number.isInteger(n) && k >= 1 && k <= n && n <= MOST_HOPS;
}
