import fc from 'fast-check';
import t from 'tap';
import { createDoubleRealFft } from '../../src/features/double-fft.js';
import { createRealFft, isFftSize, type RealFft } from '../../src/features/fft.js';
import { createFrontend, type Frontend } from '../../src/features/frontend.js';
import type { FrontendSpec, Layout } from '../../src/features/spec.js';
import { createStreamingLogMel } from '../../src/features/streaming.js';
import { seedOf, unitAt } from '../support/synthetic.js';

const SAMPLE_RATE = 8000;
/** Small front ends: their frames cost little, their edges are those of the large ones. */
const SPECS: Record<FrontendSpec['kind'], FrontendSpec> = {
  panns: { kind: 'panns', n_fft: 256, win_length: 256, hop_length: 80, n_mels: 16, f_min: 50, f_max: 4000 },
  convnext: {
    kind: 'convnext',
    n_fft: 128,
    win_length: 96,
    hop_length: 100,
    n_mels: 8,
    f_min: 0,
    f_max: 3000,
  },
  efficientat: {
    kind: 'efficientat',
    n_fft: 256,
    win_length: 200,
    hop_length: 80,
    n_mels: 16,
    f_min: 0,
    f_max: 3500,
  },
  efficientsed: {
    kind: 'efficientsed',
    n_fft: 256,
    win_length: 200,
    hop_length: 80,
    n_mels: 16,
    f_min: 0,
    f_max: 3500,
  },
  gmp: {
    kind: 'gmp',
    n_fft: 128,
    win_length: 128,
    hop_length: 64,
    n_mels: 8,
    f_min: 50,
    f_max: 3900,
    mean: Array.from({ length: 8 }, (_, mel) => -20 - mel),
    std: Array.from({ length: 8 }, (_, mel) => 10 + mel),
  },
};
const KINDS = Object.keys(SPECS) as FrontendSpec['kind'][];
const LAYOUTS: Layout[] = ['NCTF', 'NCFT'];

const noise = Float32Array.from({ length: 60_000 }, (_, i) => unitAt(seedOf('noise'), i));

function whole(frontend: Frontend, samples: Float32Array, layout: Layout): Float32Array {
  const out = new Float32Array(frontend.frames(samples.length) * frontend.mels);
  frontend.compute(samples, out, layout);
  return out;
}

/** As bits, so that 0 and -0 differ and NaN equals itself. */
function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = (floats: Float32Array): Uint8Array =>
    new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}

t.test('the transforms are a Fourier transform', async (t) => {
  const transforms: [string, RealFft][] = [];
  for (const size of [32, 96, 160, 256, 480, 1024]) {
    transforms.push([`SIMD, ${size}`, await createRealFft(size)]);
    transforms.push([`without SIMD, ${size}`, await createRealFft(size, { simd: false })]);
  }
  for (const size of [8, 16, 256, 1024]) transforms.push([`double, ${size}`, createDoubleRealFft(size)]);
  for (const [name, fft] of transforms) {
    const { size } = fft;
    fft.input.set(noise.subarray(0, size));
    fft.transform();
    const precision = name.startsWith('double') ? 1e-12 : 3e-6;
    let largest = 0;
    for (let bin = 0; bin <= size / 2; bin += 1) {
      let re = 0;
      let im = 0;
      for (let n = 0; n < size; n += 1) {
        re += noise[n]! * Math.cos((2 * Math.PI * ((bin * n) % size)) / size);
        im -= noise[n]! * Math.sin((2 * Math.PI * ((bin * n) % size)) / size);
      }
      const real = fft.output[bin === size / 2 ? 1 : 2 * bin]!;
      const imaginary = bin === 0 || bin === size / 2 ? 0 : fft.output[2 * bin + 1]!;
      largest = Math.max(largest, Math.abs(real - re), Math.abs(imaginary - im));
    }
    t.ok(largest <= precision * Math.sqrt(size), `${name}: largest difference ${largest}`);
    t.ok(
      fft.input.every((value, n) => value === noise[n]),
      `${name}: the input is left as it is`,
    );
  }
  t.equal((await createRealFft(64, { simd: false })).simd, false, 'the build without SIMD is another one');
});

t.test('a stream gives the bits of the whole clip, whatever the hops and windows', async (t) => {
  for (const kind of KINDS) {
    const frontend = await createFrontend(SPECS[kind], SAMPLE_RATE);
    const longest = frontend.minSamples + 12 * frontend.hopLength;
    const windowLength = fc.oneof(
      { weight: 4, arbitrary: fc.constant(longest) },
      fc.integer({ min: frontend.minSamples, max: longest }),
    );
    const step = fc.record({
      // Mostly whole frames, as a scheduler would hop, in one or several pushes.
      pushes: fc.array(
        fc.oneof(
          { weight: 3, arbitrary: fc.integer({ min: 0, max: 5 }).map((n) => n * frontend.hopLength) },
          fc.integer({ min: 0, max: 2 * longest }),
        ),
        { maxLength: 3 },
      ),
      window: windowLength,
      reset: fc.integer({ min: 0, max: 15 }).map((n) => n === 0),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...LAYOUTS),
        fc.array(step, { minLength: 1, maxLength: 15 }),
        (layout, steps) => {
          const stream = createStreamingLogMel(frontend, { maxWindowSamples: longest, layout });
          let position = 0;
          let since = 0;
          let full: Float32Array | undefined;
          for (const { pushes, window, reset } of steps) {
            if (reset) {
              stream.reset();
              since = position;
            }
            for (const length of pushes) {
              stream.push(noise.subarray(position, position + length));
              position = Math.min(noise.length, position + length);
            }
            if (position - since < window) {
              try {
                stream.logMel(window);
              } catch {
                continue;
              }
              throw new Error('a window that was never filled was computed');
            }
            const { data, frames } = stream.logMel(window);
            const clip = noise.subarray(position - window, position);
            if (frames !== frontend.frames(window)) throw new Error('another number of frames');
            if (!sameBits(data, whole(frontend, clip, layout))) throw new Error('other bits');
            if (window === longest) {
              full ??= data;
              if (data !== full) throw new Error('another array for the full window');
            }
          }
        },
      ),
      { numRuns: 60 },
    );
    t.pass(kind);
  }
});

t.test('a hop computes only what is new in the window', async (t) => {
  const frontend = await createFrontend(SPECS.efficientat, SAMPLE_RATE);
  let computed = 0;
  const counting: Frontend = {
    ...frontend,
    computeFrames(samples, begin, length, frames, out, layout) {
      computed += frames.end - frames.first;
      frontend.computeFrames(samples, begin, length, frames, out, layout);
    },
  };
  const window = 100 * frontend.hopLength;
  for (const layout of LAYOUTS) {
    const stream = createStreamingLogMel(counting, { maxWindowSamples: window, layout });
    stream.push(noise.subarray(0, window));
    computed = 0;
    const { frames } = stream.logMel(window);
    t.equal(computed, frames, 'all frames of the first window');
    stream.push(noise.subarray(window, window + 10 * frontend.hopLength));
    computed = 0;
    stream.logMel(window);
    t.equal(computed, 10 + 2 + 1, 'ten new frames, two that reach over the beginning, one over the end');
    computed = 0;
    stream.logMel(window);
    t.equal(computed, 0, 'nothing for the same window');
    stream.reset();
    t.throws(() => stream.logMel(window), { code: 'bad_window', message: /only 0 came in/ });
  }
});

t.test('what comes out is finite, whatever comes in', async (t) => {
  const awkward = fc.oneof(
    fc.constantFrom(0, -0, 1, -1, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38),
    fc.constantFrom(NaN, Infinity, -Infinity),
    fc.float(),
  );
  for (const kind of KINDS) {
    const frontend = await createFrontend(SPECS[kind], SAMPLE_RATE);
    const length = frontend.minSamples + 3 * frontend.hopLength;
    const clips = fc.oneof(
      awkward.map((value) => new Float32Array(length).fill(value)),
      awkward.map((value) => Float32Array.from({ length }, (_, i) => (i % 2 === 0 ? value : -value))),
      fc.array(awkward, { minLength: length, maxLength: length }).map((values) => Float32Array.from(values)),
    );
    fc.assert(
      fc.property(clips, fc.constantFrom(...LAYOUTS), (clip, layout) =>
        whole(frontend, clip, layout).every(Number.isFinite),
      ),
      { numRuns: 40 },
    );
    const silence = whole(frontend, new Float32Array(length), 'NCTF');
    const expected = {
      panns: () => -100,
      convnext: () => -100,
      efficientat: () => (Math.log(1e-5) + 4.5) / 5,
      efficientsed: () => (Math.log(1e-7) + 4.5) / 5,
      gmp: (mel: number) => (-100 - (-20 - mel)) / (10 + mel),
    }[kind];
    t.ok(
      silence.every((value, i) => Math.abs(value - expected(i % frontend.mels)) < 1e-6),
      `${kind}: silence is the floor`,
    );
    const broken = new Float32Array(length).fill(NaN);
    t.ok(sameBits(whole(frontend, broken, 'NCTF'), silence), `${kind}: no number is silence`);
  }
});

t.test('layouts are transposes of each other', async (t) => {
  const frontend = await createFrontend(SPECS.panns, SAMPLE_RATE);
  const clip = noise.subarray(0, 2000);
  const frames = frontend.frames(clip.length);
  const timeFirst = whole(frontend, clip, 'NCTF');
  const melFirst = whole(frontend, clip, 'NCFT');
  t.ok(
    timeFirst.every((value, i) => {
      const [frame, mel] = [Math.floor(i / frontend.mels), i % frontend.mels];
      return value === melFirst[mel * frames + frame];
    }),
  );
});

t.test('a clip has one frame per hop', async (t) => {
  const panns = await createFrontend(SPECS.panns, SAMPLE_RATE);
  t.equal(panns.minSamples, 129);
  t.equal(panns.frames(128), 0);
  t.equal(panns.frames(129), 2);
  t.equal(panns.frames(8000), 101);
  const efficientat = await createFrontend(SPECS.efficientat, SAMPLE_RATE);
  t.equal(efficientat.minSamples, 130, 'pre-emphasis takes a sample');
  t.equal(efficientat.frames(129), 0);
  t.equal(efficientat.frames(8000), 100);
  t.throws(() => panns.compute(new Float32Array(128), new Float32Array(16), 'NCTF'), {
    code: 'clip_too_short',
    message: /128 samples .* takes 129/,
  });
  t.throws(() => panns.compute(new Float32Array(129), new Float32Array(16), 'NCTF'), {
    code: 'bad_buffer',
    message: /16 places instead of 32/,
  });
});

t.test('impossible descriptions say what is wrong', async (t) => {
  const gmpWithoutStatistics: FrontendSpec = { ...SPECS.panns, kind: 'gmp' };
  const cases: [spec: FrontendSpec, message: RegExp][] = [
    [{ ...SPECS.panns, win_length: 512 }, /win_length 512 is longer than n_fft 256/],
    [{ ...SPECS.panns, f_max: 4001 }, /f_max 4001 Hz is above 4000 Hz.*8000 samples a second/],
    [{ ...SPECS.panns, f_min: 4000 }, /f_max 4000 Hz is not above f_min 4000 Hz/],
    [{ ...SPECS.panns, f_min: -1 }, /f_min -1 Hz is below 0/],
    [{ ...SPECS.panns, f_min: NaN }, /f_min NaN/],
    [{ ...SPECS.panns, n_fft: 250, win_length: 250 }, /n_fft 250 is not a multiple of 32/],
    [{ ...SPECS.panns, n_fft: 224, win_length: 224 }, /n_fft 224 .* prime factor/],
    [{ ...SPECS.panns, n_fft: 0 }, /n_fft 0 is not a positive whole number/],
    [{ ...SPECS.panns, hop_length: 0.5 }, /hop_length 0.5/],
    [{ ...SPECS.panns, n_mels: 0 }, /n_mels 0/],
    [{ ...SPECS.panns, win_length: 1 }, /win_length 1 is no window/],
    [{ ...SPECS.gmp, n_fft: 160 }, /n_fft 160 is not a power of two/],
    [{ ...SPECS.gmp, mean: [1, 2] }, /mean needs 8 values, one per mel; it has 2/],
    [gmpWithoutStatistics, /mean needs 16 values, one per mel; it has 0/],
    [{ ...SPECS.panns, std: [1] }, /std belongs to the kind gmp only/],
  ];
  for (const [spec, message] of cases) {
    await t.rejects(createFrontend(spec, SAMPLE_RATE), { code: 'bad_frontend', message });
  }
  await t.rejects(createFrontend(SPECS.panns, 0), { code: 'bad_frontend', message: /sample rate 0/ });
  await t.rejects(createRealFft(100), { code: 'bad_frontend', message: /n_fft 100 has no fast transform/ });
  t.throws(() => createDoubleRealFft(96), { code: 'bad_frontend' });
  t.notOk(isFftSize(0));
  t.notOk(isFftSize(NaN));

  const frontend = await createFrontend(SPECS.panns, SAMPLE_RATE);
  t.throws(() => createStreamingLogMel(frontend, { maxWindowSamples: 100, layout: 'NCTF' }), {
    code: 'bad_window',
    message: /100 samples is too short .* takes 129/,
  });
  const stream = createStreamingLogMel(frontend, { maxWindowSamples: 1000, layout: 'NCTF' });
  stream.push(noise.subarray(0, 500));
  for (const [window, message] of [
    [128, /128 samples is too short/],
    [200.5, /200.5 samples/],
    [1001, /longer than the 1000 that are kept/],
    [501, /only 500 came in/],
  ] as const) {
    t.throws(() => stream.logMel(window), { code: 'bad_window', message });
  }
});
