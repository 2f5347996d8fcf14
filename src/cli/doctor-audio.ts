import { describeDevices, findDevice, listInputDevices, type InputDevice } from '../audio/devices.js';
import { createFileSource } from '../audio/file-source.js';
import { hear, type Heard } from '../audio/hear.js';
import { LEVEL_FLOOR_DBFS } from '../audio/level.js';
import { createShaper } from '../audio/shaper.js';
import type { AudioSource } from '../audio/source.js';
import { createStreamSource } from '../audio/stream-source.js';
import { messageOf } from '../common/errors.js';
import { silentLogger, type Logger } from '../common/log.js';
import type { SourceConfig } from '../config/sources.js';
import type { Finding } from './finding.js';
import { createProgress } from './progress.js';

/** How much is listened to, and how long that may take. A camera is tried twice. */
const STREAM = { seconds: 4, deadlineMs: 60_000 };
const STREAM_CONNECT_MS = 20_000;
const RECORDING = { seconds: 60, deadlineMs: 60_000 };

/** Sources that are listened to at once: each may be a process of its own. */
const MOST_AT_ONCE = 8;

/** Codes of warnings about the sound itself. */
const ODDITIES = new Set(['odd_sound', 'damaged_audio']);

/**
 * Whether sound comes from each source. All are tried at once, as the service listens to them, so that five cameras
 * that are off take no longer than one.
 * @returns what is found of a source, by its place in `sources`; the first call begins to listen. Rejects with what is
 * wrong with the source, for people
 */
export function createAudioChecks(sources: readonly SourceConfig[]): (place: number) => Promise<Finding> {
  const microphones = createMicrophoneCheck(sources);
  let found: readonly Promise<Finding>[] | null = null;

  function tryAll(): readonly Promise<Finding>[] {
    const progress = createListeningProgress();
    const turns = createTurns(MOST_AT_ONCE);
    const tried = sources.map(async (source) =>
      source.audio.source === 'demo'
        ? { verdict: 'ok' as const, detail: 'the demo recording (audio.source is "demo")' }
        : source.audio.source === 'file' || source.audio.source === 'stream'
          ? turns(() => progress.during(() => listenTo(source)))
          : microphones(source),
    );
    // Whoever asks for one learns what is wrong with it; until then it is nobody's unhandled rejection.
    for (const each of tried) each.catch(() => undefined);
    return tried;
  }

  return (place) => (found ??= tryAll())[place]!;
}

/** Looks for the microphone of a source. Nothing is recorded: the service that runs may have it open. */
function createMicrophoneCheck(sources: readonly SourceConfig[]): (source: SourceConfig) => Promise<Finding> {
  let listed: Promise<{ devices: InputDevice[] }> | null = null;
  const microphones = sources.filter(({ audio }) => audio.source === 'microphone');

  /** Whose input it is already. */
  function holder(device: InputDevice, name: string, devices: readonly InputDevice[]): string | undefined {
    const before = microphones.slice(
      0,
      microphones.findIndex((other) => other.name === name),
    );
    return before.find(({ audio }) => inputOf(devices, audio.device) === device)?.name;
  }

  return async ({ name, audio }) => {
    try {
      const { devices } = await (listed ??= listInputDevices());
      const device = findDevice(devices, audio.device);
      const other = holder(device, name, devices);
      if (other !== undefined) {
        return {
          verdict: 'fail',
          detail: `${device.name} is the microphone of ${other}, and an input can be opened once: name another in device`,
        };
      }
      const used = new Set(microphones.map((each) => inputOf(devices, each.audio.device)));
      const free = devices.filter((each) => each.name !== device.name && !used.has(each));
      return {
        verdict: 'ok',
        detail: free.length === 0 ? device.name : `${device.name}; there is also ${describeDevices(free)}`,
      };
    } catch (error) {
      return { verdict: audio.source === 'microphone' ? 'fail' : 'warn', detail: messageOf(error) };
    }
  };
}

/** The input that a source names; undefined where there is none such. */
function inputOf(devices: readonly InputDevice[], device: string | number): InputDevice | undefined {
  try {
    return findDevice(devices, device);
  } catch {
    return undefined;
  }
}

/** Listens to a stream or a recording for a while, and says what was heard. */
async function listenTo({ audio }: SourceConfig): Promise<Finding> {
  const oddities: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: ({ code }, message) => {
      if (typeof code === 'string' && ODDITIES.has(code)) oddities.push(message);
    },
  };
  const isStream = audio.source === 'stream';
  const { gain_db: gainDb, highpass_hz: highpassHz } = audio;
  const shaper = createShaper({ gainDb, highpassHz });
  const heard = await hear(isStream ? openStream(audio, log) : openFile(audio, log), {
    ...(isStream ? STREAM : RECORDING),
    shaper,
  });
  const { level } = heard;
  const isSilent = level.peakDbfs <= LEVEL_FLOOR_DBFS;
  if (isSilent && oddities.length === 0) {
    oddities.push(
      'not even noise: is the microphone of the camera switched on? Another track or channel may have the sound',
    );
  }
  if (gainDb > 0 && shaper.clipped > 0) {
    oddities.push(`${shaper.clipped} samples were too loud after gain_db: ${gainDb} is too much here`);
  }
  const verdict = oddities.length === 0 ? 'ok' : 'warn';
  return { verdict, detail: [describe(heard, isSilent), ...oddities].join('; ') };
}

function openFile(audio: SourceConfig['audio'], log: Logger): AudioSource {
  return createFileSource({ path: audio.file, loop: false, speed: 'max', ...partsOf(audio), log });
}

function openStream(audio: SourceConfig['audio'], log: Logger): AudioSource {
  return createStreamSource({
    address: audio.url === '' ? audio.file : audio.url,
    ...partsOf(audio),
    // Twice, so that a camera is also asked in the other way.
    attempts: 2,
    timing: { connectMs: STREAM_CONNECT_MS },
    log,
  });
}

function partsOf({ track, channel }: SourceConfig['audio']) {
  return { track, ...(channel !== 'mix' && { channel }) };
}

function describe({ name, sampleRate, seconds, level, details }: Heard, isSilent: boolean): string {
  const loudness = isSilent
    ? 'digital silence'
    : `${level.dbfs.toFixed(0)} dBFS (peak ${level.peakDbfs.toFixed(0)})`;
  const more = details === undefined ? '' : `, ${details}`;
  return `${name}, ${sampleRate} Hz${more}: heard ${seconds.toFixed(1)} s of ${loudness}`;
}

/** One line of progress for all that is listened to at the same time. */
function createListeningProgress(): { during<T>(work: () => Promise<T>): Promise<T> } {
  let underWay = 0;
  let end: () => void = () => undefined;

  function begin(): () => void {
    const progress = createProgress('listening');
    const startedMs = performance.now();
    const ticking = setInterval(() => {
      progress.update(`${Math.round((performance.now() - startedMs) / 1000)} s`);
    }, 1000);
    return () => {
      clearInterval(ticking);
      progress.done();
    };
  }

  return {
    async during(work) {
      if (underWay === 0) end = begin();
      underWay += 1;
      try {
        return await work();
      } finally {
        underWay -= 1;
        if (underWay === 0) end();
      }
    },
  };
}

/** Lets so many work at once; the others wait for their turn, in the order in which they came. */
function createTurns(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let atWork = 0;
  return async (work) => {
    if (atWork === most) await new Promise<void>((resolve) => waiting.push(resolve));
    else atWork += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) atWork -= 1;
      else next();
    }
  };
}
