import { decodeChunks } from '../../audio/decode.js';
import { codeOf } from '../../common/errors.js';
import type { InferenceEngine } from '../../inference/engine.js';
import { framesOfRecording } from '../../inference/recording-frames.js';
import { tagChunks } from '../../inference/tag-recording.js';
import type { ListedEvent, ListedRecording } from '../list/read-list.js';
import type { LabelledSpan } from '../metrics/psds.js';
import { columnScores, type Columns } from './columns.js';
import type { EventFinder } from './event-finder.js';
import { createPieceReader } from './piece-reader.js';

/** What was heard in a piece of a recording. */
export interface HeardPiece {
  /** Seconds since the beginning of the recording. */
  from: number;
  to: number;
  /** Float32Array, [columns]: the highest score of any of its windows. */
  scores: Float32Array;
  /** It was shorter than the model takes. */
  padded: boolean;
}

/** The last piece of a recording that is cut up is left out where it is shorter. */
const LEAST_PIECE_SECONDS = 1;

/**
 * The scores of a recording, piece by piece. The windows of a piece follow each other without overlapping, the last one
 * ends with the piece.
 *
 * @param pieceSeconds how long pieces are; null where the part is one piece
 * @returns how long the recording is (or, with an end to the part, what of it was read) and what is odd about its file.
 */
export async function hearPieces(
  engine: InferenceEngine,
  { path }: Pick<ListedRecording, 'path'>,
  options: {
    part: { from: number; to: number | null };
    pieceSeconds: number | null;
    columns: Columns;
    signal: AbortSignal;
  },
): Promise<{ pieces: HeardPiece[]; seconds: number; warnings: string[] }> {
  const { part, pieceSeconds, columns, signal } = options;
  const { min_seconds: least, window_seconds: hopSeconds } = engine.model.manifest.input;
  const chunks = decodeChunks(path, { signal });
  const reader = createPieceReader(chunks);
  const pieces: HeardPiece[] = [];
  try {
    for (let from = part.from; await reader.reaches(from);) {
      const to = pieceSeconds === null ? part.to : from + pieceSeconds;
      const scores = new Float32Array(columns.all.length);
      const windows = tagChunks(engine, reader.take(from, to, least), { name: path, hopSeconds });
      for await (const window of windows) columnScores(columns.all, window.scores, scores);
      const end = Math.min(to ?? Infinity, reader.seconds);
      const isTooShort = pieceSeconds !== null && pieces.length > 0 && end - from < LEAST_PIECE_SECONDS;
      if (!isTooShort) pieces.push({ from, to: end, scores, padded: end - from < least });
      if (pieceSeconds === null) break;
      from += pieceSeconds;
    }
    // What lies behind a part is not needed.
    const warnings = part.to === null ? await reader.finish() : [];
    return { pieces, seconds: reader.seconds, warnings };
  } finally {
    await chunks.return([]);
  }
}

/** As much of an event has to be in a piece to be counted as in it; or half of the event. */
const LEAST_OF_EVENT_SECONDS = 0.1;

/** The columns whose label is in a piece. */
export function heldBy(
  piece: Pick<HeardPiece, 'from' | 'to'>,
  events: readonly ListedEvent[],
  columns: Columns,
): number[] {
  const held = events.flatMap(({ target, onset, offset }) => {
    const within = Math.min(offset, piece.to) - Math.max(onset, piece.from);
    const isIn = within >= Math.min(LEAST_OF_EVENT_SECONDS, (offset - onset) / 2);
    return isIn ? columns.ofTarget[target]! : -1;
  });
  return [...new Set(held)].filter((column) => column !== -1);
}

/**
 * What each finder finds in a recording that is heard as the service would hear it.
 * @returns the events of each finder; null where the recording is too short for the model
 */
export async function hearEvents(
  engine: InferenceEngine,
  { path }: Pick<ListedRecording, 'path'>,
  finders: readonly EventFinder[],
  options: { rateHz: number; windowSeconds: number | null; signal: AbortSignal },
): Promise<LabelledSpan[][] | null> {
  try {
    const hops = framesOfRecording(engine, path, options);
    let step = await hops.next();
    for (; step.done !== true; step = await hops.next()) for (const finder of finders) finder.hop(step.value);
    const { durationSeconds } = step.value;
    return finders.map((finder) => finder.end(durationSeconds));
  } catch (error) {
    if (codeOf(error) === 'audio_too_short') return null;
    throw error;
  }
}
