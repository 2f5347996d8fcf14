import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { startShortage, startChild } from '../common/child.js';
import { childEnvironment } from '../common/child-environment.js';
import { messageOf, SoundpostError } from '../common/errors.js';
import { readLines } from './child-lines.js';
import { bytesPerFrame, createMixer, type Mixer, type PcmFormat } from './pcm.js';
import type { PcmReader } from './pcm-reader.js';
import { parseWavHeader } from './wav-header.js';

export interface FfmpegInput {
  /** What ffmpeg opens, with its protocol: `file:/x.flac`, `rtsp://…`. */
  url: string;
  /** Protocols ffmpeg may use for it and for whatever it leads to (playlists), separated by commas. */
  protocols: string;
  /** Options of the input, by their names. */
  options?: Readonly<Record<string, string>>;
  /**
   * The address holds a secret, and everybody on a machine can read the command line of every process: ffmpeg gets
   * it through its standard input.
   */
  secret?: boolean;
  /** What ffmpeg gets through its standard input (`url` is then `pipe:0`); it can be had once only. */
  stdin?: AsyncIterable<Buffer> | undefined;
  /** Variables for ffmpeg, beside those of this process; undefined takes one away. */
  env?: NodeJS.ProcessEnv | undefined;
  /** Sound that is made now: it is passed on at once instead of in larger pieces. */
  live?: boolean;
  /** What errors and warnings call it. */
  name: string;
  /** Called with every line that ffmpeg writes to stderr. */
  onLine?: ((line: string) => void) | undefined;
  /** Called with the description of every audio track as it is found, also where no sound follows. */
  onTrack?: ((description: string) => void) | undefined;
  /** Applied to each such line before anything is done with it: takes secrets out. */
  clean?: ((line: string) => string) | undefined;
  /** The audio track to take (1 is the first); the first where it is left out. */
  track?: number | undefined;
  /** The one channel of it to take (1 is the first); the mean of all channels where it is left out. */
  channel?: number | undefined;
  /** The executable. */
  command?: string | undefined;
}

/** Sound from ffmpeg. */
export interface FfmpegReader extends PcmReader {
  /** What ffmpeg had to say about its end; nothing where that was a clean one. */
  ending(): string | undefined;
}

type Child = ChildProcessByStdio<Writable | null, Readable, Readable>;

/** How long ffmpeg may take to end by itself after SIGTERM. */
const GRACE_MS = 1_000;

/** More than any WAV header that ffmpeg writes. */
const HEADER_BYTES = 4096;

/** How much of what ffmpeg said last is looked through for a reason. */
const KEPT_LINES = 8;

/** More than anything has that people listen to; each is remembered with its description. */
const MOST_TRACKS = 100;

/**
 * What a live stream may have at most: every sample of every channel passes through this process, and what others hear
 * with it must not suffer. 384 kHz is the highest rate of any converter, and ten channels of it are within the sum.
 */
const MOST_LIVE_HZ = 384_000;
const MOST_LIVE_SAMPLES_PER_SECOND = 4_000_000;

/** What ffmpeg says about sound with nothing wrong about it. */
const EVERYDAY =
  /Guessed Channel Layout|Estimating duration|Skipping unhandled metadata|timestamps for (skipped|discarded) samples|^To ignore this/i;

/** `[rtsp @ 0x55e0] [error] text`: who says it, how bad it is, and what. */
const LEVEL = /^(?:\[[^\]]*\] )*?\[(info|warning|error|fatal|panic|verbose|debug)\] (?:\[[^\]]*\] )*\s*(.*)$/;

const UNREACHABLE =
  /Connection (refused|timed out|reset)|No route to host|unreachable|Failed to resolve|Name or service not known|Host is down/i;

const AUDIO_TRACK = /^Stream #0:\d+\S*: Audio: (.+)$/;

const INSTALL =
  'install it (Debian, Raspberry Pi OS, Ubuntu: "sudo apt-get install ffmpeg"; macOS: "brew install ffmpeg")';

/**
 * Opens anything ffmpeg can read, at its own rate. ffmpeg writes WAV with all channels as float32, so that rate
 * and channels come with the sound itself (no ffprobe needed) and the channels are mixed in the same way as those
 * of a WAV file. Resolves when the first sound is there. `rewind` starts ffmpeg anew.
 *
 * Throws SoundpostError `ffmpeg_missing`, `not_audio`, `no_such_track`, `no_such_channel`, `bad_sample_rate` (more than
 * a live stream may have), `no_resources` (see common/child.ts).
 */
export async function openWithFfmpeg(input: FfmpegInput, signal?: AbortSignal): Promise<FfmpegReader> {
  signal?.throwIfAborted();
  const notes: string[] = [];
  let how: Handover = input.secret === true ? 'list' : 'argument';
  let run = startRun(input, how, notes);
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
    try {
      opened = await open(run, input);
    } catch (error) {
      if (!run.isTooOld() || signal?.aborted === true) throw error;
      how = 'plain list';
      run = startRun(input, how, notes);
      opened = await open(run, input);
    }
  } catch (error) {
    await close();
    signal?.throwIfAborted();
    throw error;
  }
  const { sampleRate } = opened.format;

  return {
    sampleRate,
    ending: () => notes.at(-1),
    warnings: () => [...new Set([...notes, ...opened.mixer.warnings()])],
    async read(out) {
      signal?.throwIfAborted();
      const done = await fill(run, opened, out);
      signal?.throwIfAborted();
      if (done < out.length && !closed) await run.noteEnd();
      return done;
    },
    async rewind() {
      if (input.stdin !== undefined) {
        throw new SoundpostError('not_rewindable', `${input.name} cannot be played from its start again`);
      }
      await run.end();
      if (closed) return;
      run = startRun(input, how, notes);
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

/**
 * How ffmpeg is told what to open: as an argument; or in a list for its "concat" demuxer on its standard input, with
 * the options in it, which takes ffmpeg 5.0 or later; or in such a list without options, for older ones.
 */
type Handover = 'argument' | 'list' | 'plain list';

/** The arguments that make ffmpeg open the input, and what it has to find on its standard input. */
function inputOf(
  input: FfmpegInput,
  how: Handover,
): { args: string[]; stdin: AsyncIterable<Buffer> | undefined } {
  const { url, protocols, options = {} } = input;
  if (how === 'argument') {
    const given = Object.entries<string>(options).flatMap(([name, value]) => [`-${name}`, value]);
    return { args: ['-protocol_whitelist', protocols, ...given, '-i', url], stdin: input.stdin };
  }
  // The list itself comes through a pipe; what it names is held to `protocols`, and with it all that leads to.
  const inner = how === 'list' ? { protocol_whitelist: protocols, ...options } : {};
  const list = [
    'ffconcat version 1.0',
    `file ${quoted(url)}`,
    ...Object.entries<string>(inner).map(([name, value]) => `option ${name} ${quoted(value)}`),
  ].join('\n');
  const whitelist = how === 'list' ? 'pipe' : `pipe,${protocols}`;
  return {
    args: ['-f', 'concat', '-safe', '0', '-protocol_whitelist', whitelist, '-i', 'pipe:0'],
    stdin: Readable.from([Buffer.from(`${list}\n`)]),
  };
}

/** Text in the quotes of ffmpeg, in which nothing but the quote itself is special. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
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
  /** Whether ffmpeg did not understand the list that it was given. */
  isTooOld(): boolean;
  pids(): number[];
  /** Ends the process and waits until it is gone. */
  end(): Promise<void>;
}

function startRun(input: FfmpegInput, how: Handover, notes: string[]): Run {
  const command = input.command ?? 'ffmpeg';
  const { args, stdin } = inputOf(input, how);
  // prettier-ignore
  const options = [
    '-nostdin', '-hide_banner', '-nostats', '-loglevel', 'level+info', ...args,
    '-map', `0:a:${(input.track ?? 1) - 1}`, '-c:a', 'pcm_f32le', '-bitexact',
    ...(input.live ? ['-flush_packets', '1'] : []), '-f', 'wav', 'pipe:1',
  ];
  const child: Child = startChild(
    'ffmpeg',
    () =>
      spawn(command, options, {
        stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
        env: childEnvironment(input.env),
      }) as Child,
  );
  if (stdin !== undefined && child.stdin !== null) {
    // It may end before it has taken everything; what is wrong with the pipe then shows in what it says.
    pipeline(stdin, child.stdin).catch(() => undefined);
  }
  let spawnError: unknown = null;
  const complaints: string[] = [];
  const tracks: string[] = [];
  let lines = 0;
  let inputIsDescribed = false;
  /** The level of the last line that had one: a message may go on over several lines. */
  let level = 'error';
  child.on('error', (error) => {
    spawnError = error;
  });
  readLines(child.stderr, (raw) => {
    const [, named, text = raw] = LEVEL.exec(raw) ?? [];
    level = named ?? level;
    const line = input.clean?.(text) ?? text;
    input.onLine?.(line);
    if (level === 'info') {
      inputIsDescribed ||= /^(Stream mapping|Output #)/.test(line);
      const track = AUDIO_TRACK.exec(line)?.[1];
      if (track !== undefined && !inputIsDescribed && tracks.length < MOST_TRACKS) {
        tracks.push(track);
        input.onTrack?.(track);
      }
      return;
    }
    if (EVERYDAY.test(line)) return;
    complaints.push(line);
    if (complaints.length > KEPT_LINES) complaints.shift();
    lines += 1;
  });
  const why = () => reasonIn(complaints, input);
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
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
      if (complaints.some((line) => line.includes('matches no streams'))) return noTrack(input, tracks);
      const text = complaints.length === 0 ? 'it contains no sound' : why();
      const cannot = UNREACHABLE.test(text) ? 'cannot be reached' : 'cannot be read as audio';
      return new SoundpostError('not_audio', `${input.name} ${cannot}: ${text}`);
    },
    async noteEnd() {
      await gone;
      if (child.exitCode !== 0) {
        notes.push(`${input.name} could not be read to its end: ${why() || 'ffmpeg was ended'}`);
      } else if (lines > 0) {
        notes.push(`${input.name} was read with difficulties: ${why()}`);
      }
    },
    isTooOld: () => complaints.some((line) => line.includes("unknown keyword 'option'")),
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
  if (input.live === true) checkLive(format, input.name);
  run.unread(head.subarray(dataOffset));
  return { format, frameBytes: bytesPerFrame(format), mixer: createMixer(format, input.name, input.channel) };
}

function checkLive({ sampleRate, channels }: PcmFormat, name: string): void {
  if (sampleRate <= MOST_LIVE_HZ && sampleRate * channels <= MOST_LIVE_SAMPLES_PER_SECOND) return;
  throw new SoundpostError(
    'bad_sample_rate',
    `${name} has ${channels} channel${channels === 1 ? '' : 's'} of ${sampleRate} Hz, which is more than can be taken of a stream (${MOST_LIVE_HZ} Hz, and ${MOST_LIVE_SAMPLES_PER_SECOND} samples a second in all channels)`,
  );
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

/** The reason among ffmpeg's last lines, without the name of the input, which the caller gives in its own words. */
function reasonIn(lines: readonly string[], input: FfmpegInput): string {
  // What a camera answered says more than what ffmpeg makes of it in the end ("Server returned 4XX Client Error").
  const answer = lines.findLast((line) => /^method \w+ failed: /.test(line));
  const reason = answer ?? lines.at(-1) ?? '';
  const prefix = [input.url, input.name, 'pipe:0'].find((name) => reason.startsWith(`${name}: `));
  return prefix === undefined ? reason : reason.slice(prefix.length + 2);
}

function noTrack({ name, track }: FfmpegInput, tracks: readonly string[]): SoundpostError {
  if (tracks.length === 0) return new SoundpostError('not_audio', `${name} holds no sound`);
  const list = tracks.map((text, index) => `${index + 1}: ${text}`).join('; ');
  return new SoundpostError(
    'no_such_track',
    `${name} has ${tracks.length} audio track${tracks.length === 1 ? '' : 's'} (${list}), so track ${track} cannot be taken`,
  );
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
