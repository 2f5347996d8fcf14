/**
 * Keeps the order of questions that go two ways: what goes one way is sent once all that went the other way has been
 * answered, since what is read from two ways comes in any order.
 */
export interface SendOrder<Way extends string> {
  /** Sends at once where nothing of the other way is unanswered, else as soon as that is so. */
  send(way: Way, act: () => void): void;
  /** The oldest question has its answer. */
  answered(): void;
}

export function createSendOrder<Way extends string = 'messages' | 'pipe'>(): SendOrder<Way> {
  const waiting: { way: Way; act: () => void }[] = [];
  let unanswered = 0;
  /** Which way these went. */
  let current: Way | null = null;

  function sendOn(): void {
    for (;;) {
      const [next] = waiting;
      if (next === undefined || (unanswered > 0 && next.way !== current)) return;
      waiting.shift();
      current = next.way;
      unanswered += 1;
      next.act();
    }
  }

  return {
    send(way, act) {
      waiting.push({ way, act });
      sendOn();
    },
    answered() {
      unanswered -= 1;
      sendOn();
    },
  };
}
