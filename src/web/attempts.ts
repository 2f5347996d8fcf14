import ipaddr from 'ipaddr.js';

/** How often a password may be tried. */
export interface Attempts {
  /** How long to wait before the next try from there, in ms; 0: it may be made. */
  waitMs(address: string): number;
  failed(address: string): void;
  passed(address: string): void;
}

/** So many mistakes cost nothing. */
const FREE = 4;
const LONGEST_MS = 15 * 60_000;
/** An address that has been quiet for so long begins anew. */
const FORGET_MS = 24 * 3600_000;
const ADDRESSES = 2000;
/** Wrong passwords of all addresses together that cost nothing; one is forgiven a minute. */
const FREE_IN_ALL = 30;
const FORGIVEN_MS = 60_000;
/** Short, since it keeps out whoever has never been here as well. */
const LONGEST_IN_ALL_MS = 10_000;
const KNOWN = 200;

/**
 * Each wrong password makes the wait of its address longer, up to 15 minutes. Many addresses share a second wait, which
 * those are spared that have given the right password before. What is remembered is bounded.
 * @param now in ms, of a clock that is never set
 */
export function createAttempts(now: () => number): Attempts {
  const mistakes = new Map<string, { count: number; lastMs: number; untilMs: number }>();
  const known = new Set<string>();
  const inAll = { count: 0, lastMs: now(), untilMs: 0 };

  function forgive(): void {
    const forgiven = Math.floor((now() - inAll.lastMs) / FORGIVEN_MS);
    inAll.count = Math.max(0, inAll.count - forgiven);
    inAll.lastMs += forgiven * FORGIVEN_MS;
  }

  return {
    waitMs(address) {
      const key = keyOf(address);
      const own = (mistakes.get(key)?.untilMs ?? 0) - now();
      const shared = known.has(key) ? 0 : inAll.untilMs - now();
      return Math.max(0, own, shared);
    },
    failed(address) {
      const key = keyOf(address);
      const last = mistakes.get(key);
      const before = last === undefined || now() - last.lastMs > FORGET_MS ? 0 : last.count;
      mistakes.delete(key);
      mistakes.set(key, {
        count: before + 1,
        lastMs: now(),
        untilMs: now() + delayMs(before + 1 - FREE, LONGEST_MS),
      });
      if (mistakes.size > ADDRESSES) mistakes.delete(mistakes.keys().next().value!);
      forgive();
      inAll.count += 1;
      inAll.untilMs = now() + delayMs(inAll.count - FREE_IN_ALL, LONGEST_IN_ALL_MS);
    },
    passed(address) {
      const key = keyOf(address);
      mistakes.delete(key);
      known.delete(key);
      known.add(key);
      if (known.size > KNOWN) known.delete(known.keys().next().value!);
    },
  };
}

/** 1, 2, 4, … s for the first, second, third one too many. */
function delayMs(tooMany: number, longestMs: number): number {
  return tooMany <= 0 ? 0 : Math.min(longestMs, 1000 * 2 ** (tooMany - 1));
}

/** One home has one address of IPv4, but 2^64 and more of IPv6. */
function keyOf(address: string): string {
  if (!ipaddr.isValid(address)) return 'unknown';
  const parsed = ipaddr.process(address);
  return parsed.kind() === 'ipv6' ? parsed.toByteArray().slice(0, 8).join('.') : parsed.toString();
}
