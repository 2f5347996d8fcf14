/** A line that waits to be written. */
export interface WaitingLine {
  readonly line: Buffer;
  /** What it is about, ms since the epoch. */
  readonly atMs: number;
}

/** Lines that wait to be written, in order and in bounded memory. */
export interface LineQueue {
  /** Lines that wait, those on their way included. */
  readonly size: number;
  /** Adds a line; the oldest ones go where there is no room. Returns how many went. */
  push(line: WaitingLine): number;
  /** The oldest lines, at least one and at most `maxBytes` of them; they are on their way then. */
  take(maxBytes: number): readonly WaitingLine[];
  /** What was on its way has arrived. */
  arrived(): void;
  /** What was on its way has not arrived: it waits again. */
  returned(): void;
  /** Everything that waits, oldest first, those on their way included. */
  lines(): readonly WaitingLine[];
  /** Forgets what is about earlier times, those on their way as well. */
  forget(beforeMs: number): void;
}

/** @param maxBytes of all lines together */
export function createLineQueue(maxBytes: number): LineQueue {
  let waiting: WaitingLine[] = [];
  let onTheirWay: readonly WaitingLine[] = [];
  let bytes = 0;

  /** Lines on their way are not dropped: they may have arrived. */
  function bound(): number {
    let count = 0;
    for (; bytes > maxBytes && count < waiting.length; count += 1) bytes -= waiting[count]!.line.length;
    if (count > 0) waiting = waiting.slice(count);
    return count;
  }

  return {
    get size() {
      return waiting.length + onTheirWay.length;
    },
    push(line) {
      waiting.push(line);
      bytes += line.line.length;
      return bound();
    },
    take(most) {
      let count = 0;
      for (let sum = 0; count < waiting.length; count += 1) {
        sum += waiting[count]!.line.length;
        if (count > 0 && sum > most) break;
      }
      onTheirWay = waiting.slice(0, count);
      waiting = waiting.slice(count);
      return onTheirWay;
    },
    arrived() {
      for (const { line } of onTheirWay) bytes -= line.length;
      onTheirWay = [];
    },
    returned() {
      waiting = [...onTheirWay, ...waiting];
      onTheirWay = [];
    },
    lines: () => [...onTheirWay, ...waiting],
    forget(beforeMs) {
      const stays = ({ atMs }: WaitingLine): boolean => atMs >= beforeMs;
      onTheirWay = onTheirWay.filter(stays);
      waiting = waiting.filter(stays);
      bytes = [...onTheirWay, ...waiting].reduce((sum, { line }) => sum + line.length, 0);
    },
  };
}
