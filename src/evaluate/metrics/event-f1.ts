/** A sound at its place in a recording, in seconds since its beginning. */
export interface Span {
  onset: number;
  offset: number;
}

/** How far an onset or an offset may be off (s), and an offset as a part of the length of the event. */
export interface Collar {
  seconds: number;
  partOfLength: number;
}

/** That of DCASE task 4. */
export const COLLAR: Collar = { seconds: 0.2, partOfLength: 0.2 };

/**
 * How many pairs of an event and a detection of one label in one recording fit: onsets not farther apart than the
 * collar, offsets not farther than the collar or its part of the event's length, whichever is more. Each is in one pair
 * at most, and there are as many pairs as there can be (as in sed_eval with its matching `optimal`).
 */
export function countMatches(
  reference: readonly Span[],
  detected: readonly Span[],
  { seconds, partOfLength }: Collar = COLLAR,
): number {
  const found = [...detected].sort((a, b) => a.onset - b.onset);
  const fits = reference.map((event) => {
    const most = Math.max(seconds, partOfLength * (event.offset - event.onset));
    const near: number[] = [];
    // Somewhat wider than the collar: what fits is then decided by the same difference as everywhere.
    for (
      let at = firstFrom(found, event.onset - 2 * seconds);
      at < found.length && found[at]!.onset <= event.onset + 2 * seconds;
      at += 1
    ) {
      const { onset, offset } = found[at]!;
      if (Math.abs(event.onset - onset) <= seconds && Math.abs(event.offset - offset) <= most) near.push(at);
    }
    return near;
  });
  return largestMatching(fits, found.length);
}

/** The first of the sorted spans that does not begin before `onset`. */
function firstFrom(spans: readonly Span[], onset: number): number {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle]!.onset < onset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The size of the largest matching of a bipartite graph, by augmenting paths (Berge 1957): breadth first, so that a long
 * row of events needs no deep stack.
 * @param edges for each on the left those on the right that it may be paired with
 */
function largestMatching(edges: readonly (readonly number[])[], rightCount: number): number {
  const leftOf = new Int32Array(rightCount).fill(-1);
  const rightOf = new Int32Array(edges.length).fill(-1);
  let size = 0;
  for (let start = 0; start < edges.length; start += 1) {
    const cameFrom = new Map<number, number>();
    const queue = [start];
    let free = -1;
    for (let next = 0; next < queue.length && free === -1; next += 1) {
      const left = queue[next]!;
      for (const right of edges[left]!) {
        if (cameFrom.has(right)) continue;
        cameFrom.set(right, left);
        if (leftOf[right] === -1) {
          free = right;
          break;
        }
        queue.push(leftOf[right]!);
      }
    }
    if (free === -1) continue;
    size += 1;
    // Along the path back to its beginning each gets the one that it was reached by.
    for (let right = free; right !== -1;) {
      const left = cameFrom.get(right)!;
      const before = rightOf[left]!;
      rightOf[left] = right;
      leftOf[right] = left;
      right = before;
    }
  }
  return size;
}

/** Events of a label: how many there are, were detected, and were detected rightly. */
export interface EventCounts {
  reference: number;
  detected: number;
  correct: number;
}

export interface FMeasure {
  /** Null where nothing was detected. */
  precision: number | null;
  recall: number;
  f1: number;
}

/**
 * F1 = 2PR / (P + R). Where nothing was detected it is 0 (sed_eval's `zero_score`, as DCASE task 4 has it).
 * @param counts with at least one event
 */
export function fMeasure({ reference, detected, correct }: EventCounts): FMeasure {
  const precision = detected === 0 ? null : correct / detected;
  const recall = correct / reference;
  const f1 = correct === 0 ? 0 : (2 * correct) / (reference + detected);
  return { precision, recall, f1 };
}

/** All labels together (micro average), and the mean of the labels' own F1 (macro average). */
export function averageOf(counts: readonly EventCounts[]): FMeasure & { meanF1: number } {
  const sum = (key: keyof EventCounts) => counts.reduce((total, each) => total + each[key], 0);
  const all = { reference: sum('reference'), detected: sum('detected'), correct: sum('correct') };
  const meanF1 = counts.reduce((total, each) => total + fMeasure(each).f1, 0) / counts.length;
  return { ...fMeasure(all), meanF1 };
}
