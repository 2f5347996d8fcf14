import type { LevelMeter } from '../audio/level.js';
import type { AudioSink, AudioSource, AudioStatus } from '../audio/source.js';
import type { Logger } from '../common/log.js';
import type { PipelineSource } from '../inference/pipeline.js';
import type { Link } from '../mqtt/link.js';
import type { RateMeter } from '../telemetry/rate.js';
import type { Announcer } from './announcer.js';
import { createClockWatch } from './clock-watch.js';

/**
 * Takes the sound of a source: its level is measured, its windows are answered, and breaks in it (another device, a
 * clock that was set, the end) end what is on.
 */
export function createSink(options: {
  source: Pick<AudioSource, 'realTime'>;
  level: Pick<LevelMeter, 'add'>;
  pipeline: Pick<PipelineSource, 'begin' | 'chunk' | 'interrupt' | 'idle'>;
  announcer: Pick<Announcer, 'close' | 'setAudible'>;
  rate: Pick<RateMeter, 'reset'>;
  link: Pick<Link, 'publish'>;
  /** The sound begins anew: what was measured of the one before is of no use. */
  onBegin: () => void;
  onStatus: (status: AudioStatus) => void;
  log: Logger;
}): AudioSink {
  const { source, level, pipeline, announcer, rate, link, log } = options;
  const clock = createClockWatch();

  /** No event and no window may have its beginning on the old clock and its end on the new one. */
  function clockWasSet(jumpedMs: number): void {
    log.warn(
      { code: 'clock_set' },
      `The clock went ${jumpedMs < 0 ? 'back' : 'ahead'} by ${Math.round(Math.abs(jumpedMs) / 1000)} s (it was set, or the machine slept): what is on ends, and begins anew`,
    );
    announcer.close();
    pipeline.interrupt();
  }

  function status(now: AudioStatus): void {
    options.onStatus(now);
    link.publish('audio/status', now.state);
    if (now.state === 'offline') pipeline.interrupt();
    announcer.setAudible(now.state === 'online');
  }

  return {
    begin({ sampleRate, name }) {
      announcer.close();
      rate.reset();
      options.onBegin();
      pipeline.begin(sampleRate, source.realTime);
      log.info({}, `Hearing ${name} at ${sampleRate} Hz`);
    },
    chunk(samples, endTimeMs) {
      const jumpedMs = clock.look(Date.now(), performance.now());
      if (jumpedMs !== 0) clockWasSet(jumpedMs);
      level.add(samples);
      return pipeline.chunk(samples, endTimeMs);
    },
    status,
    end() {
      void pipeline.idle().then(() => {
        status({ state: 'offline', code: 'ended', reason: 'the recording is over' });
        log.info({}, 'The recording is over; nothing more to hear');
      });
    },
  };
}
