import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { startChild, startShortage } from '../common/child.js';
import { childEnvironment } from '../common/child-environment.js';
import { codeOf, SoundpostError } from '../common/errors.js';
import { bytesOfPipe } from './byte-source.js';
import { openWithFfmpeg } from './ffmpeg.js';
import type { PcmReader } from './pcm-reader.js';
import { looksLikeWav } from './wav-header.js';
import { fileError, readWavForward } from './wav.js';

/** What can only be read once, from its beginning to its end. */
export interface Pipe {
  /** What it is called. */
  name: string;
  pieces: AsyncIterable<Buffer>;
  /** Ids of the processes that it runs. */
  pids(): number[];
  /** Ends it, and a read that waits. */
  close(): void;
}

/** Open files of this process, as the shell names them: `/dev/fd/63` is what `<(command)` becomes. */
const OPEN_FILE = /^\/(?:dev|proc\/self)\/(?:fd\/(\d+)|(stdin))$/;

/**
 * The pipe that a path names: `-` is the standard input; null where it names none. A named pipe is read by `cat`:
 * opening one waits for its writer, and a thread of this process that waits in the system could not be ended.
 *
 * Throws SoundpostError `usage` where the standard input is a terminal, and `no_resources` where the system has no process
 * for a named pipe.
 */
export async function pipeAt(path: string): Promise<Pipe | null> {
  if (path === '-') return standardInput();
  // What is wrong with a path that cannot be looked at, its reader says.
  const about = await stat(path).catch(() => null);
  if (about === null || !(about.isFIFO() || about.isSocket())) return null;
  const [, number, stdin] = OPEN_FILE.exec(path) ?? [];
  const descriptor = stdin === undefined ? number : '0';
  if (descriptor === '0') return standardInput();
  if (descriptor !== undefined) {
    return pipeOver(path, new Socket({ fd: Number(descriptor), readable: true, writable: false }));
  }
  return about.isFIFO() ? namedPipe(path) : null;
}

function standardInput(): Pipe {
  if (process.stdin.isTTY) {
    throw new SoundpostError(
      'usage',
      '"-" is the standard input, which is the terminal here: send a recording into it (soundpost tag - < recording.wav)',
    );
  }
  return pipeOver('standard input', process.stdin);
}

function pipeOver(name: string, stream: NodeJS.ReadStream | Socket): Pipe {
  async function* pieces(): AsyncGenerator<Buffer, void, void> {
    try {
      for await (const piece of stream) yield piece as Buffer;
    } catch (error) {
      throw fileError(name, error);
    }
  }
  return { name, pieces: pieces(), pids: () => [], close: () => void stream.destroy() };
}

function namedPipe(path: string): Pipe {
  // It waits for a writer, if need be for ever.
  const what = `the process that reads ${path}`;
  const child = startChild(what, () =>
    spawn('cat', ['--', path], { stdio: ['ignore', 'pipe', 'pipe'], env: childEnvironment() }),
  );
  const gone = once(child, 'close').catch((error: unknown) => {
    throw startShortage(what, error) ?? fileError(path, error);
  });
  gone.catch(() => undefined);
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-500)));
  async function* pieces(): AsyncGenerator<Buffer, void, void> {
    for await (const piece of child.stdout) yield piece as Buffer;
    await gone;
    if (child.exitCode !== 0 && complaint !== '') throw fileError(path, new Error(complaint.trim()));
  }
  return {
    name: path,
    pieces: pieces(),
    pids: () => (child.pid === undefined || child.exitCode !== null ? [] : [child.pid]),
    close() {
      child.kill('SIGKILL');
      child.stdout.destroy();
    },
  };
}

/**
 * A recording out of a pipe: WAV by itself, everything else through ffmpeg. Throws as `openAudioFile`; an abort
 * throws the signal's reason.
 */
export async function openPipe(
  pipe: Pipe,
  options: {
    signal?: AbortSignal | undefined;
    channel?: number | undefined;
    track?: number | undefined;
    ffmpeg?: string | undefined;
  },
): Promise<PcmReader> {
  const { signal, channel } = options;
  const abort = () => pipe.close();
  signal?.addEventListener('abort', abort, { once: true });
  const close = () => {
    signal?.removeEventListener('abort', abort);
    pipe.close();
  };
  /** What fails because the pipe was torn down fails because of the abort. */
  const watched = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  };
  try {
    const reader = await watched(open());
    return {
      ...reader,
      read: (out) => watched(reader.read(out)),
      pids: () => [...pipe.pids(), ...reader.pids()],
      async close() {
        close();
        await reader.close();
      },
    };
  } catch (error) {
    close();
    throw error;
  }

  async function open(): Promise<PcmReader> {
    const bytes = bytesOfPipe(pipe.pieces);
    const head = new Uint8Array(12);
    const there = await bytes.read(head, 0);
    if (there === 0) throw new SoundpostError('audio_empty', `${pipe.name} is empty (0 bytes)`);
    if (there === head.length && looksLikeWav(head) && (options.track ?? 1) === 1) {
      try {
        return await readWavForward(bytes, pipe.name, channel);
      } catch (error) {
        if (codeOf(error) !== 'wav_unsupported') throw error;
      }
    }
    return openWithFfmpeg(
      {
        url: 'pipe:0',
        protocols: 'pipe',
        stdin: bytes.all(),
        name: pipe.name,
        channel,
        track: options.track,
        command: options.ffmpeg,
      },
      signal,
    );
  }
}
