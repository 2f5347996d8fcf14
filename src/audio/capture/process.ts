/**
 * The capture process: holds PortAudio (through naudiodon) and hands the sound of one input to its parent.
 * It is a process of its own because a lost device can hang or crash it; the parent watches the flow of
 * data and ends it with SIGKILL. See protocol.ts for what it is asked and what it says.
 */
import { Socket } from 'node:net';
import { codeOf, messageOf, SoundpostError } from '../../common/errors.js';
import { leaveSignalsToParent } from '../../common/signals.js';
import { createPhaseCancellation, type PhaseCancellation } from '../phase-cancellation.js';
import type { CaptureMessage } from './messages.js';
import { enumerateInputs, loadNaudiodon, type Naudiodon, type NaudiodonStream } from './naudiodon.js';
import { PCM_FD, type CaptureRequest } from './protocol.js';
import { channelsToOpen, findDevice, mixToMono, type InputDevice } from './select.js';

/** Buffers that wait for a late reader: about two seconds before the device overruns. */
const QUEUED_CHUNKS = 20;

type Wanted = Extract<CaptureRequest, { command: 'capture' }>;

/** The only sure way out: a regular exit waits for the device, and a stalled one never answers. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

function tell(message: CaptureMessage, then: () => void = () => undefined): void {
  if (process.send === undefined) die();
  else process.send(message, then);
}

/** Opens the input and starts it. Throws SoundpostError where PortAudio refuses. */
function open(
  naudiodon: Naudiodon,
  device: InputDevice,
  wanted: Wanted,
): { stream: NaudiodonStream; sampleRate: number; channels: number } {
  const channels = channelsToOpen(device, wanted.channel);
  const sampleRate = wanted.sampleRate ?? device.defaultSampleRate;
  const frames = Math.max(1, Math.round((sampleRate * wanted.chunkMs) / 1000));
  try {
    const stream = naudiodon.AudioIO({
      inOptions: {
        deviceId: device.index,
        sampleRate,
        channelCount: channels,
        sampleFormat: naudiodon.SampleFormatFloat32,
        framesPerBuffer: frames,
        maxQueue: QUEUED_CHUNKS,
        highwaterMark: frames * channels * Float32Array.BYTES_PER_ELEMENT,
        // False would hide overruns in lines on a buffered stdout.
        closeOnError: true,
      },
    });
    surviveOverruns(stream);
    stream.start();
    return { stream, sampleRate, channels };
  } catch (cause) {
    throw new SoundpostError(
      'device_refused',
      `audio input "${device.name}" cannot be opened with ${channels} channel${channels === 1 ? '' : 's'} at ${sampleRate} Hz: ${messageOf(cause)} (its own rate is ${device.defaultSampleRate} Hz; is another program using it?)`,
      { cause },
    );
  }
}

/**
 * naudiodon reports what PortAudio flags (an overrun, mostly) by destroying its JavaScript stream, while the
 * device goes on. Here that is counted, and reading goes on as well: one chunk is lost, not the microphone.
 */
function surviveOverruns(stream: NaudiodonStream): void {
  stream.destroy = (error?: unknown) => {
    if (error === undefined) die();
    tell({ type: 'overrun' });
    setImmediate(() => {
      stream._read(stream.readableHighWaterMark);
    });
    return stream;
  };
}

function capture(naudiodon: Naudiodon, wanted: Wanted): void {
  const device = findDevice(enumerateInputs(naudiodon), wanted.device);
  const { stream, sampleRate, channels } = open(naudiodon, device, wanted);
  const pcm = new Socket({ fd: PCM_FD, readable: false, writable: true });
  pcm.on('error', die);
  const cancellation = createPhaseCancellation(channels, sampleRate);
  let told = false;
  stream.on('data', (bytes: Buffer) => {
    const mono = toMono(bytes, channels, wanted.channel, cancellation);
    const lossDb = told ? null : cancellation.lossDb();
    if (lossDb !== null) {
      told = true;
      tell({ type: 'cancelling', lossDb });
    }
    // A parent that does not read holds the stream back; the device then overruns, which is counted.
    if (!pcm.write(mono)) {
      stream.pause();
      pcm.once('drain', () => stream.resume());
    }
  });
  stream.on('end', die);
  tell({ type: 'opened', device, sampleRate, channels });
}

function toMono(
  bytes: Buffer,
  channels: number,
  channel: number | undefined,
  cancellation: PhaseCancellation,
): Uint8Array {
  if (channels === 1) return bytes;
  const samples =
    bytes.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0
      ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / Float32Array.BYTES_PER_ELEMENT)
      : new Float32Array(Uint8Array.from(bytes).buffer);
  const mono = new Float32Array(samples.length / channels);
  mixToMono(samples, channels, channel, mono, cancellation);
  return new Uint8Array(mono.buffer);
}

function main(request: CaptureRequest): void {
  const naudiodon = loadNaudiodon();
  if (request.command === 'list') tell({ type: 'devices', devices: enumerateInputs(naudiodon) }, die);
  else capture(naudiodon, request);
}

process.on('disconnect', die);
leaveSignalsToParent();
try {
  main(JSON.parse(process.argv[2] ?? '') as CaptureRequest);
} catch (error) {
  tell({ type: 'failed', code: codeOf(error), message: messageOf(error) }, die);
}
