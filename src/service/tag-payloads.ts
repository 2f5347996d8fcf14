import { round } from '../common/round.js';
import type { WindowResult } from '../inference/window-report.js';
import type { Label } from '../models/labels.js';
import { isoTime, type EventPayload, type LastPayload, type TagsPayload } from '../mqtt/contract.js';
import type { TagEvent } from '../tagging/tag-event.js';
import { topTags, type Tag } from '../tagging/top.js';

/** Of scores in documents. */
export const SCORE_DIGITS = 4;

/**
 * `B/tags` of an answered window, as of now.
 * @param labels those of its scores
 * @param now the best of what is new with it
 * @param levelDbfs of the sound since the last window
 */
export function tagsPayload(
  result: WindowResult,
  labels: readonly Label[],
  now: readonly Tag[],
  topK: number,
  levelDbfs: number | null,
): TagsPayload {
  const { model, scores } = result;
  return {
    ts: isoTime(Date.now()),
    seq: result.seq,
    model: model.manifest.id,
    window: { start: isoTime(result.startMs), end: isoTime(result.endMs) },
    // A window that was answered as silence has no best labels.
    tags: result.idle ? [] : topTags(scores, labels, topK).map(rounded),
    now: now.map(rounded),
    level_dbfs: levelDbfs === null ? null : round(levelDbfs, 1),
    latency_ms: round(performance.now() - result.arrivedAt, 3),
    ...(result.idle && { idle: true }),
  };
}

/** `B/event`; `heardBy` is the id of the model at work. */
export function eventPayload(event: TagEvent, heardBy: string): EventPayload {
  return {
    id: event.id,
    event_type: event.event_type,
    label: event.label,
    mid: event.mid,
    group: event.group,
    score: round(event.score, SCORE_DIGITS),
    peak: round(event.peak, SCORE_DIGITS),
    started_at: isoTime(event.started_at),
    ended_at: event.ended_at === null ? null : isoTime(event.ended_at),
    duration_s: event.duration_s === null ? null : round(event.duration_s, 3),
    detected_at: isoTime(event.detected_at),
    model: heardBy,
    late: false,
  };
}

/** `B/last/<slug>` */
export function lastPayload(event: TagEvent): LastPayload {
  const { id, label, score, peak, started_at, ended_at, duration_s } = eventPayload(event, '');
  return { id, label, score, peak, started_at, ended_at, duration_s };
}

function rounded({ label, mid, score }: Tag): Tag {
  return { label, mid, score: round(score, SCORE_DIGITS) };
}
