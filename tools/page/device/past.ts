import { randomUUID } from 'node:crypto';
import type { History } from '../../../src/history/history.js';
import type { HistoryEvent } from '../../../src/history/record.js';
import type { Random } from '../../../test/support/random.js';
import type { DemoClips } from './clips.js';
import type { DemoSound } from './demo-sound.js';
import type { WatchedItem } from './scores.js';
import { createHours } from './tallied.js';

const MINUTE_MS = 60_000;
const DAY_MINUTES = 1440;

/**
 * Writes a past into the history: events with clips, near misses, and scores of every minute, with a gap of an hour in
 * each day. The last event is a few minutes ago. Gaps lie where they do from now on back, not by the clock: at whatever
 * time the device is started, it has heard as much.
 */
export async function writePast(options: {
  history: History;
  clips: DemoClips | null;
  demo: DemoSound;
  watched: readonly WatchedItem[];
  sources: readonly string[];
  /** Whether events name their source. */
  namesSources: boolean;
  days: number;
  nowMs: number;
  random: Random;
}): Promise<void> {
  const { history, clips, demo, watched, sources, namesSources, days, nowMs, random } = options;
  const heard = watched.flatMap((item) =>
    demo.events.filter(({ label }) => item.labels.includes(label)).map((sound) => ({ item, sound })),
  );
  const hours = new Map(
    sources.map((source) => [source, createHours(source, (hour) => history.firings(hour))]),
  );
  const firstMinute = Math.floor(nowMs / MINUTE_MS) - days * DAY_MINUTES;
  for (let minute = firstMinute; minute < Math.floor(nowMs / MINUTE_MS); minute += 1) {
    const tsMs = minute * MINUTE_MS;
    const ago = Math.floor(nowMs / MINUTE_MS) - minute;
    const isGap = ago % DAY_MINUTES > 8 * 60 && ago % DAY_MINUTES <= 9 * 60;
    for (const source of sources) {
      if (isGap) continue;
      const scores = new Map(watched.map(({ name }) => [name, round(0.02 + 0.12 * random() ** 3)]));
      const near = watched[Math.floor(random() * watched.length)]!;
      if (random() < 0.02) scores.set(near.name, round(near.threshold * (0.6 + 0.35 * random())));
      if (random() < 0.02 || ago === 4) {
        const { item, sound } = heard[Math.floor(random() * heard.length)]!;
        const event = eventOf(item, sound, tsMs + Math.floor(20_000 * random()), random);
        const told: HistoryEvent = namesSources ? { ...event, source } : event;
        history.event(told);
        clips?.add(event, source, sound.onset);
        scores.set(item.name, event.peak);
      }
      history.scores({ tsMs, source, scores });
      hours.get(source)!.minute(tsMs, scores);
    }
    if (minute % 500 === 0) await history.settled();
  }
  for (const each of hours.values()) each.flush();
  await history.settled();
}

function eventOf(
  item: WatchedItem,
  sound: { label: string; onset: number; offset: number },
  startMs: number,
  random: Random,
): HistoryEvent {
  const seconds = Math.round((sound.offset - sound.onset) * 100) / 100;
  const peak = round(item.threshold + (0.98 - item.threshold) * random());
  return {
    id: randomUUID(),
    event_type: 'ended',
    label: sound.label,
    mid: null,
    group: item.isGroup ? item.name : null,
    score: round(peak * 0.8),
    peak,
    started_at: new Date(startMs).toISOString(),
    ended_at: new Date(startMs + seconds * 1000).toISOString(),
    duration_s: seconds,
    detected_at: new Date(startMs + 800).toISOString(),
    model: 'soundpost-home',
    late: false,
  };
}

const round = (value: number): number => Math.round(value * 1e4) / 1e4;
