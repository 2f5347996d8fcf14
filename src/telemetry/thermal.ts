/** Whether the service slows itself down, and why: `throttle` of `B/state`. */
export interface Throttle {
  active: boolean;
  /** For people; null while not active. */
  reason: string | null;
}
