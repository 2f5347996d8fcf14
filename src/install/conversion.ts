import type { Conversion, ConversionProgress, ConversionRequest } from '../convert/convert.js';

/** Reads a checkpoint, builds the ONNX graph of its architecture and writes it: `convertCheckpoint`, or a stand-in. */
export type ConvertCheckpoint = (
  request: ConversionRequest,
) => Promise<
  Pick<
    Conversion,
    'architecture' | 'family' | 'input' | 'output' | 'parameters' | 'onnxSha256' | 'bytes' | 'selfTest'
  >
>;

/** Where each stage of a conversion begins, and how much of the whole it is: writing waits for the disk. */
const STAGES = { read: [0, 0.4], write: [0.4, 0.5], test: [0.9, 0.1] } as const;

/** How much of a conversion is done, 0 … 1. */
export function conversionShare({ stage, fraction }: ConversionProgress): number {
  const [begin, length] = STAGES[stage];
  return begin + length * Math.min(1, Math.max(0, fraction));
}
