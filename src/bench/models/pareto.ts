/** Something that costs and is worth something. */
export interface Candidate {
  cost: number;
  worth: number;
}

/**
 * Those that no other beats: none is worth at least as much for less, or more for the same. The cheapest first; of
 * several that are equal in both, all.
 */
export function paretoFront<T extends Candidate>(candidates: readonly T[]): T[] {
  const sorted = [...candidates].sort((a, b) => a.cost - b.cost || b.worth - a.worth);
  const front: T[] = [];
  for (const candidate of sorted) {
    const best = front.at(-1);
    const equal = best?.cost === candidate.cost && best.worth === candidate.worth;
    if (best === undefined || candidate.worth > best.worth || equal) front.push(candidate);
  }
  return front;
}
