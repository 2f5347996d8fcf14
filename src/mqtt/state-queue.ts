import type { Outgoing } from './outgoing.js';

/** The newest message of every state topic, and which of them the broker does not have yet. */
export interface StateQueue {
  /** Takes the place of the topic's message before, and is in line: behind all others, or in front where it leads. */
  keep(message: Outgoing): void;
  /** Will not change any more: it is in line once more, and forgotten once the broker has it. False: nothing to do. */
  retire(topic: string): boolean;
  forget(topic: string): void;
  /** Puts every state in line, those that lead first; what is in line already keeps its place. */
  queueAll(): void;
  /** A connection begins: `first` is in line, and behind it every state. */
  restart(first: Outgoing): void;
  /** What is in line, in order. May be changed while it is gone through; what is put in line meanwhile comes too. */
  waiting(): Iterable<Outgoing>;
  /** Takes a message out of the line: it is on its way. */
  begin(message: Outgoing): void;
  /** The broker has this message. */
  taken(message: Outgoing): void;
}

/** Bounded by the number of topics: one message for each. */
export function createStateQueue(): StateQueue {
  const states = new Map<string, Outgoing>();
  /** Topics, in order; each of them is in `states`. */
  const unsent = new Set<string>();

  function keep(message: Outgoing): void {
    const { topic, leads = false } = message;
    states.set(topic, message);
    const behind = leads ? [...unsent] : [];
    if (leads) unsent.clear();
    for (const next of [topic, ...behind]) unsent.add(next);
  }

  function queueAll(): void {
    for (const leads of [true, false]) {
      for (const [topic, message] of states) if ((message.leads ?? false) === leads) unsent.add(topic);
    }
  }

  function forget(topic: string): void {
    states.delete(topic);
    unsent.delete(topic);
  }

  return {
    keep,
    queueAll,
    forget,
    retire(topic) {
      const last = states.get(topic);
      if (last === undefined || last.once === true) return false;
      // It may be on its way as one that stays: it is sent once more.
      keep({ ...last, once: true });
      return true;
    },
    restart(first) {
      unsent.clear();
      keep(first);
      queueAll();
    },
    *waiting() {
      for (const topic of unsent) {
        const message = states.get(topic);
        if (message !== undefined) yield message;
      }
    },
    begin: ({ topic }) => void unsent.delete(topic),
    taken(message) {
      if (states.get(message.topic) !== message) return;
      if (message.once === true) forget(message.topic);
      message.delivered?.();
    },
  };
}
