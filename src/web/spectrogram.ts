import type { ServerResponse } from 'node:http';
import { SoundpostError } from '../common/errors.js';
import { isoTime } from '../mqtt/contract.js';
import { eventText, type EventStream, type EventStreams } from './event-streams.js';

/** Columns of the log-mel spectrogram that the network sees. */
export interface SpectrogramColumns {
  /** When the first of them begins, in ms since the epoch. */
  startMs: number;
  /** From one to the next, in ms. */
  columnMs: number;
  bands: number;
  /** One column after the other, low bands first; used during the call only. */
  values: Float32Array;
}

/** Where columns come from. */
export interface SpectrogramTap {
  /**
   * Has the columns of a source computed and handed over, until the returned function is called; null where there is no
   * such source.
   */
  watch(source: string, onColumns: (columns: SpectrogramColumns) => void): (() => void) | null;
}

export interface Spectrograms {
  /** Lets somebody look on. Throws SoundpostError `no_such_path` or `too_many_viewers`. */
  open(source: string, response: ServerResponse, onClose: () => void): EventStream;
}

const NOTHING_YET = Buffer.from(eventText('ready', '{}'));

/** Each source is watched once, however many look on, and not at all while nobody does. */
export function createSpectrograms(streams: EventStreams, tap: SpectrogramTap): Spectrograms {
  interface Watched {
    viewers: Set<EventStream>;
    stop: () => void;
  }
  const watched = new Map<string, Watched>();

  function watch(source: string): Watched {
    const viewers = new Set<EventStream>();
    const stop = tap.watch(source, (columns) => {
      const bytes = Buffer.from(eventText('columns', columnsText(source, columns)));
      for (const viewer of viewers) viewer.send(bytes);
    });
    if (stop === null) {
      throw new SoundpostError('no_such_path', `There is no source ${source}; sources in "state" has them.`);
    }
    return { viewers, stop };
  }

  return {
    open(source, response, onClose) {
      const entry = watched.get(source) ?? watch(source);
      watched.set(source, entry);
      const leave = (): void => {
        if (entry.viewers.size > 0 || watched.get(source) !== entry) return;
        watched.delete(source);
        entry.stop();
      };
      try {
        const viewer = streams.open(
          response,
          () => NOTHING_YET,
          () => {
            entry.viewers.delete(viewer);
            leave();
            onClose();
          },
        );
        entry.viewers.add(viewer);
        return viewer;
      } catch (error) {
        leave();
        throw error;
      }
    },
  };
}

/**
 * Columns as JSON: a byte a value, from `low` (0) to `high` (255) in the unit of the log-mel, in base64. What is not a
 * number is as low as can be.
 */
function columnsText(source: string, { startMs, columnMs, bands, values }: SpectrogramColumns): string {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) low = high = 0;
  const scale = high > low ? 255 / (high - low) : 0;
  const bytes = new Uint8ClampedArray(values.length);
  for (let at = 0; at < values.length; at += 1) bytes[at] = (values[at]! - low) * scale;
  return JSON.stringify({
    source,
    start: isoTime(startMs),
    column_ms: columnMs,
    bands,
    columns: Math.floor(values.length / bands),
    low,
    high,
    data: Buffer.from(bytes.buffer).toString('base64'),
  });
}
