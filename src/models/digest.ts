import { messageOf, SoundpostError } from '../common/errors.js';
import { sha256OfFile } from './files.js';

/**
 * Compares model.onnx with the digest in the manifest: of models with flipped bytes, half load and give other,
 * plausible scores.
 * @returns the SHA-256, lower-case hexadecimal.
 * @throws SoundpostError `model_digest` when it is another, `model_unreadable` when the file cannot be read.
 */
export async function checkDigest(id: string, onnxPath: string, expected: string): Promise<string> {
  let actual: string;
  try {
    actual = await sha256OfFile(onnxPath);
  } catch (error) {
    throw new SoundpostError(
      'model_unreadable',
      `The model ${id} cannot be read: ${messageOf(error)}. Install it again.`,
      { cause: error },
    );
  }
  if (actual === expected) return actual;
  throw new SoundpostError(
    'model_digest',
    `The model ${id} is damaged or not the one its manifest describes: ${onnxPath} has the SHA-256 ${actual}, model.json says ${expected}. Install it again; if the file is meant to be this one, correct "onnx_sha256".`,
  );
}
