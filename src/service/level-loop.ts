import type { LevelReader } from '../audio/level.js';
import { isoTime } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';

const INTERVAL_MS = 5_000;

/** Publishes `B/level` every five seconds in which sound came. Returns the way to end it. */
export function startLevelLoop(level: LevelReader, link: Pick<Link, 'publish'>): () => void {
  const timer = setInterval(() => {
    const now = level.take();
    if (now === null) return;
    link.publish('level', {
      ts: isoTime(Date.now()),
      dbfs: Math.round(now.dbfs * 10) / 10,
      peak_dbfs: Math.round(now.peakDbfs * 10) / 10,
    });
  }, INTERVAL_MS);
  return () => clearInterval(timer);
}
