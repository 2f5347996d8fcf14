/**
 * A bank of triangular mel filters, kept as the runs of bins where each one is not zero: of the 128 × 513 weights
 * of a usual bank about 950 count.
 */
export interface MelBank {
  readonly mels: number;
  readonly bins: number;
  /** Int32Array, [mels]: the first bin with a weight. */
  readonly firstBin: Int32Array;
  /** Int32Array, [mels + 1]: band m has weights[offset[m]] … weights[offset[m + 1] - 1]; it may have none. */
  readonly offset: Int32Array;
  /** Float32Array, the rounding of the original; all bands one after the other. */
  readonly weights: Float32Array;
}

export interface MelBankShape {
  sampleRate: number;
  nFft: number;
  mels: number;
  /** Hz */
  fMin: number;
  /** Hz */
  fMax: number;
}

/**
 * The bank of `librosa.filters.mel` with its defaults (Slaney's mel scale, triangles linear in Hz, each scaled to
 * the same area), as torchlibrosa uses it for PANNs. The steps and their roundings to float32 are librosa's
 * (0.8 to 0.11), so the weights come out the same to the last bit or the one before.
 */
export function slaneyMelBank({ sampleRate, nFft, mels, fMin, fMax }: MelBankShape): MelBank {
  const low = slaneyMelOfHertz(fMin);
  const step = (slaneyMelOfHertz(fMax) - low) / (mels + 1);
  const edges = Float64Array.from({ length: mels + 2 }, (_, i) => slaneyHertzOfMel(low + i * step));
  return sparseBank(mels, nFft / 2 + 1, (mel, bin) => {
    const [left, centre, right] = [edges[mel]!, edges[mel + 1]!, edges[mel + 2]!];
    const frequency = (bin * sampleRate) / nFft;
    const rising = (frequency - left) / (centre - left);
    const falling = (right - frequency) / (right - centre);
    const triangle = Math.fround(Math.max(0, Math.min(rising, falling)));
    return Math.fround(triangle * (2 / (right - left)));
  });
}

// Slaney's scale: linear up to 1000 Hz (200/3 Hz a mel), from there 27 mels for each factor of 6.4.
const SLANEY_HERTZ_PER_MEL = 200 / 3;
const SLANEY_KNEE_HERTZ = 1000;
const SLANEY_KNEE_MEL = SLANEY_KNEE_HERTZ / SLANEY_HERTZ_PER_MEL;
const SLANEY_LOG_STEP = Math.log(6.4) / 27;

function slaneyMelOfHertz(hertz: number): number {
  return hertz < SLANEY_KNEE_HERTZ
    ? hertz / SLANEY_HERTZ_PER_MEL
    : SLANEY_KNEE_MEL + Math.log(hertz / SLANEY_KNEE_HERTZ) / SLANEY_LOG_STEP;
}

function slaneyHertzOfMel(mel: number): number {
  return mel < SLANEY_KNEE_MEL
    ? mel * SLANEY_HERTZ_PER_MEL
    : SLANEY_KNEE_HERTZ * Math.exp(SLANEY_LOG_STEP * (mel - SLANEY_KNEE_MEL));
}

/**
 * The bank of `torchaudio.compliance.kaldi.get_mel_banks` without warping (HTK's mel scale, triangles linear in
 * mel, height 1, no weight at the Nyquist bin), as EfficientAT and EfficientSED use it. torchaudio computes it in float32, and the
 * networks were trained with what came out, so every step is rounded as there: in float64 the weights would differ
 * by up to 1e-5, the scores by up to 3e-5.
 */
export function kaldiMelBank({ sampleRate, nFft, mels, fMin, fMax }: MelBankShape): MelBank {
  const f = Math.fround;
  const melOfHertz = (hertz: number): number => 1127 * Math.log(1 + hertz / 700);
  const low = melOfHertz(fMin);
  const step = (melOfHertz(fMax) - low) / (mels + 1);
  const edge = (i: number): number => f(f(low) + f(i * f(step)));
  const melOfBin = Float32Array.from({ length: nFft / 2 }, (_, bin) => {
    const hertz = f(f(sampleRate / nFft) * bin);
    return f(1127 * f(Math.log(f(1 + f(hertz / 700)))));
  });
  return sparseBank(mels, nFft / 2 + 1, (mel, bin) => {
    if (bin === nFft / 2) return 0;
    const [left, centre, right] = [edge(mel), edge(mel + 1), edge(mel + 2)];
    const rising = f(f(melOfBin[bin]! - left) / f(centre - left));
    const falling = f(f(right - melOfBin[bin]!) / f(right - centre));
    return Math.max(0, Math.min(rising, falling));
  });
}

/** `weight` gives one run of bins that is not zero per band, and the runs of later bands begin later. */
function sparseBank(mels: number, bins: number, weight: (mel: number, bin: number) => number): MelBank {
  const firstBin = new Int32Array(mels);
  const offset = new Int32Array(mels + 1);
  const weights: number[] = [];
  let searchFrom = 0;
  for (let mel = 0; mel < mels; mel += 1) {
    let bin = searchFrom;
    while (bin < bins && weight(mel, bin) === 0) bin += 1;
    if (bin < bins) {
      firstBin[mel] = bin;
      searchFrom = bin;
      for (let value = weight(mel, bin); value > 0; value = bin < bins ? weight(mel, bin) : 0) {
        weights.push(value);
        bin += 1;
      }
    }
    offset[mel + 1] = weights.length;
  }
  return { mels, bins, firstBin, offset, weights: Float32Array.from(weights) };
}
