import type { Readable } from 'node:stream';
import { createBucket } from '../common/bucket.js';

/** What a decoder says of a badly damaged stream is less than that; what it says without end is not. */
const BYTES_PER_SECOND = 256 * 1024;
const BURST_BYTES = 1024 * 1024;

const LONGEST_LINE = 2000;

/**
 * Takes what a child says, line by line, without the space around it and without empty ones; a line is cut at 2000
 * characters. A child that talks without end is read more slowly: its pipe fills, and it has to wait.
 */
export function readLines(stream: Readable, take: (line: string) => void): void {
  const bytes = createBucket(BYTES_PER_SECOND, BURST_BYTES);
  let rest = '';
  let timer: NodeJS.Timeout | undefined;
  const line = (raw: string) => {
    const text = raw.slice(0, LONGEST_LINE).trim();
    if (text !== '') take(text);
  };
  stream.setEncoding('utf8');
  stream.on('data', (part: string) => {
    const lines = (rest + part).split(/[\r\n]+/);
    rest = lines.pop()!.slice(0, LONGEST_LINE);
    for (const each of lines) line(each);
    bytes.take(part.length);
    const waitMs = bytes.waitMs();
    if (waitMs === 0) return;
    stream.pause();
    timer = setTimeout(() => stream.resume(), waitMs);
  });
  stream.on('end', () => line(rest));
  stream.on('close', () => clearTimeout(timer));
  stream.on('error', () => undefined);
}
