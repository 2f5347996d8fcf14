/**
 * The periodic Hann window of scipy and librosa (`fftbins=True`), as PANNs use it. Float32Array, [length].
 */
export function periodicHann(length: number): Float32Array {
  return Float32Array.from({ length }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / length));
}

/**
 * The symmetric Hann window of `torch.hann_window(length, periodic=False)`, as EfficientAT and EfficientSED use it, with torch's
 * rounding of every step to float32: within one unit in the last place of torch's. Float32Array, [length].
 */
export function symmetricHann(length: number): Float32Array {
  const f = Math.fround;
  const step = f((2 * Math.PI) / (length - 1));
  return Float32Array.from({ length }, (_, n) => 0.5 - f(0.5 * f(Math.cos(f(n * step)))));
}
