/** What the capture process is asked to do; its only argument, as JSON. */
export type CaptureRequest =
  | { command: 'list' }
  | {
      command: 'capture';
      device?: string | number;
      /** The one channel to take (1 is the first); the mean of all channels where it is left out. */
      channel?: number;
      /** Hz; the device's own where it is left out. */
      sampleRate?: number;
      /** How much sound is handed over at a time. */
      chunkMs: number;
    };

/** Where the capture process writes: raw mono float32 in the byte order of the machine. */
export const PCM_FD = 3;
