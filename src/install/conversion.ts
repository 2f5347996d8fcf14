import type { Conversion, ConversionProgress, ConversionRequest } from '../convert/convert.js';
import type { SelfTest } from '../convert/self-test.js';
import type { Manifest } from '../models/manifest.js';
import type { InstallOptions } from './progress.js';

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

/** What a conversion adds to the manifest. */
export type Made = Pick<
  Manifest,
  'architecture' | 'family' | 'input' | 'output' | 'parameters' | 'onnx_sha256'
>;

/** Converts a checkpoint into a folder; what it throws is what `convert` throws. */
export async function convertInto(
  convert: ConvertCheckpoint,
  folder: string,
  wanted: Pick<ConversionRequest, 'checkpointPath' | 'architecture' | 'labels' | 'stateDict'>,
  { onProgress, signal }: InstallOptions,
): Promise<{ made: Made; selfTest: SelfTest }> {
  onProgress?.({ step: 'converting', share: 0 });
  const conversion = await convert({
    ...wanted,
    outFolder: folder,
    onProgress: (progress) => onProgress?.({ step: 'converting', share: conversionShare(progress) }),
    ...(signal === undefined ? {} : { signal }),
  });
  const { architecture, family, input, output, parameters, onnxSha256, selfTest } = conversion;
  return { selfTest, made: { architecture, family, input, output, parameters, onnx_sha256: onnxSha256 } };
}
