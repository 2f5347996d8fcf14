import { z } from 'zod';
import { failedSchema } from '../common/child-messages.js';

/** What the child that writes a clip is told. */
export interface ClipJob {
  /** Mono, at the capture rate. */
  samples: Int16Array;
  captureRateHz: number;
  /** That of the file. */
  sampleRateHz: number;
  /** Folder of the day; made where it is missing. */
  folder: string;
  /** Name of the files, without what follows the dot. */
  id: string;
  /** The JSON beside the sound. */
  note: string;
}

/** What it says. */
export const clipJobReply = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('written'), bytes: z.number().int().positive() }),
  failedSchema,
]);
export type ClipJobReply = z.infer<typeof clipJobReply>;
