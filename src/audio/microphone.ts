import { setTimeout as delay } from 'node:timers/promises';
import { createBackoff, createRestartPolicy } from '../common/backoff.js';
import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { cancellationText } from './phase-cancellation.js';
import { createChatter } from './capture/chatter.js';
import { launchCapture, type CaptureProcess } from './capture/launch.js';
import type { CaptureMessage } from './capture/messages.js';
import { createSampleReader } from './capture/samples.js';
import type { InputDevice } from './capture/select.js';
import { createLiveness, SILENCE_SECONDS } from './liveness.js';
import type { AudioSink, AudioSource, AudioStatus } from './source.js';

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

/** How long `stop` waits for the capture process to be gone. */
const LET_GO_MS = 900;

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

/** One life of the capture process. */
interface Capture {
  process: CaptureProcess;
  device: InputDevice | undefined;
  /** Chunks of bytes that came. */
  reads: number;
  /** Why it is over; set before the process is gone. */
  failure: { code: string; reason: string; lost: boolean } | undefined;
  watchdog: NodeJS.Timeout;
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
  const retryDelays = createBackoff({ firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs });
  const restarts = createRestartPolicy(
    createBackoff({ firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs }),
    { ...QUICK_RESTARTS, slowMs: timing.maxRetryMs },
  );
  const liveness = createLiveness({ silenceSeconds: timing.silenceSeconds });
  const chatter = createChatter((line) => log.debug({ line }, 'The audio libraries say'));
  const counters = { overruns: 0, restarts: 0 };

  let wanted = options.device;
  let sink: AudioSink | undefined;
  let capture: Capture | undefined;
  let retry: NodeJS.Timeout | undefined;

  const report = (status: AudioStatus | undefined) => {
    if (status === undefined) return;
    if (status.state === 'online') log.info({}, 'The microphone delivers sound');
    else log.warn({ code: status.code }, `No sound from the microphone: ${status.reason}`);
    sink?.status(status);
  };

  let saidCancelling = false;

  /** What is listened to, at info when it is news. */
  let announced = '';
  const announce = (listening: string) => {
    log[listening === announced ? 'debug' : 'info']({}, listening);
    announced = listening;
  };

  /** The capture is over: says why and ends its process. The first reason counts. */
  const giveUp = (over: Capture, code: string, reason: string, lost: boolean) => {
    if (over !== capture || over.failure !== undefined) return;
    over.failure = { code, reason, lost };
    clearTimeout(over.watchdog);
    over.process.pcm.removeAllListeners('data');
    over.process.kill();
    report(liveness.fail(code, reason));
  };

  const launch = () => {
    retry = undefined;
    let process: CaptureProcess;
    try {
      process = launchCapture(
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
          onMessage: (message) => listen(launched, message),
        },
      );
    } catch (error) {
      const why = messageOf(error);
      const reason =
        codeOf(error) === 'no_resources' ? why : `the capture process could not be started: ${why}`;
      report(liveness.fail('capture_died', reason));
      startAgain(true);
      return;
    }
    const launched: Capture = {
      process,
      device: undefined,
      reads: 0,
      failure: undefined,
      watchdog: setTimeout(() => {
        const reason = `the input did not open within ${timing.openMs / 1000} s`;
        giveUp(launched, 'microphone_stalled', reason, true);
      }, timing.openMs),
    };
    capture = launched;
    void process.ended.then((how) => {
      const lastWords = chatter.lastWords();
      const reason = `the capture process ${how}${lastWords === undefined ? '' : ` (${lastWords})`}`;
      giveUp(launched, 'capture_died', reason, true);
      if (launched === capture) startAgain(launched.failure?.lost ?? true);
    });
  };

  /** `lost`: there was, or should have been, an input at work; else it only waits for one to appear. */
  const startAgain = (lost: boolean) => {
    capture = undefined;
    const delayMs = lost ? restarts.onDeath(performance.now()).delayMs : retryDelays.next();
    if (lost) counters.restarts += 1;
    log.debug({ delayMs: Math.round(delayMs) }, 'Trying the microphone again');
    retry = setTimeout(launch, delayMs);
  };

  const listen = (from: Capture, message: CaptureMessage) => {
    if (from !== capture || from.failure !== undefined) return;
    if (message.type === 'failed') giveUp(from, message.code, message.message, false);
    if (message.type === 'overrun') {
      counters.overruns += 1;
      log.debug({}, 'The input had sound that was not taken in time; some of it is lost');
    }
    if (message.type === 'cancelling' && !saidCancelling) {
      saidCancelling = true;
      log.warn(
        { code: 'channels_cancel' },
        cancellationText(`"${from.device?.name ?? '?'}"`, message.lossDb),
      );
    }
    if (message.type === 'opened') {
      from.device = message.device;
      clearTimeout(from.watchdog);
      from.watchdog = setTimeout(() => watch(from), timing.stallMs);
      take(from, message.sampleRate, message.channels);
    }
  };

  /** The watchdog went off. Where this process itself was held up, the data is there and must be read first. */
  const watch = (from: Capture) => {
    const { reads } = from;
    setImmediate(() =>
      setImmediate(() => {
        if (from !== capture || from.failure !== undefined) return;
        if (from.reads !== reads) from.watchdog.refresh();
        else giveUp(from, 'microphone_stalled', stallReason(from), true);
      }),
    );
  };

  const stallReason = ({ device }: Capture) =>
    `"${device?.name ?? '?'}" is open but delivered nothing for ${timing.stallMs / 1000} s: unplugged, or its sound server hangs?`;

  /** Passes the samples on from now. Data that came before this call waits in the pipe. */
  const take = (from: Capture, sampleRate: number, channels: number) => {
    const to = sink;
    const { device } = from;
    if (to === undefined || device === undefined) return;
    const mostSamples = Math.max(1, Math.round((sampleRate * timing.chunkMs) / 1000));
    const read = createSampleReader((samples) => {
      const nowMs = Date.now();
      for (let at = 0; at < samples.length; at += mostSamples) {
        const part = samples.length <= mostSamples ? samples : samples.subarray(at, at + mostSamples);
        report(liveness.chunk(part));
        // A microphone cannot wait, so neither does this.
        void to.chunk(part, nowMs - ((samples.length - at - part.length) * 1000) / sampleRate);
      }
    });
    from.process.pcm.on('data', (bytes: Buffer) => {
      if (from.reads === 0) {
        retryDelays.reset();
        liveness.begin(sampleRate);
        announce(
          `Listening to "${device.name}" (${device.hostApi}), ${sampleRate} Hz, ${channels} channel${channels === 1 ? '' : 's'}`,
        );
        to.begin({ sampleRate, name: device.name });
      }
      from.reads += 1;
      from.watchdog.refresh();
      read(bytes);
    });
  };

  /** Ends the capture, or the wait for the next one. */
  const drop = async () => {
    clearTimeout(retry);
    retry = undefined;
    const dropped = capture;
    capture = undefined;
    if (dropped === undefined) return;
    clearTimeout(dropped.watchdog);
    dropped.process.pcm.removeAllListeners('data');
    dropped.process.kill();
    // A process inside a driver that hangs does not even die; nobody shall wait for it.
    await Promise.race([dropped.process.ended, delay(LET_GO_MS, undefined, { ref: false })]);
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
      saidCancelling = false;
      await drop();
      retryDelays.reset();
      if (sink !== undefined && capture === undefined && retry === undefined) launch();
    },
    current: () => (capture?.failure === undefined ? capture?.device : undefined),
    pids: () => (capture?.process.pid === undefined ? [] : [capture.process.pid]),
    counters: () => ({ ...counters }),
  };
}
