/** A message that has been handed over. */
export interface HandedOver {
  readonly topic: string;
  readonly bytes: number;
  /** The broker will acknowledge it. */
  readonly answered: boolean;
}

/** Messages without a sign that the broker has read them, in the order in which they were handed over. */
export interface OnTheirWay {
  readonly size: number;
  /** Something is on its way, and nothing of it will be acknowledged. */
  readonly unansweredOnly: boolean;
  /** The number of the last one handed over; 0 before there is one. */
  readonly last: number;
  /** Returns its number; numbers grow. */
  add(message: HandedOver): number;
  /** The broker has answered this one, and so has read all that went before it. */
  answered(number: number): void;
  /** The broker has read all up to this one; of what it will acknowledge it has yet to do so. */
  readUpTo(number: number): void;
  /** The connection is over: takes out all of them. */
  takeAll(): HandedOver[];
}

/** `taken` is told of every message that the broker has read and went on. */
export function createOnTheirWay(taken: (message: HandedOver) => void): OnTheirWay {
  const messages = new Map<number, HandedOver>();
  let last = 0;

  function readUpTo(number: number): void {
    for (const [other, message] of messages) {
      if (other > number) break;
      if (message.answered) continue;
      messages.delete(other);
      taken(message);
    }
  }

  return {
    get size() {
      return messages.size;
    },
    get unansweredOnly() {
      return messages.size > 0 && [...messages.values()].every(({ answered }) => !answered);
    },
    get last() {
      return last;
    },
    add(message) {
      last += 1;
      // Of what is never acknowledged the last one of a topic is enough.
      if (!message.answered) {
        for (const [number, other] of messages) {
          if (!other.answered && other.topic === message.topic) messages.delete(number);
        }
      }
      messages.set(last, message);
      return last;
    },
    answered(number) {
      const message = messages.get(number);
      messages.delete(number);
      if (message !== undefined) taken(message);
      readUpTo(number);
    },
    readUpTo,
    takeAll() {
      const all = [...messages.values()];
      messages.clear();
      return all;
    },
  };
}
