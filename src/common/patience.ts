/** So many times in the course of its wait this looks whether the process has run at all. */
const SLICES = 10;

/**
 * A time limit for an answer of another process, counted in time in which this process ran itself: after a machine
 * that was suspended, a container that was paused, or a stall of this process, the other one was held up as well, or
 * its answer is there and only has to be read. A stop of any length counts as a tenth of the limit.
 *
 * Calls `onOver` once, `ms` from now at the earliest, unless it was called off. Returns the way to call it off.
 */
export function setPatience(ms: number, onOver: () => void): () => void {
  let slices = 0;
  let calledOff = false;
  const next = (): void => {
    slices += 1;
    if (slices < SLICES) timer = setTimeout(next, ms / SLICES);
    else readFirst(2);
  };
  /** What lies in the pipes is read between two turns. */
  const readFirst = (turns: number): void => {
    if (calledOff) return;
    if (turns === 0) onOver();
    else setImmediate(() => readFirst(turns - 1));
  };
  let timer = setTimeout(next, ms / SLICES);
  return () => {
    calledOff = true;
    clearTimeout(timer);
  };
}
