import t from 'tap';
import type { FiringHour } from '../../src/history/firing-hour.js';
import type { History } from '../../src/history/history.js';
import { readDemoSound } from '../../tools/page/device/demo-sound.js';
import { writePast } from '../../tools/page/device/past.js';
import { createRandom } from '../support/random.js';

/* The device that the page is tried with has to be the same one at whatever time of day it is started. */

const HOUR_MS = 3_600_000;
const MIDNIGHT_MS = Date.UTC(2026, 2, 1);

async function pastAt(nowMs: number): Promise<{ heardMs: number; lastEventMs: number; latestMs: number }> {
  const hours: FiringHour[] = [];
  const startedMs: number[] = [];
  const minutes: number[] = [];
  const history: Pick<History, 'event' | 'scores' | 'firings' | 'settled'> = {
    event: ({ started_at: startedAt }) => void startedMs.push(Date.parse(startedAt)),
    scores: ({ tsMs }) => void minutes.push(tsMs),
    firings: (hour) => void hours.push(hour),
    settled: () => Promise.resolve(),
  };
  await writePast({
    history: history as History,
    clips: null,
    demo: readDemoSound(),
    watched: [{ name: 'Doorbell', labels: ['Doorbell'], isGroup: false, threshold: 0.4 }],
    sources: ['main'],
    namesSources: false,
    days: 2,
    nowMs,
    random: createRandom(1),
  });
  return {
    heardMs: hours.reduce((sum, { heardMs }) => sum + heardMs, 0),
    lastEventMs: Math.max(...startedMs),
    latestMs: Math.max(...minutes),
  };
}

t.test('a device of two days has heard as much of them at every time of the day', async (t) => {
  for (let minute = 0; minute < 1440; minute += 59) {
    const nowMs = MIDNIGHT_MS + minute * 60_000 + 17_000;
    const { heardMs, lastEventMs, latestMs } = await pastAt(nowMs);
    const at = new Date(nowMs).toISOString();
    t.equal(heardMs, 46 * HOUR_MS, `two days without an hour of each, at ${at}`);
    t.ok(lastEventMs <= nowMs && nowMs - lastEventMs < 10 * 60_000, `the last event is minutes ago at ${at}`);
    t.ok(nowMs - latestMs < 120_000, `nothing is missing before ${at}`);
  }
});
