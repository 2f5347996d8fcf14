import type { DiscoveryMemory } from './discovery-memory.js';

/**
 * What is being taken away is described as its platform alone for a while, and then left out: Home Assistant passes
 * over what it is too busy for, and gets it a second time with all that is sent after its birth message.
 */
export interface RemovalHold {
  /** Components of a topic are on their way out as of now; the time begins anew, for those of other topics too. */
  hold(topic: string, gone: readonly string[]): void;
  /** The time begins anew for what is held. */
  beginAnew(): void;
  /** Nothing is held any more, and nothing is forgotten: another description is on its way. */
  end(): void;
}

/**
 * @param options.memory forgets the components once they are over
 * @param options.holdMs how long a removal stays at the broker
 * @param options.onOver the removals have been at the broker for so long, and can be left out
 */
export function createRemovalHold(options: {
  memory: Pick<DiscoveryMemory, 'components' | 'set'>;
  holdMs: number;
  onOver: () => void;
}): RemovalHold {
  const { memory } = options;
  /** Ids of components by their topics. */
  const held = new Map<string, readonly string[]>();
  let timer: NodeJS.Timeout | null = null;

  function over(): void {
    timer = null;
    for (const [topic, ids] of held) {
      const left = Object.entries(memory.components(topic)).filter(([id]) => !ids.includes(id));
      void memory.set(topic, Object.fromEntries(left));
    }
    held.clear();
    options.onOver();
  }

  return {
    hold(topic, gone) {
      held.set(topic, gone);
      if (timer !== null) clearTimeout(timer);
      timer = setTimeout(over, options.holdMs);
    },
    beginAnew: () => void timer?.refresh(),
    end() {
      if (timer !== null) clearTimeout(timer);
      timer = null;
      held.clear();
    },
  };
}
