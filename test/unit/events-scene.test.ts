import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { decodeFile } from '../../src/audio/decode.js';
import { silentLogger } from '../../src/common/log.js';
import { BUNDLED_MODEL } from '../../src/models/bundled.js';
import { parseManifest } from '../../src/models/manifest.js';
import { createRegistry } from '../../src/models/registry.js';
import { beginningOf } from '../../tools/events/clock.js';
import { relatedOf } from '../../tools/events/related-labels.js';
import { pinkNoise, shuffled } from '../../tools/events/noise.js';
import { mixScene, type Recording, type SceneRecipe } from '../../tools/events/scene.js';
import { chooseStretch } from '../../tools/events/stretch.js';
import { installCopy } from '../../tools/events/subjects.js';
import { createRandom } from '../support/random.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { encodeWav } from '../support/wav.js';

const RATE = 8000;

/** A tone that is there in these parts (seconds), silence elsewhere. */
function bursts(seconds: number, parts: readonly (readonly [number, number])[]): Float32Array {
  return Float32Array.from({ length: Math.round(seconds * RATE) }, (_, i) => {
    const at = i / RATE;
    return parts.some(([from, to]) => at >= from && at < to) ? 0.3 * Math.sin(2 * Math.PI * 440 * at) : 0;
  });
}

function recordingOf(name: string, parts: readonly (readonly [number, number])[]): Recording {
  return { name, labels: [name], related: [], claims: {}, samples: bursts(6, parts) };
}

function levelDbfs(samples: Float32Array): number {
  const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
  return 10 * Math.log10(power);
}

const recipe = (changes: Partial<SceneRecipe> = {}): SceneRecipe => ({
  recordings: [recordingOf('A', [[0, 6]]), recordingOf('B', [[1, 3.5]]), recordingOf('C', [[2, 2.7]])],
  sampleRate: RATE,
  lengthsSeconds: [0.5, 1, 2, 4],
  peakDbfs: -14,
  noiseDbfs: -52,
  pauseSeconds: [4, 6],
  tailSeconds: 5,
  mostSeconds: null,
  ...changes,
});

t.test('a stretch begins and ends with sound and has no long pause', (test) => {
  // Four bursts; the pause in the middle is too long to be within a sound.
  const parts = [
    [0.5, 1],
    [1.2, 1.9],
    [3.5, 4.2],
    [4.4, 5.2],
  ] as const;
  const samples = bursts(6, parts);
  const isSound = (at: number) => parts.some(([from, to]) => at >= from - 0.02 && at <= to + 0.02);
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(0.5, 1, 1.4), (seed, seconds) => {
      const stretch = chooseStretch(samples, RATE, seconds, createRandom(seed));
      if (stretch === null) return false;
      const [from, to] = [stretch.from / RATE, stretch.to / RATE];
      const spansThePause = from < 1.95 && to > 3.45;
      return Math.abs(to - from - seconds) < 1e-9 && isSound(from) && isSound(to) && !spansThePause;
    }),
  );
  test.equal(chooseStretch(samples, RATE, 2, createRandom(1)), null, 'longer than any sound in it');
  test.equal(chooseStretch(new Float32Array(0), RATE, 1, createRandom(1)), null, 'nothing at all');
  test.equal(chooseStretch(samples, RATE, 60, createRandom(1)), null, 'longer than the recording');
  test.end();
});

t.test('a scene has every sound in every length that it has, where it says that it is', (test) => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const scene = mixScene(recipe(), createRandom(seed));
      const names = scene.sounds.map(({ recording, lengthSeconds }) => `${recording.name} ${lengthSeconds}`);
      test.same(names.sort(), ['A 0.5', 'A 1', 'A 2', 'A 4', 'B 0.5', 'B 1', 'B 2', 'C 0.5']);
      let before = 0;
      for (const { onset, offset, lengthSeconds } of scene.sounds) {
        const pause = onset - before;
        if (pause < 4 - 1e-3 || pause > 6 + 1e-3 || Math.abs(offset - onset - lengthSeconds) > 1e-9)
          return false;
        const inside = scene.samples.subarray(
          Math.round((onset + 0.01) * RATE),
          Math.round((offset - 0.01) * RATE),
        );
        const outside = scene.samples.subarray(Math.round((onset - 0.5) * RATE), Math.round(onset * RATE));
        // A sine with its peak at −14 dBFS has an RMS of −17; there is nothing but noise before it, of which half a
        // second may be some dB louder than the whole.
        if (Math.abs(levelDbfs(inside) + 17) > 0.5 || Math.abs(levelDbfs(outside) + 52) > 8) return false;
        before = offset;
      }
      return Math.abs(scene.samples.length / RATE - before - 5) < 1e-3;
    }),
    { numRuns: 20 },
  );
  test.end();
});

t.test('the same seed gives the same scene, another one another', (test) => {
  const scene = (seed: number) => mixScene(recipe(), createRandom(seed));
  test.same(scene(7).samples, scene(7).samples);
  test.not(scene(7).sounds[0]?.onset, scene(8).sounds[0]?.onset);
  const onGrid = scene(7).sounds.filter(({ onset }) => Math.abs(onset * 50 - Math.round(onset * 50)) < 1e-6);
  test.ok(onGrid.length < 4, 'onsets are on no grid of frames');
  test.end();
});

t.test('a scene with a limit keeps whole sounds within it', (test) => {
  const scene = mixScene(recipe({ mostSeconds: 25 }), createRandom(3));
  test.ok(scene.sounds.length > 0);
  test.ok(scene.samples.length / RATE <= 25);
  test.equal(mixScene(recipe({ mostSeconds: 3 }), createRandom(3)).sounds.length, 0, 'none where none fits');
  test.end();
});

t.test('neighbours have no name in common where that can be had', (test) => {
  for (let seed = 1; seed < 20; seed += 1) {
    const { sounds } = mixScene(recipe({ lengthsSeconds: [0.5, 2] }), createRandom(seed));
    const names = sounds.map(({ recording }) => recording.name);
    const doubles = names.filter((name, index) => name === names[index - 1]).length;
    // What is left at the end may be all of one kind.
    test.ok(doubles <= 1, names.join(' '));
  }
  test.end();
});

t.test('pink noise has its level, and as much in every octave', (test) => {
  const noise = pinkNoise(1 << 15, createRandom(5));
  test.ok(Math.abs(levelDbfs(noise)) < 1e-3);
  /** Power of the difference of neighbours after a mean over `width`: what is fast at that width. */
  const octave = (width: number) => {
    const means = Array.from({ length: Math.floor(noise.length / width) }, (_, block) =>
      noise.subarray(block * width, (block + 1) * width).reduce((sum, value) => sum + value / width, 0),
    );
    const sum = means.slice(1).reduce((all, value, i) => all + (value - means[i]!) ** 2, 0);
    return 10 * Math.log10(sum / means.length);
  };
  for (const width of [4, 8, 16, 32]) {
    test.ok(Math.abs(octave(width) - octave(2 * width)) < 1, `from ${width} to ${2 * width} samples`);
  }
  test.end();
});

t.test('numbers by chance are even, and shuffling loses nothing', (test) => {
  const random = createRandom(11);
  const values = Array.from({ length: 10_000 }, random);
  test.ok(values.every((value) => value >= 0 && value < 1));
  test.ok(Math.abs(values.reduce((a, b) => a + b, 0) / values.length - 0.5) < 0.02);
  const items = [1, 2, 3, 4, 5];
  test.same(shuffled(items, random).sort(), items);
  test.end();
});

t.test('a scene is written as it is', async (test) => {
  const samples = Float32Array.of(0, 0.5, -0.5, 1, -1, 2);
  const path = join(test.testdir(), 'scene.wav');
  await writeFile(path, encodeWav(samples, RATE));
  const read = await decodeFile(path);
  test.equal(read.sampleRate, RATE);
  test.same(read.warnings, []);
  test.equal(read.samples.length, samples.length);
  const wanted = [0, 0.5, -0.5, 1, -1, 1];
  test.ok(
    wanted.every((value, i) => Math.abs(value - read.samples[i]!) < 1e-4),
    'what is too loud is cut off',
  );
});

t.test('the beginning of a recording follows from its windows', (test) => {
  const plan = { rateHz: 2, minSeconds: 1, windowSeconds: 5 };
  const begin = 1_700_000_000_000;
  // The first window ends after one second; some are late.
  const windows = Array.from({ length: 9 }, (_, i) => ({
    seq: i + 1,
    endMs: begin + 1000 + i * 500 + (i % 4 === 0 ? 300 : 0),
  }));
  test.equal(beginningOf(windows, plan), begin);
  test.equal(beginningOf(windows.slice(3), plan), begin, 'whatever was missed');
  test.equal(beginningOf(windows.slice(1, 2), { ...plan, rateHz: 0.5 }), begin + 1500 - 4000);
  test.ok(Number.isNaN(beginningOf([], plan)));
  test.end();
});

t.test('what a sound may also be called does not hold its own name', (test) => {
  test.same(
    relatedOf(['Dog', 'Bark']).filter((name) => name === 'Bark' || name === 'Dog'),
    [],
  );
  test.ok(relatedOf(['Dog', 'Bark']).includes('Animal'));
  test.same(relatedOf(['Something else']), []);
  test.end();
});

t.test('the copy of a model that is measured is one that the service takes', async (t) => {
  const bundledFolder = projectPath('models');
  const dataDir = temporaryFolder(t);
  const folder = projectPath('models', BUNDLED_MODEL);
  const path = projectPath('models', BUNDLED_MODEL, 'model.json');
  const manifest = parseManifest(await readFile(path, 'utf8'), path);
  const subject = { name: BUNDLED_MODEL, folder, manifest, labels: new Set<string>(), synthetic: false };
  await installCopy(subject, dataDir, { id: 'measured', withoutFrames: true });
  const copy = await createRegistry({ bundledFolder, dataDir, log: silentLogger }).get('measured');
  t.equal(copy.manifest.output.frames, null);
});
