/**
 * The upper tail of something measured again and again, as a generalised Pareto distribution over a high level:
 * P(X > level + y | X > level) = (1 + shape · y / scale)^(−1 / shape), or e^(−y / scale) for shape 0.
 */
export interface Tail {
  readonly level: number;
  /** > 0, in units of what is measured. */
  readonly scale: number;
  /** 0: falls exponentially; below: there is an end; above: heavy. */
  readonly shape: number;
  /** How many values the fit is made of. */
  readonly count: number;
}

/**
 * Few values say little of the shape, so it is kept within bounds. A score is a sum of bounded numbers and has an end:
 * the tail is never heavy, nor one that falls for ever at one pace.
 */
export const SHAPES = { min: -0.5, max: -0.1 } as const;

/**
 * Fits the excesses over a level by probability-weighted moments (Hosking and Wallis, Parameter and Quantile Estimation
 * for the Generalized Pareto Distribution, Technometrics 29, 1987), which for small samples are nearer to the truth
 * than the maximum of the likelihood.
 * @param excesses values over `level` minus `level`, in any order
 */
export function fitTail(level: number, excesses: readonly number[]): Tail {
  const sorted = [...excesses].sort((one, other) => one - other);
  const count = sorted.length;
  let first = 0;
  let second = 0;
  sorted.forEach((excess, n) => {
    first += excess / count;
    second += (excess * (1 - (n + 1 - 0.35) / count)) / count;
  });
  const mean = Math.max(first, Number.EPSILON);
  // In the paper's notation k = −shape; with the shape held, the scale is what gives the mean.
  const free = 2 - mean / Math.max(mean - 2 * second, 1e-9 * mean);
  const shape = Math.min(SHAPES.max, Math.max(SHAPES.min, Number.isFinite(free) ? free : 0));
  return { level, scale: mean * (1 - shape), shape, count };
}

/** The chance that a value over the tail's level is over `value` as well. */
export function chanceOver({ level, scale, shape }: Tail, value: number): number {
  const excess = (value - level) / scale;
  if (excess <= 0) return 1;
  if (Math.abs(shape) < 1e-6) return Math.exp(-excess);
  return Math.max(0, 1 + shape * excess) ** (-1 / shape);
}

/** The value that a value over the tail's level exceeds with this chance, 0 < chance ≤ 1 (Coles 2001, 4.3.3). */
export function valueAt({ level, scale, shape }: Tail, chance: number): number {
  if (Math.abs(shape) < 1e-6) return level - scale * Math.log(chance);
  return level + (scale / shape) * (chance ** -shape - 1);
}
