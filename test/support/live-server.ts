import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRandom } from './random.js';
import { makeWav } from './wav.js';

/*
 * Live streams over HTTP, good ones and bad ones. Each connection begins anew.
 */

/** What a connection gets, until it is closed. */
export type Broadcast = (response: ServerResponse) => void;

export interface LiveServer {
  /** The address of a broadcast. */
  url(name: string): string;
  /** How often it was asked for. */
  requests(name: string): number;
}

/** Serves each broadcast at its name. */
export async function startLiveServer(
  t: { teardown(end: () => unknown): void },
  broadcasts: Readonly<Record<string, Broadcast>>,
): Promise<LiveServer> {
  const requests = new Map<string, number>();
  const server = createServer((request, response) => {
    const name = (request.url ?? '/').slice(1);
    requests.set(name, (requests.get(name) ?? 0) + 1);
    const broadcast = broadcasts[name];
    if (broadcast === undefined) response.writeHead(404).end();
    else broadcast(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: (name) => `http://127.0.0.1:${port}/${name}`,
    requests: (name) => requests.get(name) ?? 0,
  };
}

/** A recording as bytes, and how many of them a second are as fast as it sounds. */
export interface Recording {
  /** Sent once, at the beginning. */
  head: Buffer;
  /** Sent over and over. */
  body: Buffer;
  bytesPerSecond: number;
}

/** Mono samples as WAV of which nobody says how long it is. */
export function endlessWav(samples: Float32Array, sampleRate: number): Recording {
  const channels = [[]];
  const endless = 0xffffffff;
  const head = makeWav({ encoding: 's16', sampleRate, channels, dataBytes: endless, riffBytes: endless });
  const pcm = Int16Array.from(samples, (sample) => Math.round(32_767 * sample));
  return { head, body: Buffer.from(pcm.buffer), bytesPerSecond: 2 * sampleRate };
}

/** How often sound is sent. */
const STEP_MS = 50;

/** A recording as fast as it sounds, by the clock. After `seconds` the connection ends, or it stays and nothing comes. */
export function inRealTime(
  { head, body, bytesPerSecond }: Recording,
  { seconds = Infinity, then = 'end' }: { seconds?: number; then?: 'end' | 'stall' } = {},
): Broadcast {
  return (response) => {
    const begun = performance.now();
    let sent = 0;
    response.write(head);
    const timer = setInterval(() => {
      const due = Math.min(seconds, (performance.now() - begun) / 1000) * bytesPerSecond;
      // Samples of two bytes are not cut.
      for (let rest = 2 * Math.floor((due - sent) / 2); rest > 0;) {
        const at = sent % body.length;
        const part = body.subarray(at, Math.min(body.length, at + rest));
        response.write(part);
        sent += part.length;
        rest -= part.length;
      }
      if (performance.now() - begun < 1000 * seconds) return;
      clearInterval(timer);
      if (then === 'end') response.destroy();
    }, STEP_MS);
    response.on('close', () => clearInterval(timer));
  };
}

/** In a hundredth of a second; a whole number of them is sent over and over. */
const GARBAGE_BYTES = 1 << 14;

/** A recording as fast as it is taken. */
export function asFastAsTaken({ head, body }: Recording): Broadcast {
  return (response) => {
    response.write(head);
    const pour = () => {
      while (!response.destroyed && response.write(body));
    };
    response.on('drain', pour);
    pour();
  };
}

/** Bytes without any meaning, the same ones for every connection, without end. */
export function garbage(): Broadcast {
  const random = createRandom(7);
  const bytes = Buffer.from(Array.from({ length: 1 << 20 }, () => Math.floor(256 * random())));
  return (response) => {
    let sent = 0;
    const timer = setInterval(() => {
      const at = sent % bytes.length;
      sent += GARBAGE_BYTES;
      response.write(bytes.subarray(at, at + GARBAGE_BYTES));
    }, 10);
    response.on('close', () => clearInterval(timer));
  };
}
