import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';
import { startShortage, startChild } from '../common/child.js';
import { childEnvironment } from '../common/child-environment.js';
import { messageOf, SoundpostError } from '../common/errors.js';
import { bytesPerFrame, createMixer, type Mixer, type PcmFormat } from './pcm.js';
import type { PcmReader } from './pcm-reader.js';
import { parseWavHeader } from './wav.js';

export interface FfmpegInput {
  /** What ffmpeg opens, with its protocol: `file:/x.flac`, `rtsp://…`. */
  url: string;
  /** Protocols ffmpeg may use for it and for whatever it leads to (playlists), separated by commas. */
  protocols: string;
  /** Options in front of the input. */
  options?: readonly string[];
  /** Sound that is made now: it is passed on at once instead of in larger pieces. */
  live?: boolean;
  /** What errors and warnings call it. */
  name: string;
  /** Called with every line that ffmpeg writes to stderr. */
  onLine?: ((line: string) => void) | undefined;
  /** Applied to each such line before anything is done with it: takes secrets out. */
  clean?: ((line: string) => string) | undefined;
  /** The one channel to take (1 is the first); the mean of all channels where it is left out. */
  channel?: number | undefined;
  /** The executable. */
  command?: string | undefined;
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** How long ffmpeg may take to end by itself after SIGTERM. */
const GRACE_MS = 1_000;

/** More than any WAV header that ffmpeg writes. */
const HEADER_BYTES = 4096;

/** What ffmpeg says about sound with nothing wrong about it. */
const EVERYDAY =
  /Guessed Channel Layout|Estimating duration|Skipping unhandled metadata|timestamps for (skipped|discarded) samples|^To ignore this/i;

const INSTALL =
  'install it (Debian, Raspberry Pi OS, Ubuntu: "sudo apt-get install ffmpeg"; macOS: "brew install ffmpeg")';

/**
 * Opens anything ffmpeg can read, at its own rate. ffmpeg writes WAV with all channels as float32, so that rate
 * and channels come with the sound itself (no ffprobe needed) and the channels are mixed in the same way as those
 * of a WAV file. Resolves when the first sound is there. `rewind` starts ffmpeg anew.
 *
 * Throws SoundpostError `ffmpeg_missing`, `not_audio`, `no_such_channel`, `no_resources` (see common/child.ts).
 */
export async function openWithFfmpeg(input: FfmpegInput, signal?: AbortSignal): Promise<PcmReader> {
  signal?.throwIfAborted();
  const notes: string[] = [];
  let run = startRun(input, notes);
  let closed = false;
  const abort = () => void run.end();
  signal?.addEventListener('abort', abort, { once: true });

  const close = async () => {
    closed = true;
    signal?.removeEventListener('abort', abort);
    await run.end();
  };

  let opened: Opened;
  try {
    opened = await open(run, input);
  } catch (error) {
    await close();
    signal?.throwIfAborted();
    throw error;
  }
  const { sampleRate } = opened.format;

  return {
    sampleRate,
    warnings: () => [...new Set([...notes, ...opened.mixer.warnings()])],
    async read(out) {
      signal?.throwIfAborted();
      const done = await fill(run, opened, out);
      signal?.throwIfAborted();
      if (done < out.length && !closed) await run.noteEnd();
      return done;
    },
    async rewind() {
      await run.end();
      if (closed) return;
      run = startRun(input, notes);
      const again = await open(run, input);
      if (again.format.sampleRate !== sampleRate) {
        throw new SoundpostError('not_audio', `${input.name} has changed its sample rate`);
      }
      opened = again;
    },
    pids: () => run.pids(),
    close,
  };
}

/** One life of an ffmpeg process. */
interface Run {
  /** The next bytes; null at the end. */
  next(): Promise<Buffer | null>;
  /** Puts bytes back in front. */
  unread(bytes: Buffer): void;
  /** Why there is no sound: to be called where the output ended before it began. */
  failure(): Promise<SoundpostError>;
  /** The output is over: remembers what ffmpeg had to say about it. */
  noteEnd(): Promise<void>;
  pids(): number[];
  /** Ends the process and waits until it is gone. */
  end(): Promise<void>;
}

function startRun(input: FfmpegInput, notes: string[]): Run {
  const command = input.command ?? 'ffmpeg';
  // prettier-ignore
  const options = [
    '-nostdin', '-hide_banner', '-loglevel', 'warning',
    '-protocol_whitelist', input.protocols, ...(input.options ?? []), '-i', input.url,
    '-map', '0:a:0', '-c:a', 'pcm_f32le', '-bitexact', ...(input.live ? ['-flush_packets', '1'] : []),
    '-f', 'wav', 'pipe:1',
  ];
  const child: Child = startChild('ffmpeg', () =>
    spawn(command, options, { stdio: ['ignore', 'pipe', 'pipe'], env: childEnvironment() }),
  );
  let spawnError: unknown = null;
  let lastLine = '';
  let lines = 0;
  child.on('error', (error) => {
    spawnError = error;
  });
  onEachLine(child.stderr, (raw) => {
    const line = input.clean?.(raw) ?? raw;
    input.onLine?.(line);
    if (EVERYDAY.test(line)) return;
    lastLine = line;
    lines += 1;
  });
  const gone = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
  });
  const chunks = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  let pushedBack: Buffer | null = null;
  let ending: Promise<void> | null = null;

  return {
    async next() {
      if (pushedBack !== null) {
        const bytes = pushedBack;
        pushedBack = null;
        return bytes;
      }
      try {
        const { value, done } = await chunks.next();
        return done === true ? null : value;
      } catch {
        // The pipe was torn down with the process.
        return null;
      }
    },
    unread(bytes) {
      if (bytes.length > 0) pushedBack = bytes;
    },
    async failure() {
      await gone;
      if (spawnError !== null) return spawnFailure(input.name, command, spawnError);
      if (lastLine.includes('matches no streams')) {
        return new SoundpostError('not_audio', `${input.name} holds no sound`);
      }
      const why = lastLine === '' ? 'it contains no sound' : reasonIn(lastLine, input);
      return new SoundpostError('not_audio', `${input.name} cannot be read as audio: ${why}`);
    },
    async noteEnd() {
      await gone;
      if (child.exitCode !== 0) {
        notes.push(
          `${input.name} could not be read to its end: ${reasonIn(lastLine, input) || 'ffmpeg was ended'}`,
        );
      } else if (lines > 0) {
        notes.push(`${input.name} was read with difficulties: ${reasonIn(lastLine, input)}`);
      }
    },
    pids: () => (child.pid === undefined || hasEnded(child) ? [] : [child.pid]),
    end() {
      ending ??= endChild(child, gone);
      return ending;
    },
  };
}

function hasEnded(child: Child): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function endChild(child: Child, gone: Promise<void>): Promise<void> {
  if (!hasEnded(child)) child.kill('SIGTERM');
  // A stopped or stuck process does not see SIGTERM. Where there never was a process this finds none.
  const force = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  child.stdout.destroy();
  child.stderr.destroy();
  await gone;
  clearTimeout(force);
}

interface Opened {
  format: PcmFormat;
  frameBytes: number;
  mixer: Mixer;
}

async function open(run: Run, input: FfmpegInput): Promise<Opened> {
  const head = await collect(run, HEADER_BYTES);
  if (head.length === 0) throw await run.failure();
  const { format, dataOffset } = await parseWavHeader(
    {
      size: Infinity,
      read: (into, offset) => Promise.resolve(head.copy(into, 0, offset, offset + into.length)),
    },
    `what ffmpeg makes of ${input.name}`,
  );
  // ffmpeg writes the header even where decoding then gives nothing.
  if (head.length === dataOffset) throw await run.failure();
  run.unread(head.subarray(dataOffset));
  return { format, frameBytes: bytesPerFrame(format), mixer: createMixer(format, input.name, input.channel) };
}

async function collect(run: Run, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  while (length < bytes) {
    const next = await run.next();
    if (next === null) break;
    parts.push(next);
    length += next.length;
  }
  return Buffer.concat(parts);
}

async function fill(run: Run, { frameBytes, mixer }: Opened, out: Float32Array): Promise<number> {
  let done = 0;
  let cut: Buffer | null = null;
  while (done < out.length) {
    let bytes = await run.next();
    if (bytes === null) break;
    // A frame may be cut in two by the pipe.
    if (cut !== null) bytes = Buffer.concat([cut, bytes]);
    const frames = Math.min(out.length - done, Math.floor(bytes.length / frameBytes));
    mixer.mix(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, frames, out, done);
    done += frames;
    const rest = bytes.subarray(frames * frameBytes);
    if (done === out.length) run.unread(rest);
    else cut = rest.length > 0 ? rest : null;
  }
  return done;
}

function onEachLine(stream: Readable, callback: (line: string) => void): void {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (part: string) => {
    const lines = (text + part).split(/[\r\n]+/);
    text = (lines.pop() ?? '').slice(-2000);
    for (const line of lines) if (line.trim() !== '') callback(line.trim());
  });
  stream.on('error', () => undefined);
}

/** An ffmpeg message without the name of the input, which the caller gives in its own words. */
function reasonIn(line: string, input: FfmpegInput): string {
  const reason = line.replace(/^(\[[^\]]*\]\s*)+/, '');
  const prefix = [input.url, input.name].find((name) => reason.startsWith(`${name}: `));
  return prefix === undefined ? reason : reason.slice(prefix.length + 2);
}

function spawnFailure(name: string, command: string, error: unknown): SoundpostError {
  const shortage = startShortage('ffmpeg', error);
  if (shortage !== null) return shortage;
  const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
  return missing
    ? new SoundpostError(
        'ffmpeg_missing',
        `${name} needs ffmpeg to be read, and "${command}" is not installed: ${INSTALL}`,
        { cause: error },
      )
    : new SoundpostError('ffmpeg_missing', `ffmpeg cannot be started: ${messageOf(error)}`, { cause: error });
}
