/**
 * The deterministic numbers that the reference outputs in test/golden were made with: a counter-based random
 * stream, parameters of networks, waveforms and log-mels. Every value is exact to the last bit of its float32, so
 * that the original Python code and these tests see the same input.
 */

/** FNV-1a, 32 bit, over the UTF-8 bytes of `key`. */
export function seedOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(key, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** The `index`-th number of mulberry32 started at `seed`, [0, 2^32). */
export function randomAt(seed: number, index: number): number {
  const a = (seed + Math.imul(index + 1, 0x6d2b79f5)) | 0;
  let t = Math.imul(a ^ (a >>> 15), a | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return (t ^ (t >>> 14)) >>> 0;
}

/** The `index`-th number of the stream `seed` in [-1, 1], exact in float32. */
export function unitAt(seed: number, index: number): number {
  return (randomAt(seed, index) >>> 8) / 8388608 - 1;
}

export type WaveformName = 'A' | 'B';

/**
 * Waveform A (2 s: tones, a sweep, gated and modulated noise) or B (2.3 s and 7 samples: tones, bursts, 0.2 s of
 * digital silence). Int16Array.
 */
export function waveformInt16(name: WaveformName, sampleRate: number): Int16Array {
  const seed = seedOf(`waveform${name}`);
  const length = name === 'A' ? 2 * sampleRate : Math.floor((23 * sampleRate) / 10) + 7;
  const valueAt = name === 'A' ? waveformA : waveformB;
  return Int16Array.from({ length }, (_, n) => {
    const value = valueAt(n, n / sampleRate, unitAt(seed, n));
    return Math.min(32767, Math.max(-32768, Math.floor(value * 32767 + 0.5)));
  });
}

/** The same as Float32Array, in [-1, 1). */
export function waveform(name: WaveformName, sampleRate: number): Float32Array {
  return Float32Array.from(waveformInt16(name, sampleRate), (value) => value / 32768);
}

const tone = (hertz: number, t: number): number => Math.sin(2 * Math.PI * (hertz * t));

function waveformA(_n: number, t: number, noise: number): number {
  const gate = Math.floor(8 * t) % 2 === 0 ? 1 : 0;
  return (
    0.3 * tone(440, t) +
    0.2 * Math.sin(2 * Math.PI * (1000 * t + 500 * (t * t))) +
    0.1 * gate * tone(3170, t) +
    0.15 * noise * (0.5 + 0.5 * tone(2, t))
  );
}

function waveformB(n: number, t: number, noise: number): number {
  if (t >= 1 && t < 1.2) return 0;
  const burst = n % 4001 < 150 ? 1 : 0;
  return (
    0.25 * tone(220, t) * (0.6 + 0.4 * tone(5, t)) + 0.15 * tone(1760, t) + 0.05 * noise + 0.6 * noise * burst
  );
}

/** A log-mel for tests of a network alone, flat: `decibels` for those that take dB, `normalised` for the others. */
export function syntheticLogMel(elements: number, scale: 'decibels' | 'normalised'): Float32Array {
  const seed = seedOf('logmel');
  const [offset, spread] = scale === 'decibels' ? [-30, 25] : [-0.2, 1.2];
  return Float32Array.from({ length: elements }, (_, i) => offset + spread * unitAt(seed, i));
}

/** What a golden file of an architecture says about its parameters. */
export interface SyntheticArchitecture {
  synthetic: {
    seedSuffix: string;
    gain: number;
    gateGain: number;
    headGain: number;
    /** Of networks over time. */
    seqGain?: number;
    /** Variance by the path of a batch norm; 1 where there is none. */
    bnVar: Record<string, number>;
  };
  /** Tensors that are the same in every checkpoint, by name. */
  constants?: Record<string, readonly number[]>;
  state_dict: readonly (readonly [name: string, shape: readonly number[], dtype: string])[];
}

export interface SyntheticParameter {
  name: string;
  shape: readonly number[];
  /** Flat, row-major, of the parameter's elements. */
  data: Float32Array;
}

/**
 * The parameters of a network in the order of its state dict, without those that are not synthetic: tables of the
 * front end and int64 counters. One at a time, since the largest networks have hundreds of megabytes.
 */
export function* syntheticParameters(architecture: SyntheticArchitecture): Generator<SyntheticParameter> {
  const shapes = new Map(architecture.state_dict.map(([name, shape]) => [name, shape]));
  for (const [name, shape] of shapes) {
    const isCounter = name.endsWith('num_batches_tracked');
    if (isCounter || /^(spectrogram|logmel)_extractor\./.test(name)) continue;
    yield { name, shape, data: parameterData(architecture, shapes, name, shape) };
  }
}

function parameterData(
  architecture: SyntheticArchitecture,
  shapes: ReadonlyMap<string, readonly number[]>,
  name: string,
  shape: readonly number[],
): Float32Array {
  const leaf = name.slice(name.lastIndexOf('.') + 1);
  // The buffers of dynamic ReLU have fixed values.
  if (leaf === 'lambdas') return Float32Array.of(1, 1, 0.5, 0.5);
  if (leaf === 'init_v') return Float32Array.of(1, 0, 0, 0);
  const constant = architecture.constants?.[name];
  if (constant !== undefined) return Float32Array.from(constant);
  const { offset, scale, absolute } = distribution(architecture, shapes, name, shape);
  const seed = seedOf(name + architecture.synthetic.seedSuffix);
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  for (let i = 0; i < data.length; i += 1) {
    const unit = unitAt(seed, i);
    data[i] = offset + scale * (absolute ? Math.abs(unit) : unit);
  }
  return data;
}

interface Distribution {
  offset: number;
  scale: number;
  absolute?: true;
}

function distribution(
  { synthetic }: SyntheticArchitecture,
  shapes: ReadonlyMap<string, readonly number[]>,
  name: string,
  shape: readonly number[],
): Distribution {
  const dot = name.lastIndexOf('.');
  const leaf = name.slice(dot + 1);
  const variance = synthetic.bnVar[name.slice(0, Math.max(0, dot))] ?? 1;
  const takesDecibels = shapes.has('logmel_extractor.melW');
  if (takesDecibels && name === 'bn0.running_mean') return { offset: -30, scale: 10 };
  if (takesDecibels && name === 'bn0.running_var') return { offset: 225, scale: 112.5, absolute: true };
  if (leaf === 'running_mean') return { offset: 0, scale: 0.1 * Math.sqrt(variance) };
  if (leaf === 'running_var') return { offset: variance, scale: 0.5 * variance, absolute: true };
  if (/^bias(_|$)/.test(leaf)) return { offset: 0, scale: 0.1 };
  if (leaf === 'gamma') return { offset: 0.5, scale: 0.25 };
  if (leaf === 'head_weight') return { offset: 0.25, scale: 0.1 };
  if (leaf === 'weight' && shape.length === 1) return { offset: 1, scale: 0.1 };
  if (/^weight(_|$)/.test(leaf)) {
    return { offset: 0, scale: weightGain(synthetic, name) * Math.sqrt(3 / fanIn(shapes, name, shape)) };
  }
  throw new Error(`no rule for the synthetic parameter ${name}`);
}

const HEADS = new Set([
  'fc_audioset.weight',
  'head_audioset.weight',
  'att_block.cla.weight',
  'classifier.5.weight',
  'classifier.0.weight',
  'classifier.subspace_proj.weight',
  'strong_head.weight',
  'weak_head.weight',
]);
const GATES = [
  '.residuals.',
  '.coef_net.',
  '.context_gen.conv_f.',
  '.context_gen.conv_t.',
  '.conc_se_layers.',
];

function weightGain(synthetic: SyntheticArchitecture['synthetic'], name: string): number {
  if (HEADS.has(name)) return synthetic.headGain;
  if (GATES.some((gate) => name.includes(gate))) return synthetic.gateGain;
  return name.startsWith('seq_model.') ? (synthetic.seqGain ?? synthetic.gain) : synthetic.gain;
}

function fanIn(
  shapes: ReadonlyMap<string, readonly number[]>,
  name: string,
  shape: readonly number[],
): number {
  const dynamic = name.endsWith('_conv.weight') && shape.length === 4 && shape[0] === 1 && shape[1] === 1;
  if (dynamic) {
    const normName = name.replace(/_conv\.weight$/, '_norm.weight');
    const channels = shapes.get(normName)?.[0];
    if (channels === undefined) throw new Error(`${name} has no ${normName} beside it`);
    return shape[3]! / channels;
  }
  return shape.slice(1).reduce((product, size) => product * size, 1);
}
