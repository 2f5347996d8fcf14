import { uptime } from 'node:os';
import { createCrowdBackoff } from '../common/backoff.js';
import type { Failure } from './connection.js';

/** Milliseconds. */
export interface ReconnectTiming {
  /** The shortest delay between two attempts; the longest delay grows from four times this one. */
  firstDelayMs: number;
  maxDelayMs: number;
  /** After a refusal the delay is between this and twice this. */
  refusedDelayMs: number;
  /** A connection that held this long starts the delays from the beginning. */
  lastedMs: number;
  /** On a machine that has just booted the first attempt is put off by up to this long. */
  startSpreadMs: number;
}

/** When to try again, and where. Pure but for `random`: it is told what happened, and says how long to wait. */
export interface ReconnectPolicy {
  /** The place in the list of the address to try now, or that is connected; the first one at the start. */
  readonly address: number;
  /** Milliseconds before the very first attempt. */
  beforeFirst(): number;
  /**
   * An attempt failed (`heldMs` 0) or a connection that had held for `heldMs` is over: `address` is the next one in
   * turn, after the last one the first; with `stay` it is the same once more, to be asked for less. Returns the reason to tell,
   * which may be more than the failure itself says, and the milliseconds to wait. `suspected`: it may have been for a
   * message, and the next connection will tell; `found`: it was, and that message will not be sent again.
   */
  after(
    failure: Failure,
    heldMs: number,
    message?: { suspected: boolean; found: boolean; stay?: boolean },
  ): { cause: Failure; delayMs: number };
}

/**
 * After a power cut every device of a building starts at once. A machine that came up less than this long ago may
 * be one of them; a service that is started on a running machine is not, and connects at once.
 */
const JUST_BOOTED_SECONDS = 180;
/** After so many connections in a row that the broker ended soon, without a word and with nothing on its way. */
const SUDDEN_ENDS = 3;

const endedAgain = {
  code: 'closed_again',
  kind: 'refused' as const,
  reason:
    'the broker keeps closing the connection soon after it began, and does not say why: its log should (a limit, its access rules, or another client with our id)',
};

/** `uptimeSeconds` is that of the machine; `addresses` is how many there are, 1 by default. */
export function createReconnectPolicy(options: {
  timing: ReconnectTiming;
  addresses?: number;
  random?: () => number;
  uptimeSeconds?: number;
}): ReconnectPolicy {
  const { timing, random = Math.random, uptimeSeconds = uptime(), addresses = 1 } = options;
  const backoff = createCrowdBackoff({
    firstMs: timing.firstDelayMs,
    maxMs: timing.maxDelayMs,
    random,
    targets: addresses,
  });
  let suddenEnds = 0;
  let address = 0;
  /** Those whose last word was a refusal. */
  const refusers = new Set<number>();
  return {
    get address() {
      return address;
    },
    beforeFirst: () => (uptimeSeconds < JUST_BOOTED_SECONDS ? random() * timing.startSpreadMs : 0),
    after(failure, heldMs, message = { suspected: false, found: false, stay: false }) {
      const lasted = heldMs >= timing.lastedMs;
      // Whoever has found what ended the connection has reason to hope.
      if (lasted || message.found) backoff.reset();
      const isSudden = heldMs > 0 && !lasted && failure.code === 'connection_closed' && !message.suspected;
      suddenEnds = isSudden ? suddenEnds + 1 : 0;
      const cause = suddenEnds >= SUDDEN_ENDS ? { ...failure, ...endedAgain } : failure;
      const delayMs = backoff.next();
      if (cause.kind === 'unreachable') refusers.delete(address);
      else refusers.add(address);
      if (message.stay !== true) address = (address + 1) % addresses;
      // Another one may let us in: only who has refused is left alone for longer.
      if (!refusers.has(address)) return { cause, delayMs };
      // A whole fleet may be refused at once (a broker that has lost its passwords), so this is jittered as well.
      return { cause, delayMs: Math.max(delayMs, timing.refusedDelayMs * (1 + random())) };
    },
  };
}
