import { Socket, type ConnectOpts, type SocketConstructorOpts } from 'node:net';
import type { Writable } from 'node:stream';
import type { InferenceRequest } from './engine.js';

/**
 * The way of the samples to an inference process: a pipe of its own beside the channel of messages, which would copy
 * them four times (into a message, out of the pieces that arrive, into an array). Here the one copy is the kernel's.
 *
 * A request is a header of nine 64-bit floats in the byte order of the machine (how many samples follow, the window's
 * samples, 1 for a reset, the first frame that is wanted, the first that is not any more, the number of the source, how
 * many columns of the log-mel are wanted, 1 where embeddings are, 1 on the grid of a stream) and the samples, float32.
 */
const HEADER_NUMBERS = 9;

/** Where an inference process finds the pipe. */
export const REQUEST_FD = 4;

/** More than any window has; a number above it is no header. */
const MAX_SAMPLES = 2 ** 28;

/** More sources than any device has; each that is named takes memory. */
const MAX_SOURCES = 256;

/** Writes a request. Its samples must stay as they are until it has been answered. */
export function writeRequest(pipe: Writable, request: InferenceRequest): void {
  const { source = 0, samples, reset, windowSamples, frames, columns = 0 } = request;
  const { from, to } = frames ?? { from: 0, to: 0 };
  const header = Float64Array.of(
    samples.length,
    windowSamples,
    reset ? 1 : 0,
    from,
    to,
    source,
    columns,
    request.embeddings === true ? 1 : 0,
    request.onGrid === true ? 1 : 0,
  );
  // Together: one call of the system, one wake-up of the process.
  pipe.cork();
  pipe.write(new Uint8Array(header.buffer));
  if (samples.length > 0) pipe.write(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
  pipe.uncork();
}

/** Puts requests together from the pieces in which they arrive. */
export interface RequestReader {
  /** Where the next bytes belong; never empty. */
  room(): Uint8Array;
  /** So many bytes have been put there. Throws a RangeError for what cannot be a request. */
  arrived(bytes: number): void;
}

/**
 * `onRequest` gets each request when it is complete. Its samples are valid until the first bytes of the request after
 * the next one: requests are answered one at a time, and two arrays take turns. Nothing is allocated once the longest
 * request has been seen.
 */
export function createRequestReader(onRequest: (request: InferenceRequest) => void): RequestReader {
  const header = new Float64Array(HEADER_NUMBERS);
  const headerBytes = new Uint8Array(header.buffer);
  let bodies = [new Float32Array(0), new Float32Array(0)] as const;
  let turn: 0 | 1 = 0;
  /** What is being filled, and up to where. */
  let into: Uint8Array = headerBytes;
  let filled = 0;

  const complete = (): void => {
    const [count = 0, windowSamples = 0, reset = 0, from = 0, to = 0, source = 0, columns = 0] = header;
    const [, , , , , , , embeddings = 0, onGrid = 0] = header;
    const samples = bodies[turn].subarray(0, count);
    turn = turn === 0 ? 1 : 0;
    into = headerBytes;
    filled = 0;
    const frames = to > from ? { from, to } : undefined;
    onRequest({
      source,
      samples,
      windowSamples,
      reset: reset === 1,
      frames,
      columns,
      embeddings: embeddings === 1,
      onGrid: onGrid === 1,
    });
  };

  return {
    room: () => (filled === 0 ? into : into.subarray(filled)),
    arrived(bytes) {
      filled += bytes;
      if (filled < into.length) return;
      if (into !== headerBytes) {
        complete();
        return;
      }
      const [count = 0] = header;
      // Written so that NaN is refused too.
      if (!(count >= 0 && count <= MAX_SAMPLES)) throw new RangeError(`a request of ${count} samples`);
      const source = header[5]!;
      if (!(source >= 0 && source < MAX_SOURCES)) throw new RangeError(`a request of the source ${source}`);
      if (count === 0) {
        complete();
        return;
      }
      if (bodies[turn].length < count) {
        const grown = new Float32Array(count);
        bodies = turn === 0 ? [grown, bodies[1]] : [bodies[0], grown];
      }
      const body = bodies[turn];
      into = new Uint8Array(body.buffer, 0, count * Float32Array.BYTES_PER_ELEMENT);
      filled = 0;
    },
  };
}

/** Reads requests from this process's pipe, straight to where they belong. */
export function readRequests(onRequest: (request: InferenceRequest) => void): void {
  const reader = createRequestReader(onRequest);
  // The types of Node 20 do not know `onread` here; its documentation does.
  const options: SocketConstructorOpts & ConnectOpts = {
    fd: REQUEST_FD,
    readable: true,
    writable: false,
    onread: {
      buffer: () => reader.room(),
      callback(bytes) {
        reader.arrived(bytes);
        return true;
      },
    },
  };
  const pipe = new Socket(options);
  // The end of the parent is seen at the channel of messages.
  pipe.on('error', () => undefined);
  pipe.resume();
}
