import type { Loudness, LoudnessReader } from '../audio/loudness.js';
import { round } from '../common/round.js';
import { isoTime, type LevelPayload } from '../mqtt/contract.js';
import type { SourceLink } from '../mqtt/source-link.js';

const INTERVAL_MS = 5_000;

/** What is said of how loud a source is, and where. */
export interface LevelOf {
  level: LoudnessReader;
  link: Pick<SourceLink, 'publish'>;
  /** How loud (dB(A) of sound pressure) an A-weighted level of 0 dBFS is there; null where nobody has measured it. */
  calibrationDb: number | null;
}

/** Publishes the level of each source every five seconds in which its sound came. Returns the way to end it. */
export function startLevelLoop(sources: readonly LevelOf[]): () => void {
  const timer = setInterval(() => {
    for (const { level, link, calibrationDb } of sources) {
      const now = level.take();
      if (now !== null) link.publish('level', levelPayload(now, calibrationDb));
    }
  }, INTERVAL_MS);
  return () => clearInterval(timer);
}

/** `B/level` as of now. */
export function levelPayload(now: Loudness, calibrationDb: number | null): LevelPayload {
  const { dbfs, peakDbfs, dbaFs, leq60sDbfs, backgroundDbfs } = now;
  return {
    ts: isoTime(Date.now()),
    dbfs: tenths(dbfs),
    peak_dbfs: tenths(peakDbfs),
    dba_fs: tenths(dbaFs),
    leq_60s: leq60sDbfs === null ? null : tenths(leq60sDbfs),
    background_dbfs: backgroundDbfs === null ? null : tenths(backgroundDbfs),
    ...(calibrationDb !== null && { spl_dba: tenths(dbaFs + calibrationDb) }),
  };
}

const tenths = (db: number): number => round(db, 1);
