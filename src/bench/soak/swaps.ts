import type { ResponsePayload } from '../../mqtt/contract.js';

/** One change of the model. */
export interface SwapRecord {
  /** Position in the sound when it was asked for, in s. */
  atSeconds: number;
  from: string;
  to: string;
  /** Why it failed; null where it did not. */
  error: string | null;
  loadMs: number | null;
  /** From the command to the first tags of the new model. */
  tookMs: number | null;
  /** Windows that the old model answered meanwhile. */
  windowsMeanwhile: number | null;
  /** Resident memory of all processes before. */
  rssBeforeMb: number | null;
}

/** Asks for a change of the model every so many seconds of sound, and notes what becomes of it. */
export interface Swaps {
  /** The sound has come to this position (s); `model` has answered the last window. */
  window(atSeconds: number, model: string): void;
  reply(payload: ResponsePayload): void;
  /** A swap has been asked for and is not done. */
  readonly busy: boolean;
  summary(): {
    asked: number;
    failed: number;
    slowestMs: number | null;
    times: SwapTimes[];
    list: SwapRecord[];
  };
}

/** How long all swaps to one model took, from the command to its first tags. */
export interface SwapTimes {
  model: string;
  count: number;
  meanMs: number;
  slowestMs: number;
}

/** Of a run with thousands of swaps the first ones are written down, and every one that failed is counted. */
const LISTED = 500;

export function createSwaps(options: {
  models: readonly [string, string];
  everySeconds: number;
  /** From this position on no other swap begins, so that the run can end. */
  untilSeconds: number;
  /** Sends the command; the reply is to carry the transaction. */
  send: (model: string, transaction: string) => void;
  /** Called before a command: takes the memory of all processes, in MB. */
  begins: (from: string, to: string, atSeconds: number) => number | null;
  failed: (swap: SwapRecord) => void;
  now?: () => number;
}): Swaps {
  const { models, everySeconds, untilSeconds, send, begins, now = () => performance.now() } = options;
  const list: SwapRecord[] = [];
  let nextAt = everySeconds;
  let asked = 0;
  let failures = 0;
  const times = new Map<string, SwapTimes>();
  let current: { record: SwapRecord; transaction: string; sentMs: number; windows: number } | null = null;
  let replied = false;

  function note(to: string, tookMs: number): void {
    const { count, meanMs, slowestMs } = times.get(to) ?? { count: 0, meanMs: 0, slowestMs: 0 };
    times.set(to, {
      model: to,
      count: count + 1,
      meanMs: meanMs + (tookMs - meanMs) / (count + 1),
      slowestMs: Math.max(slowestMs, tookMs),
    });
  }

  function settle(): void {
    if (current === null || !replied) return;
    const { record } = current;
    if (record.error === null && record.tookMs === null) return;
    current = null;
  }

  return {
    window(atSeconds, model) {
      if (current !== null) {
        const { record } = current;
        if (model === record.to && record.tookMs === null) {
          record.tookMs = now() - current.sentMs;
          record.windowsMeanwhile = current.windows;
          note(record.to, record.tookMs);
        } else if (record.tookMs === null) {
          current.windows += 1;
        }
        settle();
      }
      if (current !== null || atSeconds < nextAt || atSeconds >= untilSeconds) return;
      while (nextAt <= atSeconds) nextAt += everySeconds;
      const to = model === models[0] ? models[1] : models[0];
      asked += 1;
      const record: SwapRecord = {
        atSeconds,
        from: model,
        to,
        error: null,
        loadMs: null,
        tookMs: null,
        windowsMeanwhile: null,
        rssBeforeMb: begins(model, to, atSeconds),
      };
      if (list.length < LISTED) list.push(record);
      current = { record, transaction: `swap-${asked}`, sentMs: now(), windows: 0 };
      replied = false;
      send(to, current.transaction);
    },
    reply(payload) {
      if (current === null || payload.transaction !== current.transaction) return;
      replied = true;
      const { record } = current;
      if (payload.status === 'error') {
        record.error = payload.error.message;
        failures += 1;
        options.failed(record);
      } else {
        const loadMs = payload.data['load_ms'];
        record.loadMs = typeof loadMs === 'number' ? loadMs : null;
      }
      settle();
    },
    get busy() {
      return current !== null;
    },
    summary: () => ({
      asked,
      failed: failures,
      slowestMs: times.size === 0 ? null : Math.max(...[...times.values()].map(({ slowestMs }) => slowestMs)),
      times: [...times.values()],
      list: list.map((record) => ({ ...record })),
    }),
  };
}
