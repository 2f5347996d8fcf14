import { epochMs, type EventPayload, type TagsPayload } from '../../mqtt/contract.js';

/** What may be wrong with what a service publishes. */
export type FaultKind = 'order' | 'time' | 'model' | 'event' | 'contract';

/** What was found to be wrong: how often, and the first cases in words. */
export interface FaultList {
  add(kind: FaultKind, text: string): void;
  summary(): { total: number; byKind: Partial<Record<FaultKind, number>>; examples: string[] };
}

const EXAMPLES = 20;

/** Counts faults; a run may last for weeks, so only the first cases are kept. */
export function createFaultList(): FaultList {
  const byKind: Partial<Record<FaultKind, number>> = {};
  const examples: string[] = [];
  let total = 0;
  return {
    add(kind, text) {
      total += 1;
      byKind[kind] = (byKind[kind] ?? 0) + 1;
      if (examples.length < EXAMPLES) examples.push(text);
    },
    summary: () => ({ total, byKind: { ...byKind }, examples: [...examples] }),
  };
}

/** A stretch of numbers that never came. */
export interface Gap {
  after: number;
  before: number;
}

export interface TagsSummary {
  /** Windows that arrived. */
  windows: number;
  /** `seq` of the first and the last one; null as long as none came. */
  firstSeq: number | null;
  lastSeq: number | null;
  /** Windows that are missing between the first and the last, and the first gaps. */
  missing: number;
  gaps: Gap[];
}

export interface TagsCheck {
  window(tags: TagsPayload): void;
  /** From now on `to` may answer too; once it has, `from` may not any more. */
  swapBegins(to: string): void;
  /** It failed: the model stays. */
  swapFailed(): void;
  summary(): TagsSummary;
}

/** Times are written in whole milliseconds: a difference of two has an error of up to one. */
const ROUNDING_MS = 1.5;

/**
 * Checks the row of `B/tags`: numbers without gaps and in order, windows that begin before they end and end one
 * after the other, and the model that is expected. The first message that arrives is where it begins: what was
 * published before the subscription cannot be seen.
 * @param options.hopSeconds the step between two windows where their times follow from it exactly, as those of a
 * recording that plays as fast as it can; null where they are read from a clock
 */
export function createTagsCheck(options: {
  model: string;
  hopSeconds: number | null;
  faults: FaultList;
}): TagsCheck {
  const { hopSeconds, faults } = options;
  let model = options.model;
  let next: string | null = null;
  let windows = 0;
  let missing = 0;
  let firstSeq: number | null = null;
  let last: { seq: number; endMs: number } | null = null;
  const gaps: Gap[] = [];

  return {
    window({ seq, model: answered, window }) {
      const [startMs, endMs] = [epochMs(window.start), epochMs(window.end)];
      windows += 1;
      firstSeq ??= seq;
      if (startMs >= endMs) faults.add('time', `window ${seq} ends (${window.end}) before it begins`);
      if (answered === next) {
        model = answered;
        next = null;
      } else if (answered !== model) {
        faults.add('model', `window ${seq} was answered by ${answered} in place of ${model}`);
      }
      if (last !== null) {
        const steps = seq - last.seq;
        const forwardMs = endMs - last.endMs;
        if (steps <= 0) faults.add('order', `window ${seq} came after window ${last.seq}`);
        if (steps > 1) {
          missing += steps - 1;
          if (gaps.length < EXAMPLES) gaps.push({ after: last.seq, before: seq });
        }
        if (forwardMs < 0) {
          faults.add('time', `window ${seq} ends ${-forwardMs} ms before window ${last.seq}`);
        } else if (
          hopSeconds !== null &&
          steps > 0 &&
          Math.abs(forwardMs - steps * hopSeconds * 1000) > ROUNDING_MS
        ) {
          faults.add('time', `window ${seq} ends ${forwardMs} ms after window ${last.seq}`);
        }
      }
      // After a step back the row goes on from there, or every further window would be counted as wrong.
      last = { seq, endMs };
    },
    swapBegins(to) {
      next = to === model ? null : to;
    },
    swapFailed() {
      next = null;
    },
    summary: () => ({ windows, firstSeq, lastSeq: last?.seq ?? null, missing, gaps: [...gaps] }),
  };
}

export interface EventCheck {
  event(event: EventPayload): void;
  /** `open`: begun and not ended so far. */
  summary(): { started: number; ended: number; repeated: number; open: number };
  /** Counts every event that is still open as a fault: nothing will end it any more. */
  close(): void;
}

/** How many ended events are remembered, to tell a repeated message from one without a beginning. */
const REMEMBERED = 10_000;

/**
 * Checks that events come in pairs: a beginning, then one end of the same sound, not before it began. A message
 * that comes twice (QoS 1 allows it) is counted and no fault.
 */
export function createEventCheck(options: { faults: FaultList }): EventCheck {
  const { faults } = options;
  const open = new Map<string, EventPayload>();
  const ended = new Set<string>();
  const counts = { started: 0, ended: 0, repeated: 0 };
  /** An end may come whose beginning was published before the subscription. */
  let subscribedAt: number | null = null;

  return {
    event(event) {
      const { id, event_type: type, label } = event;
      const startedMs = epochMs(event.started_at);
      subscribedAt ??= startedMs;
      if (ended.has(id) || (type === 'started' && open.has(id))) {
        counts.repeated += 1;
        return;
      }
      if (type === 'started') {
        counts.started += 1;
        open.set(id, event);
        return;
      }
      counts.ended += 1;
      const begun = open.get(id);
      open.delete(id);
      ended.add(id);
      if (ended.size > REMEMBERED) ended.delete(ended.values().next().value ?? '');
      if (begun === undefined) {
        if (startedMs > subscribedAt) faults.add('event', `${label} (${id}) ended without having begun`);
      } else if (event.group !== begun.group || (event.group === null && label !== begun.label)) {
        faults.add('event', `${begun.label} (${id}) ended as ${label}`);
      }
      if (event.ended_at === null || epochMs(event.ended_at) < startedMs) {
        faults.add('event', `${label} (${id}) ended before it began`);
      }
    },
    summary: () => ({ ...counts, open: open.size }),
    close() {
      for (const { id, label } of open.values()) faults.add('event', `${label} (${id}) never ended`);
      open.clear();
    },
  };
}
