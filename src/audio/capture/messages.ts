import { z } from 'zod';
import { errorCodeSchema } from '../../common/child-messages.js';
import type { InputDevice } from './select.js';

const inputDevice: z.ZodType<InputDevice> = z.object({
  index: z.int(),
  name: z.string(),
  hostApi: z.string(),
  channels: z.int(),
  defaultSampleRate: z.number(),
  isDefault: z.boolean(),
});

const captureMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('devices'), devices: z.array(inputDevice) }),
  z.object({
    type: z.literal('opened'),
    device: inputDevice,
    sampleRate: z.number().positive(),
    channels: z.int(),
  }),
  /** The device had sound that nobody took in time: some of it is lost. */
  z.object({ type: z.literal('overrun') }),
  /** The channels cancel each other out in their mean, which is so many dB quieter than they are. */
  z.object({ type: z.literal('cancelling'), lossDb: z.number() }),
  z.object({
    type: z.literal('failed'),
    code: errorCodeSchema,
    message: z.string(),
  }),
]);

/** What the capture process says on its control channel (Node's IPC channel, JSON). */
export type CaptureMessage = z.infer<typeof captureMessage>;

/** The message, or nothing where it is none of ours. */
export function parseCaptureMessage(value: unknown): CaptureMessage | undefined {
  return captureMessage.safeParse(value).data;
}
