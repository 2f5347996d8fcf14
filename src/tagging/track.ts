import {
  countHop,
  endOver,
  forgetEvidence,
  hitsAfter,
  noEvidence,
  rewindEvidence,
  type Evidence,
} from './evidence.js';
import { isInWindow, isToldOnce, look, nothingFound } from './look.js';
import { ROUNDING_MS, type Row } from './row.js';
import { beginRun, eventOf, hear, isOver, lastedMs, raisePeak, type Run } from './run.js';
import type { TagEvent } from './tag-event.js';
import type { WatchedItem } from './watch.js';

/** What is remembered of a watched item: its run, and where it was over of late. */
export interface Track {
  readonly item: WatchedItem;
  run: Run | null;
  readonly evidence: Evidence;
  /** What lies before this has been told of, or is nobody's business: no run begins there. */
  floorMs: number;
}

/** An event and the number of the frame that decided it. */
export interface Decided {
  readonly frame: number;
  readonly event: TagEvent;
}

export function trackOf(item: WatchedItem, floorMs: number): Track {
  return { item, run: null, evidence: noEvidence(), floorMs };
}

/** Ends what is on, and forgets what was about to come on. Null where nothing was on. */
export function closeTrack(track: Track, decidedMs: number): TagEvent | null {
  const { item, run } = track;
  forgetEvidence(track.evidence);
  track.run = null;
  return run === null || run.id === null ? null : eventOf('ended', item, run, run.id, decidedMs);
}

/** Takes an item through all frames of the hop that was taken last; see `createFollow`. */
export type Follow = (track: Track, unseenMs: number, decidedMs: number, decided: Decided[]) => void;

/**
 * The way to take items through the frames of a row.
 * @param options.newId names each pair of events
 * @returns takes `unseenMs`, how much before the new frames was never looked at, `decidedMs`, for `detected_at`, and
 * a list to which it adds the events with the frames that decided them, in their order
 */
export function createFollow(options: { row: Row; newId: () => string }): Follow {
  const { row, newId } = options;
  const { frames } = row;
  const found = nothingFound();

  /** Makes an event of a run that has lasted and is confirmed; null as long as it has not or is not. */
  function onset({ item, evidence }: Track, run: Run, frame: number, decidedMs: number): TagEvent | null {
    if (found.over) countHop(evidence, row, frame, item.confirm.n, found);
    else endOver(evidence, frames.starts[frame]!);
    const oldest = row.hopOf(frame).sequence - item.confirm.n;
    run.confirmed ||= hitsAfter(evidence, oldest) >= item.confirm.k;
    if (!run.confirmed || lastedMs(run) < item.minDurationMs) return null;
    // One hop is enough: what else it held, too short for an event, is no part of this one.
    if (item.confirm.k > 1) {
      for (const hit of evidence.hits) {
        if (hit.sequence <= oldest) continue;
        run.startedAt = Math.min(run.startedAt, hit.startedAt);
        raisePeak(run, hit.score, hit.label);
      }
    }
    // What the values smear could make it begin after all that was heard.
    run.startedAt = Math.min(run.startedAt, Math.max(run.rawStart, frames.hop.windowEndMs));
    forgetEvidence(evidence);
    run.id = newId();
    return eventOf('started', item, run, run.id, decidedMs);
  }

  /** Takes an item through one frame, of which `found` tells. */
  function step(track: Track, frame: number, decidedMs: number): TagEvent | null {
    const { item, run } = track;
    const startMs = frames.starts[frame]!;
    const endMs = frames.ends[frame]!;
    if (found.label !== null) {
      const heard = (track.run ??= beginRun(found, startMs, frames.hop.spreadMs));
      hear(heard, found, endMs);
      return heard.id === null ? onset(track, heard, frame, decidedMs) : null;
    }
    if (run === null) return null;
    endOver(track.evidence, startMs);
    if (!isOver(run, endMs, item.minGapMs)) return null;
    track.run = null;
    if (run.id === null) return null;
    track.floorMs = endMs;
    return eventOf('ended', item, run, run.id, decidedMs);
  }

  /** The first frame that is to be looked at: those in front of the new ones where they may say something new. */
  function firstFrame(track: Track): number {
    const isOn = track.run?.id != null;
    // What comes behind the last frame in which it was heard may be found to hold it after all.
    const fromMs = isOn ? track.run!.heardUntil : track.floorMs;
    const { before } = frames.hop;
    if (isToldOnce(track.item, frames.hop)) return before;
    let first = before;
    while (first > 0 && frames.starts[first - 1]! >= fromMs - ROUNDING_MS) first -= 1;
    if (!isOn && first < before) rewind(track, frames.starts[first]!);
    return first;
  }

  return (track, unseenMs, decidedMs, decided) => {
    const { hop } = frames;
    const first = firstFrame(track);
    if (track.run === null && hop.role === 'location' && !isInWindow(track.item, hop)) return;
    for (let frame = first; frame < frames.count; frame += 1) {
      if (frame === hop.before && track.run !== null) track.run.unseenMs += unseenMs;
      look(track.item, track.run !== null, hop, frame, found);
      const event = step(track, frame, decidedMs);
      if (event !== null) decided.push({ frame, event });
    }
  };
}

/** Forgets what frames from `fromMs` on have said of a run that is no event yet: they are looked at once more. */
function rewind(track: Track, fromMs: number): void {
  const { run, evidence } = track;
  rewindEvidence(evidence, fromMs);
  if (run === null) return;
  if (run.rawStart >= fromMs - ROUNDING_MS) {
    track.run = null;
    return;
  }
  run.heardUntil = Math.min(run.heardUntil, fromMs);
  run.unseenMs = 0;
}
