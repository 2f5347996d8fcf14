import { createLoudnessMeter, type LoudnessBlock, type LoudnessReader } from '../audio/loudness.js';
import { createShaper } from '../audio/shaper.js';
import type { AudioSink, AudioSource, AudioStatus } from '../audio/source.js';
import type { Logger } from '../common/log.js';
import type { PipelineSource } from '../inference/pipeline.js';
import type { LoudBlock } from '../tagging/loud.js';
import type { RateMeter } from '../telemetry/rate.js';
import type { Announcer } from './announcer.js';
import { createClockWatch } from './clock-watch.js';
import type { SourceKeeping } from './keeping.js';

/** Takes the sound of one source. */
export interface Sink extends AudioSink {
  /** A reader of its loudness, with a period of its own. */
  loudness(): LoudnessReader;
  /** Another microphone, or another place: how loud it was says nothing any more. */
  forgetLoudness(): void;
  /** Samples that were too loud for full scale after the gain. */
  readonly clipped: number;
}

/**
 * Takes the sound of a source: it is shaped, its level is measured, its windows are answered, and breaks in it (another
 * device, a clock that was set, the end) end what is on.
 */
export function createSink(options: {
  source: Pick<AudioSource, 'realTime'>;
  sound: { gainDb: number; highpassHz: number };
  windows: Pick<PipelineSource, 'begin' | 'piece' | 'chunk' | 'interrupt' | 'idle'>;
  announcer: Pick<Announcer, 'close' | 'setAudible' | 'loudness'>;
  /** What is kept of its sound. */
  keeping: Pick<SourceKeeping, 'begin' | 'chunk' | 'interrupt'>;
  /** In a pause nothing is loud either, and nothing is kept. */
  isPaused: () => boolean;
  rate: Pick<RateMeter, 'reset'>;
  /** The sound begins anew: what was measured of the one before is of no use. */
  onBegin: () => void;
  onStatus: (status: AudioStatus) => void;
  /** ` at <source>` where there are several, for people. */
  where: string;
  log: Logger;
}): Sink {
  const { source, windows, announcer, keeping, rate, where, log } = options;
  const clock = createClockWatch();
  const shaper = createShaper(options.sound);
  const meter = createLoudnessMeter({ onBlock: measured });
  let sampleRate = 0;
  /** Of the chunk that is being measured: where it ends in the sound, and when. */
  let position = 0;
  let endMs = 0;
  /** One object for all blocks: nothing is allocated. */
  const block: { -readonly [K in keyof LoudBlock]: LoudBlock[K] } = {
    endMs: 0,
    lengthMs: 0,
    dbfs: 0,
    backgroundDbfs: null,
  };
  let measuredUntil = 0;

  function measured({ endSample, dbfs, backgroundDbfs }: LoudnessBlock): void {
    windows.piece(endSample, dbfs);
    block.endMs = endMs - ((position - endSample) * 1000) / sampleRate;
    block.lengthMs = ((endSample - measuredUntil) * 1000) / sampleRate;
    block.dbfs = dbfs;
    block.backgroundDbfs = backgroundDbfs;
    measuredUntil = endSample;
    if (!options.isPaused()) announcer.loudness(block);
  }

  /** No event and no window may have its beginning on the old clock and its end on the new one. */
  function clockWasSet(jumpedMs: number): void {
    log.warn(
      { code: 'clock_set' },
      `The clock went ${jumpedMs < 0 ? 'back' : 'ahead'} by ${Math.round(Math.abs(jumpedMs) / 1000)} s (it was set, or the machine slept): what is on${where} ends, and begins anew`,
    );
    announcer.close();
    keeping.interrupt();
    windows.interrupt();
  }

  function status(now: AudioStatus): void {
    options.onStatus(now);
    if (now.state === 'offline') windows.interrupt();
    announcer.setAudible(now.state === 'online');
    if (now.state === 'offline') keeping.interrupt();
  }

  return {
    loudness: () => meter.reader(),
    forgetLoudness: () => meter.forget(),
    get clipped() {
      return shaper.clipped;
    },
    begin(format) {
      announcer.close();
      rate.reset();
      options.onBegin();
      ({ sampleRate } = format);
      position = 0;
      measuredUntil = 0;
      shaper.begin(sampleRate);
      meter.begin(sampleRate);
      keeping.begin(sampleRate);
      windows.begin(sampleRate, source.realTime);
      log.info({}, `Hearing ${format.name} at ${sampleRate} Hz${where}`);
    },
    chunk(samples, endTimeMs) {
      const jumpedMs = clock.look(Date.now(), performance.now());
      if (jumpedMs !== 0) clockWasSet(jumpedMs);
      const shaped = shaper.process(samples);
      position += shaped.length;
      endMs = endTimeMs;
      if (!options.isPaused()) keeping.chunk(shaped, endTimeMs);
      meter.add(shaped);
      return windows.chunk(shaped, endTimeMs);
    },
    status,
    end() {
      void windows.idle().then(() => {
        status({ state: 'offline', code: 'ended', reason: 'the recording is over' });
        log.info({}, `The recording is over${where}; nothing more to hear`);
      });
    },
  };
}
