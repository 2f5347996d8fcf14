/*
 * The spectrogram of a clip, computed in the browser from its sound. It need not be what the network sees to the last
 * bit: it is there to be looked at.
 */

const FFT_SIZE = 1024;
const BANDS = 96;
const LOWEST_HZ = 50;
/** More columns than this nobody sees. */
const MOST_COLUMNS = 1500;
const SHORTEST_HOP = 256;

export interface ClipSpectrogram {
  bands: number;
  columns: number;
  /** dB, column after column, low bands first. */
  values: Float32Array;
}

/** @param samples mono, in [-1, 1] */
export function clipSpectrogram(samples: Float32Array, sampleRateHz: number): ClipSpectrogram {
  const hop = Math.max(SHORTEST_HOP, Math.ceil(samples.length / MOST_COLUMNS));
  const columns = Math.max(1, Math.ceil(samples.length / hop));
  const window = Float64Array.from(
    { length: FFT_SIZE },
    (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / FFT_SIZE),
  );
  const bank = melBank(sampleRateHz);
  const fft = createFft(FFT_SIZE);
  const values = new Float32Array(columns * BANDS);
  const power = new Float64Array(FFT_SIZE / 2);
  for (let column = 0; column < columns; column += 1) {
    // Centred, so that a mark at a time is where the sound is.
    const from = column * hop + (hop >> 1) - FFT_SIZE / 2;
    for (let at = 0; at < FFT_SIZE; at += 1) {
      fft.real[at] = (samples[from + at] ?? 0) * window[at]!;
      fft.imaginary[at] = 0;
    }
    fft.run();
    for (let bin = 0; bin < power.length; bin += 1) {
      power[bin] = fft.real[bin]! ** 2 + fft.imaginary[bin]! ** 2;
    }
    for (let band = 0; band < BANDS; band += 1) {
      const { first, weights } = bank[band]!;
      let energy = 1e-10;
      for (let at = 0; at < weights.length; at += 1) energy += weights[at]! * (power[first + at] ?? 0);
      values[column * BANDS + band] = 10 * Math.log10(energy);
    }
  }
  return { bands: BANDS, columns, values };
}

interface Triangle {
  first: number;
  weights: Float64Array;
}

function melBank(sampleRateHz: number): Triangle[] {
  const mel = (hz: number): number => 2595 * Math.log10(1 + hz / 700);
  const hz = (value: number): number => 700 * (10 ** (value / 2595) - 1);
  const [low, high] = [mel(LOWEST_HZ), mel(sampleRateHz / 2)];
  const edges = Array.from({ length: BANDS + 2 }, (_, at) => hz(low + ((high - low) * at) / (BANDS + 1)));
  return Array.from({ length: BANDS }, (_, band) => {
    const [from = 0, middle = 0, to = 0] = edges
      .slice(band, band + 3)
      .map((edge) => (edge * FFT_SIZE) / sampleRateHz);
    const first = Math.max(0, Math.floor(from));
    const weights = Float64Array.from({ length: Math.max(1, Math.ceil(to) - first + 1) }, (_, at) => {
      const bin = first + at;
      return Math.max(0, Math.min((bin - from) / (middle - from), (to - bin) / (to - middle)));
    });
    const sum = weights.reduce((total, weight) => total + weight, 0);
    // The low bands are narrower than a bin, and would be silent.
    if (sum === 0) return { first: Math.round(middle), weights: Float64Array.of(1) };
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Radix 2, in place. */
function createFft(size: number): { real: Float64Array; imaginary: Float64Array; run(): void } {
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  const bits = Math.log2(size);
  const reversed = Uint16Array.from({ length: size }, (_, at) => {
    let value = 0;
    for (let bit = 0; bit < bits; bit += 1) value |= ((at >> bit) & 1) << (bits - 1 - bit);
    return value;
  });
  const cosine = Float64Array.from({ length: size / 2 }, (_, at) => Math.cos((2 * Math.PI * at) / size));
  const sine = Float64Array.from({ length: size / 2 }, (_, at) => -Math.sin((2 * Math.PI * at) / size));
  const swap = (list: Float64Array, a: number, b: number): void => {
    const kept = list[a]!;
    list[a] = list[b]!;
    list[b] = kept;
  };
  return {
    real,
    imaginary,
    run() {
      for (let at = 0; at < size; at += 1) {
        const other = reversed[at]!;
        if (other <= at) continue;
        swap(real, at, other);
        swap(imaginary, at, other);
      }
      for (let half = 1; half < size; half *= 2) {
        const stride = size / (2 * half);
        for (let start = 0; start < size; start += 2 * half) {
          for (let at = 0; at < half; at += 1) {
            const a = start + at;
            const b = a + half;
            const c = cosine[at * stride]!;
            const s = sine[at * stride]!;
            const re = real[b]! * c - imaginary[b]! * s;
            const im = real[b]! * s + imaginary[b]! * c;
            real[b] = real[a]! - re;
            imaginary[b] = imaginary[a]! - im;
            real[a] = real[a]! + re;
            imaginary[a] = imaginary[a]! + im;
          }
        }
      }
    },
  };
}
