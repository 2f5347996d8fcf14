import { createBackoff, createRestartPolicy } from '../common/backoff.js';
import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { cancellationText } from './phase-cancellation.js';
import { createChatter } from './capture/chatter.js';
import type { InputDevice } from './capture/select.js';
import { createLiveness, SILENCE_SECONDS } from './liveness.js';
import type { AudioSink, AudioSource, AudioStatus } from './source.js';
import { startCapture, type CaptureEvents, type WatchedCapture } from './watched-capture.js';

export interface MicrophoneTiming {
  /** How much sound the capture process hands over at a time. */
  chunkMs: number;
  /** An input that is open and delivers nothing for so long is taken for lost. */
  stallMs: number;
  /** How long finding and opening the input may take. */
  openMs: number;
  /** The first wait before the next attempt; it doubles up to `maxRetryMs`. */
  firstRetryMs: number;
  maxRetryMs: number;
  /** See `createLiveness`. */
  silenceSeconds: number;
}

const DEFAULT_TIMING: MicrophoneTiming = {
  chunkMs: 100,
  stallMs: 3_000,
  openMs: 15_000,
  firstRetryMs: 500,
  maxRetryMs: 30_000,
  silenceSeconds: SILENCE_SECONDS,
};

/** So many losses in so long, and the next attempt waits for `maxRetryMs`. */
const QUICK_RESTARTS = { limit: 5, windowMs: 60_000 };

export interface MicrophoneOptions {
  /** A name, a part of one, or an index; the default input where it is left out. */
  device?: string | number | undefined;
  /** The one channel to take (1 is the first); the mean of all channels where it is left out. */
  channel?: number | undefined;
  /** Hz to ask the device for; its own where it is left out. */
  sampleRate?: number | undefined;
  log: Logger;
  /** The capture process works in this folder (and may leave a crash.log there); made where it is absent. */
  workFolder: string;
  timing?: Partial<MicrophoneTiming>;
  /** Variables for the capture process, beside those of this process. */
  env?: NodeJS.ProcessEnv;
}

export interface Microphone extends AudioSource {
  readonly kind: 'microphone';
  /** Changes to another input. Resolves when the old one is let go; whether the new one works, `status` says. */
  setDevice(device: string | number | undefined): Promise<void>;
  /** The input that is open now. `listInputDevices` may not see it, because it is in use. */
  current(): InputDevice | undefined;
}

/**
 * A microphone through PortAudio, in a process of its own. That process is watched: where it dies, does not
 * open the input, or delivers nothing for `stallMs`, it is ended and started again, with growing delays and
 * without end. Another input than the one asked for is never taken instead.
 *
 * Offline codes: those of `findDevice`, `no_such_channel`, `device_refused`, `naudiodon_missing`,
 * `capture_died`, `microphone_stalled`, `digital_silence`.
 */
export function createMicrophone(options: MicrophoneOptions): Microphone {
  const { log } = options;
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const liveness = createLiveness({ silenceSeconds: timing.silenceSeconds });
  const chatter = createChatter((line) => log.debug({ line }, 'The audio libraries say'));
  const retries = createRetries(timing, log, launch);
  let overruns = 0;

  let wanted = options.device;
  let sink: AudioSink | undefined;
  let capture: WatchedCapture | undefined;
  /** What was said of the input, by its code; once each, until another is asked for. */
  const said = new Set<string>();
  /** What is listened to, said at info when it is news. */
  let announced = '';

  const report = (status: AudioStatus | undefined) => {
    if (status === undefined) return;
    if (status.state === 'online') log.info({}, 'The microphone delivers sound');
    else log.warn({ code: status.code }, `No sound from the microphone: ${status.reason}`);
    sink?.status(status);
  };

  const sayOnce = (code: string, warning: string) => {
    if (said.has(code)) return;
    said.add(code);
    log.warn({ code }, warning);
  };

  const events: CaptureEvents = {
    onFirst(device, sampleRate, channels) {
      retries.succeeded();
      liveness.begin(sampleRate);
      const listening = `Listening to "${device.name}" (${device.hostApi}), ${sampleRate} Hz, ${channels} channel${channels === 1 ? '' : 's'}`;
      log[listening === announced ? 'debug' : 'info']({}, listening);
      announced = listening;
      sink?.begin({ sampleRate, name: device.name });
    },
    onSamples(samples, sampleRate) {
      const nowMs = Date.now();
      const most = Math.max(1, Math.round((sampleRate * timing.chunkMs) / 1000));
      for (let at = 0; at < samples.length; at += most) {
        const part = samples.length <= most ? samples : samples.subarray(at, at + most);
        report(liveness.chunk(part));
        // A microphone cannot wait, so neither does this.
        void sink?.chunk(part, nowMs - ((samples.length - at - part.length) * 1000) / sampleRate);
      }
    },
    onOverrun() {
      overruns += 1;
      log.debug({}, 'The input had sound that was not taken in time; some of it is lost');
    },
    onCancelling(device, lossDb) {
      sayOnce('channels_cancel', cancellationText(`"${device?.name ?? '?'}"`, lossDb));
    },
    onUnusable({ name }) {
      sayOnce('odd_sound', `"${name}" gives samples that are not usable numbers; they count as silence`);
    },
    onTooFast({ name }) {
      sayOnce(
        'too_fast',
        `"${name}" gives sound much faster than it sounds, which no microphone does: it is held back, and some of it may be lost`,
      );
    },
    onFailed: (code, reason) => report(liveness.fail(code, reason)),
    onGone(lost) {
      capture = undefined;
      retries.plan(lost);
    },
  };

  function launch(): void {
    try {
      capture = startCapture(
        {
          command: 'capture',
          chunkMs: timing.chunkMs,
          ...(wanted !== undefined && { device: wanted }),
          ...(options.channel !== undefined && { channel: options.channel }),
          ...(options.sampleRate !== undefined && { sampleRate: options.sampleRate }),
        },
        {
          workFolder: options.workFolder,
          env: options.env,
          chatter,
          openMs: timing.openMs,
          stallMs: timing.stallMs,
          events,
        },
      );
    } catch (error) {
      const why = messageOf(error);
      const reason =
        codeOf(error) === 'no_resources' ? why : `the capture process could not be started: ${why}`;
      report(liveness.fail('capture_died', reason));
      retries.plan(true);
    }
  }

  /** Ends the capture, or the wait for the next one. */
  const drop = async () => {
    retries.callOff();
    const dropped = capture;
    capture = undefined;
    await dropped?.drop();
  };

  return {
    kind: 'microphone',
    realTime: true,
    // eslint-disable-next-line @typescript-eslint/require-await -- a source starts asynchronously
    async start(to) {
      if (sink !== undefined) throw new Error('a microphone is started once');
      sink = to;
      launch();
    },
    async stop() {
      sink = undefined;
      await drop();
    },
    async setDevice(device) {
      wanted = device;
      said.clear();
      await drop();
      retries.succeeded();
      if (sink !== undefined && capture === undefined && !retries.isPlanned) launch();
    },
    current: () => capture?.device,
    pids: () => (capture?.pid === undefined ? [] : [capture.pid]),
    counters: () => ({ overruns, restarts: retries.restarts }),
  };
}

/** When the next capture is begun. */
interface Retries {
  /** How often an input was lost. */
  readonly restarts: number;
  /** Whether a next one is waited for. */
  readonly isPlanned: boolean;
  /** `lost`: there was, or should have been, an input at work; else it only waits for one to appear. */
  plan(lost: boolean): void;
  /** Sound came, or another input was asked for: the next wait for one to appear is a short one. */
  succeeded(): void;
  callOff(): void;
}

function createRetries(timing: MicrophoneTiming, log: Logger, launch: () => void): Retries {
  const times = { firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs };
  const delays = createBackoff(times);
  const policy = createRestartPolicy(createBackoff(times), { ...QUICK_RESTARTS, slowMs: times.maxMs });
  let restarts = 0;
  let timer: NodeJS.Timeout | undefined;
  return {
    get restarts() {
      return restarts;
    },
    get isPlanned() {
      return timer !== undefined;
    },
    plan(lost) {
      const delayMs = lost ? policy.onDeath(performance.now()).delayMs : delays.next();
      if (lost) restarts += 1;
      log.debug({ delayMs: Math.round(delayMs) }, 'Trying the microphone again');
      timer = setTimeout(() => {
        timer = undefined;
        launch();
      }, delayMs);
    },
    succeeded: () => delays.reset(),
    callOff() {
      clearTimeout(timer);
      timer = undefined;
    },
  };
}
