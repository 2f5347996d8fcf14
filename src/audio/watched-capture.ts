import { setTimeout as delay } from 'node:timers/promises';
import type { Chatter } from './capture/chatter.js';
import { launchCapture } from './capture/launch.js';
import type { CaptureMessage } from './capture/messages.js';
import type { CaptureRequest } from './capture/protocol.js';
import { createSampleReader } from './capture/samples.js';
import type { InputDevice } from './capture/select.js';
import { createPace } from './pace.js';

/** One life of the capture process, watched: it opens an input and delivers, or it is ended. */
export interface WatchedCapture {
  readonly pid: number | undefined;
  /** The input that is open; undefined before it is, and once this life is over. */
  readonly device: InputDevice | undefined;
  /** Ends it without a word. Resolves when it is gone, or when it takes too long to die. */
  drop(): Promise<void>;
}

export interface CaptureEvents {
  /** The first bytes have come from an input that is open. */
  onFirst(device: InputDevice, sampleRate: number, channels: number): void;
  /** Mono samples; only valid until the call returns. */
  onSamples(samples: Float32Array, sampleRate: number): void;
  onOverrun(): void;
  /** The input gives what are no usable numbers; it is made silence. Called once. */
  onUnusable(device: InputDevice): void;
  /** The input is faster than any real one, and is held back. Called once. */
  onTooFast(device: InputDevice): void;
  /** The channels cancel each other out in their mean, which is so many dB quieter than they are. */
  onCancelling(device: InputDevice | undefined, lossDb: number): void;
  /** This life is over; the process is being ended. Called once, the first reason counts. */
  onFailed(code: string, reason: string): void;
  /** After `onFailed`, when the process is gone. `lost`: there was, or should have been, an input at work. */
  onGone(lost: boolean): void;
}

/**
 * A driver's clock may be wrong by much, and sound that is then held back is lost in it; this is about inputs that are
 * read from a file, or from nothing, as fast as they are read.
 */
const PACE = { burstSeconds: 5, speed: 1.5 };

/** How long `drop` waits for the capture process to be gone. */
const LET_GO_MS = 900;

/**
 * Starts a capture process; throws what `launchCapture` throws. Codes of `onFailed`: `microphone_stalled`,
 * `capture_died`, and those that the process itself finds.
 */
export function startCapture(
  request: CaptureRequest,
  options: {
    workFolder: string;
    env: NodeJS.ProcessEnv | undefined;
    chatter: Chatter;
    /** How long finding and opening the input may take, and an open one deliver nothing. */
    openMs: number;
    stallMs: number;
    events: CaptureEvents;
  },
): WatchedCapture {
  const { chatter, openMs, stallMs, events } = options;
  let device: InputDevice | undefined;
  /** Chunks of bytes that came. */
  let reads = 0;
  let isDropped = false;
  /** Why it is over, as far as what is to be done next goes; set before the process is gone. */
  let failure: { lost: boolean } | undefined;
  const isOver = () => isDropped || failure !== undefined;
  let held: NodeJS.Timeout | undefined;
  const { workFolder, env } = options;
  const process = launchCapture(request, { workFolder, env, chatter, onMessage: listen });
  let watchdog = setTimeout(() => {
    fail('microphone_stalled', `the input did not open within ${openMs / 1000} s`, true);
  }, openMs);
  void process.ended.then((how) => {
    const lastWords = chatter.lastWords();
    const reason = `the capture process ${how}${lastWords === undefined ? '' : ` (${lastWords})`}`;
    fail('capture_died', reason, true);
    if (!isDropped) events.onGone(failure?.lost ?? true);
  });

  function end(): void {
    clearTimeout(watchdog);
    clearTimeout(held);
    process.pcm.removeAllListeners('data');
    process.kill();
  }

  /** Says why it is over and ends the process. */
  function fail(code: string, reason: string, lost: boolean): void {
    if (isOver()) return;
    failure = { lost };
    end();
    events.onFailed(code, reason);
  }

  function listen(message: CaptureMessage): void {
    if (isOver()) return;
    if (message.type === 'failed') fail(message.code, message.message, false);
    if (message.type === 'overrun') events.onOverrun();
    if (message.type === 'cancelling') events.onCancelling(device, message.lossDb);
    if (message.type === 'opened') {
      device = message.device;
      clearTimeout(watchdog);
      watchdog = setTimeout(look, stallMs);
      take(message.device, message.sampleRate, message.channels);
    }
  }

  /** The watchdog went off. Where this process itself was held up, the data is there and must be read first. */
  function look(): void {
    const before = reads;
    const judge = () => {
      if (isOver()) return;
      if (reads !== before) watchdog.refresh();
      else {
        const reason = `"${device?.name ?? '?'}" is open but delivered nothing for ${stallMs / 1000} s: unplugged, or its sound server hangs?`;
        fail('microphone_stalled', reason, true);
      }
    };
    setImmediate(() => setImmediate(judge));
  }

  /** Reads nothing for so long: the pipe fills, and the capture process waits. */
  function hold(ms: number): void {
    process.pcm.pause();
    held = setTimeout(() => {
      watchdog.refresh();
      process.pcm.resume();
    }, ms);
  }

  /** Passes the samples on from now. Data that came before this call waits in the pipe. */
  function take(from: InputDevice, sampleRate: number, channels: number): void {
    const pace = createPace({ ...PACE, onTooFast: () => events.onTooFast(from) });
    let saidUnusable = false;
    const read = createSampleReader((samples, unusable) => {
      if (unusable > 0 && !saidUnusable) {
        saidUnusable = true;
        events.onUnusable(from);
      }
      events.onSamples(samples, sampleRate);
      const waitMs = pace.take(samples.length / sampleRate);
      if (waitMs > 0) hold(waitMs);
    });
    process.pcm.on('data', (bytes: Buffer) => {
      if (reads === 0) events.onFirst(from, sampleRate, channels);
      reads += 1;
      watchdog.refresh();
      read(bytes);
    });
  }

  return {
    pid: process.pid,
    get device() {
      return isOver() ? undefined : device;
    },
    async drop() {
      isDropped = true;
      end();
      // A process inside a driver that hangs does not even die; nobody shall wait for it.
      await Promise.race([process.ended, delay(LET_GO_MS, undefined, { ref: false })]);
    },
  };
}
