import { useEffect, useRef, useState } from 'preact/hooks';
import { readRoute, type Route } from './routes.js';

/** Where one is, and again when that changes. */
export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const look = (): void => setHash(location.hash);
    addEventListener('hashchange', look);
    return () => removeEventListener('hashchange', look);
  }, []);
  return readRoute(hash);
}

/** Whether something the browser tells about itself holds, such as `(prefers-color-scheme: dark)`. */
export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const look = (): void => setMatches(list.matches);
    look();
    list.addEventListener('change', look);
    return () => list.removeEventListener('change', look);
  }, [query]);
  return matches;
}

/** The time, again and again; for what says how long ago something was. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEvery(everyMs, () => setNow(Date.now()));
  return now;
}

/** Does something again and again; null: not now. */
export function useEvery(everyMs: number | null, work: () => void): void {
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    if (everyMs === null) return undefined;
    const timer = window.setInterval(() => latest.current(), everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs]);
}

/** What was asked for: not there yet, there, or what went wrong. */
export interface Loaded<T> {
  data: T | null;
  error: unknown;
  isLoading: boolean;
  again: () => void;
}

/**
 * Asks whenever `key` changes; null asks nothing. What was there stays until the answer comes, unless the key is
 * another one; answers that come late are thrown away.
 */
export function useLoaded<T>(key: string | null, load: () => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{
    key: string | null;
    data: T | null;
    error: unknown;
    isLoading: boolean;
  }>({
    key: null,
    data: null,
    error: null,
    isLoading: key !== null,
  });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (key === null) return undefined;
    let isWanted = true;
    setState((now) => ({ key, data: now.key === key ? now.data : null, error: null, isLoading: true }));
    latest.current().then(
      (data) => isWanted && setState({ key, data, error: null, isLoading: false }),
      (error: unknown) => isWanted && setState({ key, data: null, error, isLoading: false }),
    );
    return () => {
      isWanted = false;
    };
  }, [key, turn]);
  const isOfKey = state.key === key;
  return {
    data: isOfKey ? state.data : null,
    error: isOfKey ? state.error : null,
    isLoading: isOfKey ? state.isLoading : key !== null,
    again: () => setTurn((count) => count + 1),
  };
}

/** The width of an element, in CSS pixels; 0 before it is known. */
export function useWidth(): [ref: { current: HTMLDivElement | null }, width: number] {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (ref.current === null) return undefined;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}
