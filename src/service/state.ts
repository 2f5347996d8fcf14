import type { StatePayload } from '../mqtt/contract.js';

/** What the service does now, in one place: the payload of `B/state`. */
export interface StateHolder {
  readonly now: Readonly<StatePayload>;
  /** Changes some of it and tells the listener, once for all that changed. */
  change(part: Partial<StatePayload>): void;
}

export function createState(initial: StatePayload, onChange: (state: StatePayload) => void): StateHolder {
  let now = initial;
  return {
    get now() {
      return now;
    },
    change(part) {
      now = { ...now, ...part };
      onChange(now);
    },
  };
}
