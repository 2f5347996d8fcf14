import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { StreamAddress } from './address.js';
import { beginningOfFile, beginningOfStream, playlistIn } from './playlist.js';
import type { EgressPolicy } from './egress-policy.js';

/** Reasons that are told as they are; all others are `stream_failed`. */
const OWN_CODES = new Set([
  'stream_stalled',
  'ffmpeg_missing',
  'no_such_track',
  'no_such_channel',
  'playlist',
]);

/**
 * Why a stream could not be heard, for people. What is there and is no sound may be a playlist: it is looked at, once
 * more, unless `signal` has fired.
 * @param raw the address as it was given, which for a file is its path
 */
export async function streamFailure(
  error: unknown,
  where: { address: StreamAddress; raw: string; egress: EgressPolicy },
  signal: AbortSignal,
): Promise<SoundpostError> {
  const { address } = where;
  const code = codeOf(error);
  // A server that refuses need not be asked once more.
  const isOther = code === 'not_audio' && /Invalid data|no sound/.test(messageOf(error));
  if (isOther && !signal.aborted) {
    const playlist = playlistIn(await beginning(where, signal));
    if (playlist !== null) {
      const entry = playlist.entry === null ? '' : ` (${address.clean(playlist.entry)})`;
      return new SoundpostError(
        'playlist',
        `${address.shown} is a playlist, not a stream: set audio.url to the address in it${entry}`,
      );
    }
  }
  if (code === 'out_of_reach') return outOfReach(address, messageOf(error));
  return OWN_CODES.has(code)
    ? new SoundpostError(code, messageOf(error))
    : new SoundpostError('stream_failed', advised(address.clean(messageOf(error))));
}

/** A stream that leads where it must not. */
export function outOfReach(address: StreamAddress, refusal: string): SoundpostError {
  return new SoundpostError('out_of_reach', `${address.shown}: ${refusal}`);
}

async function beginning(
  { address, raw, egress }: { address: StreamAddress; raw: string; egress: EgressPolicy },
  signal: AbortSignal,
): Promise<string> {
  if (address.host === null) return beginningOfFile(raw);
  return address.isHttp ? beginningOfStream(address.url, egress, signal) : '';
}

/** What went wrong, with what to do about it where that is known. */
function advised(message: string): string {
  if (/\b401\b|authorization failed/i.test(message)) {
    return `${message}. Are the user name and the password in the address right, with special characters percent-encoded ("@" as %40)?`;
  }
  if (/\b404\b/.test(message)) return `${message}. Is the path of the address right?`;
  return message;
}
