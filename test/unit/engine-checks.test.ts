import fc from 'fast-check';
import t from 'tap';
import { explainMissingRuntime } from '../../src/inference/runtime.js';
import { finishFrames, finishScores } from '../../src/inference/scores.js';
import { createSampleWindow } from '../../src/inference/window.js';

t.test('scores are finished and checked', (t) => {
  const scores = Float32Array.of(0, 0.5, 1);
  t.equal(finishScores(scores, 'none', 3), undefined);
  t.strictSame([...scores], [0, 0.5, 1]);
  const rounded = Float32Array.of(1 + 1e-6);
  t.equal(finishScores(rounded, 'none', 1), undefined);
  t.equal(rounded[0], 1, 'a rounding above 1 is 1');
  const logits = Float32Array.of(0, -200, 200);
  t.equal(finishScores(logits, 'sigmoid', 3), undefined);
  t.strictSame([...logits], [0.5, 0, 1]);
  const classes = Float32Array.of(1000, 1000 - Math.log(3), -1000);
  t.equal(finishScores(classes, 'softmax', 3), undefined);
  t.same(
    [...classes].map((score) => Math.round(1e4 * score) / 1e4),
    [0.75, 0.25, 0],
    'without an overflow',
  );
  const frames = Float32Array.of(0, 0, Math.log(3), 0);
  t.equal(finishFrames(frames, 'softmax', 2), undefined);
  t.same(
    [...frames].map((score) => Math.round(1e4 * score) / 1e4),
    [0.5, 0.5, 0.75, 0.25],
    'over the labels of each frame',
  );
  t.match(finishFrames(Float32Array.of(0, 0, 0, NaN), 'softmax', 2), /label 0 in a frame is NaN/);
  t.match(finishScores(Float32Array.of(0.5), 'none', 2), /1 scores, but the model has 2 labels/);
  t.match(finishScores(Float32Array.of(0, 1.5), 'none', 2), /label 1 is 1\.5.*"activation": "sigmoid"/);
  t.match(finishScores(Float32Array.of(-0.1), 'none', 1), /not from 0 to 1/);
  t.match(finishScores(Float32Array.of(NaN), 'sigmoid', 1), /label 0 is NaN/);
  t.notMatch(finishScores(Float32Array.of(NaN), 'none', 1), /sigmoid/, 'a sigmoid would not help there');
  t.end();
});

t.test('what passes is a number from 0 to 1, whatever the network gave', (t) => {
  fc.assert(
    fc.property(
      fc.float32Array({ minLength: 1 }),
      fc.constantFrom('none', 'sigmoid', 'softmax'),
      (output, activation) => {
        const fault = finishScores(output, activation, output.length);
        return fault !== undefined || output.every((score) => score >= 0 && score <= 1);
      },
    ),
  );
  t.end();
});

t.test('a window is the end of what was pushed', (t) => {
  const capacity = 8;
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 20 })),
      fc.integer({ min: 1, max: capacity }),
      (lengths, count) => {
        const window = createSampleWindow(capacity);
        const all: number[] = [];
        for (const length of lengths) {
          const samples = Float32Array.from({ length }, (_, n) => all.length + n);
          all.push(...samples);
          window.push(samples);
        }
        if (all.length < count) {
          t.throws(() => window.last(count), { code: 'bad_window' });
          return;
        }
        t.strictSame([...window.last(count)], all.slice(-count));
        t.equal(window.last(count), window.last(count), 'the same object');
        window.reset();
        t.throws(() => window.last(1), { code: 'bad_window' });
      },
    ),
    { numRuns: 50 },
  );
  t.end();
});

t.test('a machine without ONNX Runtime is told why', (t) => {
  const missing = new Error("Cannot find package 'onnxruntime-node'");
  const explain = (platform: string, arch: string, musl = false) =>
    explainMissingRuntime(missing, { platform, arch, musl });
  t.match(explain('linux', 'arm'), /does not exist for linux on arm;.*64-bit operating system/);
  t.match(explain('freebsd', 'x64'), /does not exist for freebsd on x64/);
  t.notMatch(explain('freebsd', 'x64'), /64-bit operating/);
  t.match(explain('linux', 'arm64', true), /needs glibc.*Alpine/);
  t.match(explain('linux', 'x64'), /Cannot find package 'onnxruntime-node'.*npm ci/);
  t.end();
});
