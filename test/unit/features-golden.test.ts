import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import { createFrontend, type Frontend } from '../../src/features/frontend.js';
import { kaldiMelBank, slaneyMelBank, type MelBank } from '../../src/features/mel.js';
import type { FrontendSpec } from '../../src/features/spec.js';
import { periodicHann, symmetricHann } from '../../src/features/window.js';
import { goldenFrontends, type GoldenFrontend, type GoldenOutput } from '../support/golden-frontends.js';
import { skipWithoutShared } from '../support/shared.js';
import { syntheticLogMel, syntheticParameters, waveformInt16 } from '../support/synthetic.js';

/**
 * Largest and mean difference to the originals, in the units of each kind. For the kinds in dB the largest one is
 * the originals' own rounding: they compute the spectrum as a float32 convolution, which shows where a band is
 * 70 dB below the loudest one. The mean is what a network sees.
 */
const TOLERANCE: Record<FrontendSpec['kind'], { max: number; mean: number }> = {
  panns: { max: 0.004, mean: 2e-5 },
  convnext: { max: 0.02, mean: 3e-5 },
  gmp: { max: 1e-5, mean: 2e-7 },
  efficientat: { max: 7e-5, mean: 6e-7 },
  efficientsed: { max: 3e-4, mean: 1.5e-6 },
};

t.test('the synthetic numbers are those of the reference', (t) => {
  const digests: [name: 'A' | 'B', sampleRate: number, sha256: string][] = [
    ['A', 32000, '6e11bf623f71971f93255f204aea422bddb910ef4c0432ca99c3760f3c6204f2'],
    ['A', 16000, 'a0776288c9f70d678b2d3c860bf356bb88cd8a692458492ee0d82c4bc8321fd8'],
    ['A', 8000, '89fc7aa24853d9bfe2853877eb3cf95a1d8f4c05335c2da75cc3b43d40207154'],
    ['B', 32000, 'b4244d14feb3092e3d1b37ad7ac9ac1b80052ab2ebe0c34d660340e8ed379d48'],
    ['B', 16000, '96f6f8e6ea370b0060930ff38f12ab7bb900492da8d31ce358ce04ac67508765'],
    ['B', 8000, 'c7f35993bba991572dfb5bfcf9eeaf16d1d524df74345e5fa6778b5f35e52b44'],
  ];
  for (const [name, sampleRate, sha256] of digests) {
    const bytes = new Uint8Array(waveformInt16(name, sampleRate).buffer);
    t.equal(createHash('sha256').update(bytes).digest('hex'), sha256, `waveform ${name} at ${sampleRate} Hz`);
  }
  t.equal(syntheticLogMel(3, 'decibels')[2], Math.fround(-43.6767197));
  t.equal(syntheticLogMel(3, 'normalised')[1], Math.fround(-1.26858461));

  const cnn14 = {
    synthetic: {
      seedSuffix: '',
      gain: 1.5,
      gateGain: 0.5,
      headGain: 0.62,
      bnVar: { 'conv_block3.bn2': 1.1 },
    },
    state_dict: [
      ['logmel_extractor.melW', [513, 64], 'float32'],
      ['bn0.running_mean', [64], 'float32'],
      ['bn0.running_var', [64], 'float32'],
      ['conv_block1.conv1.weight', [64, 1, 3, 3], 'float32'],
      ['conv_block3.bn2.weight', [256], 'float32'],
      ['conv_block3.bn2.running_mean', [256], 'float32'],
      ['conv_block3.bn2.running_var', [256], 'float32'],
      ['conv_block3.bn2.num_batches_tracked', [], 'int64'],
      ['fc1.bias', [2048], 'float32'],
      ['fc_audioset.weight', [527, 2048], 'float32'],
    ] as const,
  };
  const dymn10 = {
    synthetic: { ...cnn14.synthetic, gateGain: 0.1, headGain: 0.39, bnVar: {} },
    state_dict: [
      ['layers.1.depth_conv.weight', [1, 1, 4, 576], 'float32'],
      ['layers.1.depth_norm.weight', [64], 'float32'],
      ['layers.1.context_gen.conv_f.weight', [64, 32, 1, 1], 'float32'],
      ['layers.1.depth_act.coef_net.0.weight', [256, 32], 'float32'],
    ] as const,
  };
  const parameters = new Map(
    [...syntheticParameters(cnn14), ...syntheticParameters(dymn10)].map(({ name, data }) => [name, data]),
  );
  const examples: [name: string, index: number, value: number][] = [
    ['conv_block1.conv1.weight', 0, 0.247137666],
    ['bn0.running_mean', 5, -36.0919113],
    ['bn0.running_var', 63, 302.056854],
    ['conv_block3.bn2.running_mean', 17, -0.0517564528],
    ['conv_block3.bn2.running_var', 17, 1.63502622],
    ['conv_block3.bn2.weight', 17, 0.917467058],
    ['fc1.bias', 2047, -0.00857830048],
    ['fc_audioset.weight', 1000000, 0.0073964214],
    ['layers.1.depth_conv.weight', 100, 0.466406345],
    ['layers.1.context_gen.conv_f.weight', 100, -0.0166359488],
    ['layers.1.depth_act.coef_net.0.weight', 7, -0.0229411107],
  ];
  for (const [name, index, value] of examples) {
    t.equal(parameters.get(name)?.[index], Math.fround(value), `${name}[${index}]`);
  }
  t.notOk(parameters.has('conv_block3.bn2.num_batches_tracked'));
  t.end();
});

t.test('log-mel is that of the originals', async (t) => {
  const skipRecorded = skipWithoutShared();
  for (const golden of goldenFrontends()) {
    await t.test(golden.name, async (t) => {
      checkWindow(t, golden);
      checkBank(t, golden);
      const frontend = await createFrontend(golden.spec, golden.sampleRate);
      for (const output of golden.synthetic) checkOutput(t, golden, frontend, output);
      await t.test('of recordings', { skip: skipRecorded }, (t) => {
        for (const output of golden.recorded) checkOutput(t, golden, frontend, output);
        t.end();
      });
    });
  }
});

/** With the window and the bank of torch and torchaudio, which are computed in float32. */
function isKaldi({ spec: { kind } }: GoldenFrontend): boolean {
  return kind === 'efficientat' || kind === 'efficientsed';
}

function checkWindow(t: Test, golden: GoldenFrontend): void {
  const expected = golden.window();
  if (isKaldi(golden)) {
    const { max } = difference(symmetricHann(expected.length), expected);
    t.ok(max <= 2 ** -24, `window within one unit in the last place: ${max}`);
  } else {
    t.equal(difference(periodicHann(expected.length), expected).count, 0, 'window to the last bit');
  }
}

function checkBank(t: Test, golden: GoldenFrontend): void {
  const { spec, sampleRate } = golden;
  const shape = {
    sampleRate,
    nFft: spec.n_fft,
    mels: spec.n_mels,
    fMin: spec.f_min,
    fMax: spec.f_max,
  };
  const expected = golden.filterBank();
  if (isKaldi(golden)) {
    const bank = dense(kaldiMelBank(shape));
    const { max, count } = difference(bank, expected);
    t.ok(max < 2e-5 && count < 10, `mel bank but for a few roundings: ${count} weights, largest ${max}`);
    const zeros = (weights: Float32Array): number => weights.filter((weight) => weight === 0).length;
    t.equal(zeros(bank), zeros(expected), 'as many weights are zero');
  } else {
    t.equal(difference(dense(slaneyMelBank(shape)), expected).count, 0, 'mel bank to the last bit');
  }
}

function checkOutput(t: Test, golden: GoldenFrontend, frontend: Frontend, output: GoldenOutput): void {
  const samples = output.samples();
  const expected = output.expected();
  t.equal(frontend.frames(samples.length), output.frames, `frames of ${output.input}`);
  const actual = new Float32Array(expected.length);
  t.equal(frontend.compute(samples, actual, output.layout), output.frames);
  const { max, p999, mean } = difference(actual, expected);
  const allowed = TOLERANCE[golden.spec.kind];
  t.ok(max <= Math.min(allowed.max, golden.tolerance.max_abs), `${output.input}: largest difference ${max}`);
  t.ok(p999 <= golden.tolerance.p999, `${output.input}: one in a thousand ${p999}`);
  t.ok(mean <= Math.min(allowed.mean, golden.tolerance.mean_abs), `${output.input}: mean difference ${mean}`);
}

function dense(bank: MelBank): Float32Array {
  const rows = new Float32Array(bank.mels * bank.bins);
  for (let mel = 0; mel < bank.mels; mel += 1) {
    const weights = bank.weights.subarray(bank.offset[mel], bank.offset[mel + 1]);
    rows.set(weights, mel * bank.bins + bank.firstBin[mel]!);
  }
  return rows;
}

function difference(
  actual: Float32Array,
  expected: Float32Array,
): { max: number; p999: number; mean: number; count: number } {
  const errors = Float64Array.from(actual, (value, i) => Math.abs(value - expected[i]!)).sort();
  return {
    max: errors.at(-1)!,
    p999: errors[Math.floor(0.999 * errors.length)]!,
    mean: errors.reduce((sum, error) => sum + error, 0) / errors.length,
    count: errors.filter((error) => error > 0).length,
  };
}
