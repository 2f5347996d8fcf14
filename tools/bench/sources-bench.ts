import { execFile, spawnSync } from 'node:child_process';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { decodeFile } from '../../src/audio/decode.js';
import { resampleWhole } from '../../src/audio/resample.js';
import { startRtspCamera, type RtspCamera } from '../../test/support/rtsp-camera.js';
import { encodeWav } from '../../test/support/wav.js';
import type { SourcesRound } from './sources-report.js';
import { runSources, type BenchSource, type SourcesRun, type SourcesRunOptions } from './sources-run.js';

export interface SourcesBenchOptions extends Pick<
  SourcesRunOptions,
  'program' | 'modelId' | 'windowSeconds' | 'rateHz' | 'settleSeconds' | 'seconds' | 'broker' | 'signal'
> {
  /** A folder of the benchmark's own. */
  folder: string;
  /** The folder of the model; null where it comes with the program. */
  modelFolder: string | null;
  /** How many sources the one is compared with; at least two. */
  sources: number;
  rounds: number;
  /** What the sources play, in any format that the service reads. */
  recording: string;
  /** Leave out the camera and the quiet room. */
  onlySources?: boolean;
  progress: (message: string) => void;
}

/** The rate of what is played: that of most microphones, and not that of the models. */
const RATE_HZ = 48_000;
const QUIET_SECONDS = 20;
/** A quiet room at night, in a microphone that is not turned up. */
const QUIET_DBFS = -70;
const IDLE_BELOW_DBFS = -55;
/** What the camera wants to hear. */
const CREDENTIALS = 'bench:bench';

interface Sounds {
  /** Of the recording, a WAV file at 48 kHz. */
  lively: string;
  /** Noise, a WAV file at 48 kHz. */
  quiet: string;
}

/**
 * Runs the service in turns with one source and with several, and, where there is time for it, with a camera and in a
 * quiet room; every other round goes backwards. What else the machine does changes from one minute to the next, so only
 * runs of one round are compared.
 */
export async function benchSources(options: SourcesBenchOptions): Promise<SourcesRound[]> {
  const { signal, progress } = options;
  const sounds = await makeSounds(options);
  const camera = options.onlySources === true ? null : await startCamera(options, sounds);
  const rounds: SourcesRound[] = [];
  const cases = casesOf(options, sounds, camera);
  try {
    for (let round = 0; round < options.rounds; round += 1) {
      const order = round % 2 === 0 ? cases : cases.toReversed();
      const runs = new Map<string, SourcesRun>();
      for (const { name, sources, idleBelowDbfs } of order) {
        signal.throwIfAborted();
        progress(`round ${round + 1} of ${options.rounds}: ${name}`);
        const folder = await freshFolder(options);
        runs.set(name, await runSources({ ...options, folder, sources, idleBelowDbfs }));
        await rm(folder, { recursive: true });
      }
      const of = (name: CaseName) => runs.get(name) ?? null;
      rounds.push({
        one: of('one source')!,
        several: of('several sources')!,
        camera: of('a camera'),
        quiet: of('a quiet room'),
        idle: of('a quiet room that may be idle'),
      });
    }
    return rounds;
  } finally {
    camera?.close();
  }
}

type CaseName =
  'one source' | 'several sources' | 'a camera' | 'a quiet room' | 'a quiet room that may be idle';

interface Case {
  name: CaseName;
  sources: BenchSource[];
  idleBelowDbfs: number | null;
}

function casesOf(options: SourcesBenchOptions, sounds: Sounds, camera: RtspCamera | null): Case[] {
  const playing = (file: string, number: number): BenchSource => ({
    name: `source${number}`,
    source: 'file',
    file,
    loop: true,
    speed: '1',
  });
  const url = `rtsp://${CREDENTIALS}@127.0.0.1:${camera?.port ?? 0}/stream1`;
  const lively = Array.from({ length: options.sources }, (_, index) => playing(sounds.lively, index + 1));
  const quiet = [playing(sounds.quiet, 1)];
  const cases: Case[] = [
    { name: 'one source', sources: lively.slice(0, 1), idleBelowDbfs: null },
    { name: 'several sources', sources: lively, idleBelowDbfs: null },
  ];
  if (options.onlySources === true) return cases;
  if (camera !== null) {
    const source = { name: 'camera', source: 'stream', url };
    cases.push({ name: 'a camera', sources: [source], idleBelowDbfs: null });
  }
  return [
    ...cases,
    { name: 'a quiet room', sources: quiet, idleBelowDbfs: null },
    { name: 'a quiet room that may be idle', sources: quiet, idleBelowDbfs: IDLE_BELOW_DBFS },
  ];
}

/** A data folder as after the installation of the model. */
async function freshFolder({ folder, modelFolder, modelId }: SourcesBenchOptions): Promise<string> {
  const fresh = join(folder, 'run');
  const models = join(fresh, 'data', 'models');
  await mkdir(models, { recursive: true });
  if (modelFolder !== null) await cp(modelFolder, join(models, modelId), { recursive: true });
  return fresh;
}

async function makeSounds({ folder, recording, signal }: SourcesBenchOptions): Promise<Sounds> {
  const lively = join(folder, 'recording.wav');
  const quiet = join(folder, 'quiet.wav');
  const decoded = await decodeFile(recording, { signal });
  const samples = await resampleWhole(decoded.samples, decoded.sampleRate, RATE_HZ);
  await writeFile(lively, encodeWav(samples, RATE_HZ));
  // Uniform noise, whose root mean square is its largest value by the root of 3.
  const largest = Math.sqrt(3) * 10 ** (QUIET_DBFS / 20);
  const noise = Float32Array.from(
    { length: QUIET_SECONDS * RATE_HZ },
    () => (2 * Math.random() - 1) * largest,
  );
  await writeFile(quiet, encodeWav(noise, RATE_HZ));
  return { lively, quiet };
}

/** The recording as a camera with G.711 sends it; null without ffmpeg, which the service needs for it as well. */
async function startCamera(
  { signal, progress }: SourcesBenchOptions,
  { lively }: Sounds,
): Promise<RtspCamera | null> {
  if (spawnSync('ffmpeg', ['-version']).error !== undefined) {
    progress('no camera: there is no ffmpeg');
    return null;
  }
  const { stdout } = await promisify(execFile)(
    'ffmpeg',
    ['-v', 'error', '-i', lively, '-ac', '1', '-ar', '8000', '-f', 'f32le', '-'],
    { encoding: 'buffer', maxBuffer: 1e9, signal },
  );
  const sound = new Float32Array(Uint8Array.from(stdout).buffer);
  return startRtspCamera(CREDENTIALS, { sound });
}
