import type { JSX } from 'preact';
import { createStore, useStore } from '../lib/store.js';

/*
 * What a screen reader is told without being asked, and the eye for a moment: the outcome of an action, and what was
 * heard. Never more than one thing in a few seconds, or nobody could listen to anything else.
 */

const BETWEEN_MS = 5000;
const SHOWN_MS = 6000;

interface Announcement {
  text: string;
  isShown: boolean;
}

const current = createStore<Announcement>({ text: '', isShown: false });
let hide: number | undefined;
let lastHeardMs = -Infinity;

/** Tells and shows the outcome of what somebody did. */
export function announce(text: string): void {
  current.set({ text, isShown: true });
  window.clearTimeout(hide);
  hide = window.setTimeout(() => current.set({ text: '', isShown: false }), SHOWN_MS);
}

/** Takes away what is shown. */
export function dismiss(): void {
  if (current.get().isShown) current.set({ text: '', isShown: false });
}

/** Tells what happened by itself; what comes right after another is on the page, and is not told. */
export function tell(text: string): void {
  const now = performance.now();
  if (current.get().isShown || now - lastHeardMs < BETWEEN_MS) return;
  lastHeardMs = now;
  current.set({ text, isShown: false });
}

export function Announcer(): JSX.Element {
  const { text, isShown } = useStore(current, (now) => now);
  return (
    <div class={isShown ? 'toast' : 'unseen'} role="status" aria-live="polite">
      {text}
    </div>
  );
}
