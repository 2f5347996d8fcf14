import { decodeChunks } from '../../audio/decode.js';
import type { ErrorCode } from '../../common/error-codes.js';
import { messageOf, SoundpostError } from '../../common/errors.js';
import { liesWithin, outside, placeOf, type ListedEvent, type ListedRecording } from '../list/read-list.js';
import type { Problems } from '../list/problems.js';

/** What is the fault of a recording and of nobody else. */
const FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'audio_empty',
  'file_not_found',
  'file_unreadable',
  'not_audio',
  'playlist',
  'wav_damaged',
  'wav_unsupported',
]);

/** What was found out about a recording; null where it cannot be used. */
export type Settled = { seconds: number; events: readonly ListedEvent[] | null } | null;

/**
 * What is known of the recordings once they have been read: it is found out and told once, and all models are given the
 * same.
 */
export interface Settling {
  /** What is known; undefined where the recording has not been read yet. */
  known(recording: ListedRecording): Settled | undefined;
  /** The part that is meant. Reads files that do not say how long they are. Null where it cannot be used. */
  partOf(
    recording: ListedRecording,
    signal: AbortSignal,
  ): Promise<{ from: number; to: number | null } | null>;
  /** Once it has been read to its end. */
  settle(recording: ListedRecording, seconds: number): NonNullable<Settled>;
  /** It cannot be read. Throws the error again where that is no fault of the recording. */
  fail(recording: ListedRecording, error: unknown): void;
  /** Reads a recording only to see whether it could be used. */
  check(recording: ListedRecording, signal: AbortSignal): Promise<void>;
}

export function createSettling(problems: Problems): Settling {
  const settled = new Map<ListedRecording, Settled>();
  const parts = new Map<ListedRecording, { from: number; to: number | null }>();

  const settling: Settling = {
    known: (recording) => settled.get(recording),
    async partOf(recording, signal) {
      const { part, path, line, file } = recording;
      if (part === null) return { from: 0, to: null };
      if (recording.seconds !== null) return part;
      const known = parts.get(recording);
      if (known !== undefined) return known;
      const seconds = await secondsOf(path, signal);
      const place = placeOf(part, seconds);
      if (place === 'outside') {
        problems.add(line, outside(file, part.from, part.to, seconds));
        settled.set(recording, null);
        return null;
      }
      const found = place === 'whole' ? { from: 0, to: null } : part;
      parts.set(recording, found);
      return found;
    },
    settle(recording, seconds) {
      const known = settled.get(recording);
      if (known != null) return known;
      const events =
        recording.events?.flatMap((event) => {
          if (liesWithin(event, seconds)) return [{ ...event, offset: Math.min(event.offset, seconds) }];
          problems.add(event.line, outside(recording.file, event.onset, event.offset, seconds));
          return [];
        }) ?? null;
      const result = { seconds, events };
      settled.set(recording, result);
      return result;
    },
    fail(recording, error) {
      if (!(error instanceof SoundpostError) || !FAULTS.has(error.code)) throw error;
      problems.add(recording.line, messageOf(error));
      settled.set(recording, null);
    },
    async check(recording, signal) {
      try {
        if ((await settling.partOf(recording, signal)) === null) return;
        settling.settle(recording, await secondsOf(recording.path, signal));
      } catch (error) {
        settling.fail(recording, error);
      }
    },
  };
  return settling;
}

/** How long a recording is, by decoding it. */
async function secondsOf(path: string, signal: AbortSignal): Promise<number> {
  let seconds = 0;
  for await (const { samples, sampleRate } of decodeChunks(path, { signal })) {
    seconds += samples.length / sampleRate;
  }
  return seconds;
}
