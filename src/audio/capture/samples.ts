import { silenceUnusable } from '../pcm.js';

const BYTES = Float32Array.BYTES_PER_ELEMENT;

/**
 * Turns the bytes of a pipe into float32 samples. A pipe splits where it likes, also inside a sample. Where
 * the bytes lie well they are not copied: what `deliver` gets is then a view of the bytes. What is no usable number
 * (see `silenceUnusable`) is made silence, also in the bytes, and `deliver` is told how many samples that were.
 */
export function createSampleReader(
  deliver: (samples: Float32Array, unusable: number) => void,
): (bytes: Uint8Array) => void {
  const carry = new Uint8Array(BYTES);
  let carried = 0;
  return (bytes) => {
    const count = Math.floor((carried + bytes.length) / BYTES);
    const used = count === 0 ? 0 : count * BYTES - carried;
    let samples: Float32Array | undefined;
    if (count > 0 && carried === 0 && bytes.byteOffset % BYTES === 0) {
      samples = new Float32Array(bytes.buffer, bytes.byteOffset, count);
    } else if (count > 0) {
      samples = new Float32Array(count);
      const target = new Uint8Array(samples.buffer);
      target.set(carry.subarray(0, carried));
      target.set(bytes.subarray(0, used), carried);
      carried = 0;
    }
    carry.set(bytes.subarray(used), carried);
    carried += bytes.length - used;
    if (samples !== undefined) deliver(samples, silenceUnusable(samples));
  };
}
