/**
 * Microphones without hardware, which PortAudio sees as real ones. Each lives in a temporary folder and is
 * seen only by processes that get its `env`, so that tests do not meet each other's devices.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { skipWithout } from './tools.js';
import { until } from './waiting.js';

/** A reason to skip tests with a microphone, or `false`; strict like `skipWithout`. */
export function skipWithoutMicrophone(...commands: string[]): string | false {
  try {
    createRequire(import.meta.url)('naudiodon');
  } catch (error) {
    if (process.env.SOUNDPOST_TEST_STRICT === '1') throw error;
    return 'naudiodon is not installed or not built';
  }
  return skipWithout(...commands);
}

/** The programs that a paced microphone needs. */
export const PACED_TOOLS = ['pulseaudio', 'ffmpeg'];

export interface Sound {
  /** Interleaved, [frames × channels]. */
  samples: Int16Array;
  sampleRate: number;
  channels: number;
}

export interface FakeMicrophone {
  /** Variables for the processes that are to see this microphone. */
  readonly env: Readonly<Record<string, string>>;
  /** From now on processes see inputs of these names, each of them this microphone. */
  setNames(names: string[]): Promise<void>;
  /** What makes it an input of this name in a configuration of ALSA. */
  asInput(name: string): string;
  stop(): Promise<void>;
}

/** Several microphones that one process sees, each under the names that are given it. */
export interface JoinedMicrophones {
  readonly env: Readonly<Record<string, string>>;
  /** From now on processes see these, by their names, and no other. */
  setInputs(inputs: Readonly<Record<string, FakeMicrophone>>): Promise<void>;
  /** The microphones themselves go on. */
  stop(): Promise<void>;
}

/** The first of `inputs` is the default one as well. */
export async function joinMicrophones(
  inputs: Readonly<Record<string, FakeMicrophone>>,
): Promise<JoinedMicrophones> {
  const { folder, env } = await makeFolder();
  const setInputs = (wanted: Readonly<Record<string, FakeMicrophone>>) => {
    const [first] = Object.values(wanted);
    const named = Object.entries(wanted).map(([name, microphone]) => microphone.asInput(name));
    return writeFile(
      env.ALSA_CONFIG_PATH!,
      [NO_DEVICE, ...(first === undefined ? [] : [first.asInput('default')]), ...named].join('\n') + '\n',
    );
  };
  await setInputs(inputs);
  return { env, setInputs, stop: () => rm(folder, { recursive: true, force: true }) };
}

/** Noise that never repeats within a test, so that a stretch of it is found at one place only. */
export function noise(frames: number, channels = 1, seed = 1): Int16Array {
  let state = seed;
  return Int16Array.from({ length: frames * channels }, () => {
    // Numerical Recipes' linear congruential generator, its upper bits.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 17) - 16384;
  });
}

/** The names of an ALSA input that are used where none are given: the default input only. */
const DEFAULT_NAMES = ['default'];

async function makeFolder(): Promise<{ folder: string; env: Record<string, string> }> {
  const folder = await mkdtemp(join(tmpdir(), 'soundpost-microphone-'));
  await mkdir(join(folder, 'run'), { mode: 0o700 });
  await mkdir(join(folder, 'home'));
  return {
    folder,
    env: {
      ALSA_CONFIG_PATH: join(folder, 'alsa.conf'),
      XDG_RUNTIME_DIR: join(folder, 'run'),
      HOME: join(folder, 'home'),
    },
  };
}

/** PortAudio does not survive a configuration without any device; this one cannot be opened. */
const NO_DEVICE = 'pcm.gone { type hw card 99 }';

const pcmName = (name: string) => (name === 'default' ? '!default' : name);

/**
 * A microphone that delivers `sound` as fast as it is read. Its first half second is sample for sample what
 * was given; after that ALSA's file plugin, unpaced, leaves out and repeats stretches of it, for ever.
 */
export async function startFileMicrophone(
  sound: Sound,
  names: string[] = DEFAULT_NAMES,
): Promise<FakeMicrophone> {
  const { folder, env } = await makeFolder();
  await writeFile(join(folder, 'sound.raw'), bytesOf(sound.samples));
  const asInput = (name: string) => `pcm.${pcmName(name)} {
  type plug
  slave {
    pcm {
      type file
      slave.pcm { type null }
      file "/dev/null"
      infile "${join(folder, 'sound.raw')}"
      format "raw"
    }
    format S16_LE
    rate ${sound.sampleRate}
    channels ${sound.channels}
  }
  hint {
    show on
    description "${name}"
  }
}`;
  const setNames = (wanted: string[]) =>
    writeFile(env.ALSA_CONFIG_PATH!, [NO_DEVICE, ...wanted.map(asInput)].join('\n') + '\n');
  await setNames(names);
  return { env, setNames, asInput, stop: () => rm(folder, { recursive: true, force: true }) };
}

export interface PacedMicrophone extends FakeMicrophone {
  /** Ends the sound server and what feeds it, at once: the input is lost. */
  killSource(): Promise<void>;
  /** Starts them again. */
  startSource(): Promise<void>;
  /** The input stays open and delivers nothing, until `resumeSource`. */
  stallSource(): void;
  resumeSource(): void;
  /** Other samples from now on, in the same format. */
  play(samples: Int16Array): Promise<void>;
}

/**
 * A microphone that delivers `sound` in real time, over and over: a PulseAudio server of its own with a pipe
 * as its source, fed by ffmpeg. Bit-exact where it is opened at the sound's rate.
 */
export async function startPacedMicrophone(
  sound: Sound,
  names: string[] = DEFAULT_NAMES,
): Promise<PacedMicrophone> {
  const { folder, env } = await makeFolder();
  const at = (name: string) => join(folder, name);
  const socket = at('run/native');
  let server: ChildProcess | undefined;
  let feeder: ChildProcess | undefined;
  const asInput = (name: string) => `pcm.${pcmName(name)} {
  type pulse
  server "unix:${socket}"
  device "mic"
  hint {
    show on
    description "${name}"
  }
}`;
  const setNames = (wanted: string[]) =>
    writeFile(env.ALSA_CONFIG_PATH!, wanted.map(asInput).join('\n') + '\n');
  const format = ['-f', 's16le', '-ac', String(sound.channels), '-ar', String(sound.sampleRate)];
  const feed = () => {
    feeder = spawn(
      'ffmpeg',
      ['-loglevel', 'error', '-re', '-stream_loop', '-1', ...format, '-i', at('sound.raw')].concat([
        '-f',
        's16le',
        '-y',
        at('mic.fifo'),
      ]),
      { stdio: 'ignore' },
    );
  };
  const startSource = async () => {
    // What the last server left, if it was killed: the next one does not start over it.
    await Promise.all([rm(socket, { force: true }), rm(at('mic.fifo'), { force: true })]);
    server = spawn(
      'pulseaudio',
      ['-n', '-F', at('pipe.pa'), '--exit-idle-time=-1', '--daemonize=no', '--use-pid-file=no'].concat([
        '--realtime=no',
        '--high-priority=no',
        `--log-target=file:${at('pulse.log')}`,
      ]),
      { stdio: 'ignore', env: { ...process.env, ...env } },
    );
    await untilAnswers(socket, server, at('pulse.log'));
    feed();
  };
  const killSource = async () => {
    await Promise.all([end(feeder), end(server)]);
  };
  await writeFile(at('sound.raw'), bytesOf(sound.samples));
  await writeFile(
    at('pipe.pa'),
    `load-module module-pipe-source source_name=mic file=${at('mic.fifo')} format=s16le rate=${sound.sampleRate} channels=${sound.channels}
set-default-source mic
load-module module-native-protocol-unix auth-anonymous=1 socket=${socket}
`,
  );
  await setNames(names);
  // A test that throws in the wrong place must not leave a sound server behind.
  const endAll = () => {
    server?.kill('SIGKILL');
    feeder?.kill('SIGKILL');
  };
  process.once('exit', endAll);
  await startSource();
  return {
    env,
    setNames,
    asInput,
    startSource,
    killSource,
    stallSource: () => void feeder?.kill('SIGSTOP'),
    resumeSource: () => void feeder?.kill('SIGCONT'),
    async play(samples) {
      await end(feeder);
      await writeFile(at('sound.raw'), bytesOf(samples));
      feed();
    },
    async stop() {
      process.off('exit', endAll);
      await killSource();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function bytesOf(samples: Int16Array): Uint8Array {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child?.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function untilAnswers(socket: string, server: ChildProcess, logFile: string): Promise<void> {
  const answers = async (): Promise<boolean> => {
    if (server.exitCode !== null) {
      throw new Error(`pulseaudio ended: ${await readFile(logFile, 'utf8').catch(() => 'no log')}`);
    }
    const connection = connect(socket);
    try {
      await once(connection, 'connect');
      return true;
    } catch {
      return false;
    } finally {
      connection.destroy();
    }
  };
  await until(answers, 'an answer of pulseaudio', 30, 20);
}
