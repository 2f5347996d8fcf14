/** A smooth function: its value at `x`, and its gradient written into `gradient`. */
export type Smooth = (x: Float64Array, gradient: Float64Array) => number;

/** Pairs of steps and changes of the gradient that are remembered. */
const MEMORY = 10;
/** Armijo's constant. */
const SUFFICIENT = 1e-4;
const MOST_HALVINGS = 40;

/**
 * The minimum of a convex function by L-BFGS with backtracking (Nocedal and Wright, Numerical Optimization, 2nd ed.,
 * 2006, algorithms 7.4 and 3.1). Deterministic. Ends where no component of the gradient is larger than `tolerance`,
 * where no step goes down any further, or after `steps` steps.
 */
export function minimise(
  smooth: Smooth,
  start: Float64Array,
  { tolerance = 1e-5, steps = 200 }: { tolerance?: number; steps?: number } = {},
): Float64Array {
  const size = start.length;
  let x = Float64Array.from(start);
  let gradient = new Float64Array(size);
  let value = smooth(x, gradient);
  const past: { step: Float64Array; change: Float64Array; curvature: number }[] = [];
  for (let n = 0; n < steps && largest(gradient) > tolerance; n += 1) {
    const direction = directionOf(gradient, past);
    const slope = dot(direction, gradient);
    const next = new Float64Array(size);
    const nextGradient = new Float64Array(size);
    let nextValue = Infinity;
    // The first direction has no scale yet.
    let length = past.length === 0 ? Math.min(1, 1 / Math.sqrt(-slope)) : 1;
    for (let halving = 0; halving < MOST_HALVINGS; halving += 1, length /= 2) {
      for (let d = 0; d < size; d += 1) next[d] = x[d]! + length * direction[d]!;
      nextValue = smooth(next, nextGradient);
      if (nextValue <= value + SUFFICIENT * length * slope) break;
    }
    if (!(nextValue < value)) break;
    const step = next.map((to, d) => to - x[d]!);
    const change = nextGradient.map((to, d) => to - gradient[d]!);
    const curvature = dot(step, change);
    if (curvature > 1e-12 * dot(change, change)) past.push({ step, change, curvature });
    if (past.length > MEMORY) past.shift();
    x = next;
    gradient = nextGradient;
    value = nextValue;
  }
  return x;
}

/** The inverse of the curvature so far times the gradient, downwards (two-loop recursion). */
function directionOf(
  gradient: Float64Array,
  past: readonly { step: Float64Array; change: Float64Array; curvature: number }[],
): Float64Array {
  const direction = gradient.map((slope) => -slope);
  const shares = new Float64Array(past.length);
  for (let n = past.length - 1; n >= 0; n -= 1) {
    const { step, change, curvature } = past[n]!;
    shares[n] = dot(step, direction) / curvature;
    add(direction, change, -shares[n]!);
  }
  const latest = past.at(-1);
  if (latest !== undefined) {
    const scale = latest.curvature / dot(latest.change, latest.change);
    for (let d = 0; d < direction.length; d += 1) direction[d]! *= scale;
  }
  past.forEach(({ step, change, curvature }, n) => {
    add(direction, step, shares[n]! - dot(change, direction) / curvature);
  });
  return direction;
}

function dot(one: Float64Array, other: Float64Array): number {
  let sum = 0;
  for (let d = 0; d < one.length; d += 1) sum += one[d]! * other[d]!;
  return sum;
}

function add(to: Float64Array, what: Float64Array, times: number): void {
  for (let d = 0; d < to.length; d += 1) to[d]! += times * what[d]!;
}

function largest(values: Float64Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}
