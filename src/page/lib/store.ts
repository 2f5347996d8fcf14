import { useEffect, useReducer, useRef } from 'preact/hooks';

/** One value that several parts of the page look at. It is replaced, never changed. */
export interface Store<T> {
  get(): T;
  set(next: T): void;
  update(change: (now: T) => T): void;
  /** Returns what ends it. */
  subscribe(listener: () => void): () => void;
}

export function createStore<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<() => void>();
  const set = (next: T): void => {
    if (Object.is(next, value)) return;
    value = next;
    for (const listener of [...listeners]) listener();
  };
  return {
    get: () => value,
    set,
    update: (change) => set(change(value)),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** A part of a store's value; who uses it is drawn again when that part has changed. */
export function useStore<T, Part>(store: Store<T>, select: (value: T) => Part): Part {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const part = select(store.get());
  const latest = useRef({ part, select });
  latest.current = { part, select };
  useEffect(() => {
    const look = (): void => {
      if (!Object.is(latest.current.select(store.get()), latest.current.part)) redraw(undefined);
    };
    // It may have changed between the drawing and now.
    look();
    return store.subscribe(look);
  }, [store]);
  return part;
}
