/** What teaching a sound needs of the service: what was heard, what has begun, names, and another model. */
import fc from 'fast-check';
import t from 'tap';
import { SoundpostError } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import type { HeadsInForce, LearntHead } from '../../src/inference/learnt-heads.js';
import { aroundLoudest, roomDbfs } from '../../src/learning/around-loudest.js';
import { openBegunStore } from '../../src/learning/begun-store.js';
import { GENERAL_SECONDS, generalSound } from '../../src/learning/general-sound.js';
import type { LearntLabel, LearntLabels, StoredLabel } from '../../src/learning/labels-store.js';
import { rowsOf } from '../../src/learning/rows.js';
import type { InstalledModel } from '../../src/models/registry.js';
import { learnSpecs } from '../../src/mqtt/learn-specs.js';
import { createBegunSounds, missingOf, type GivenExample } from '../../src/service/teaching/begun.js';
import { createHeardMinute } from '../../src/service/teaching/heard.js';
import { createLearntSounds } from '../../src/service/teaching/learnt-sounds.js';
import { nameTakenBy } from '../../src/service/teaching/name-taken.js';
import { createTeachAgain } from '../../src/service/teaching/teach-again.js';
import { soundMeant } from '../../src/service/teaching/take-example.js';
import type { Lesson } from '../../src/service/teaching/teacher.js';
import { withLearnt, withLearntLabels } from '../../src/tagging/learnt.js';
import { slugOf } from '../../src/tagging/slug.js';
import { resolveWatched } from '../../src/tagging/watch.js';
import { warningsOf } from '../support/clips.js';
import { plainTagging } from '../support/tagging.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

const RATE = 8000;
const sha = (digit: string) => digit.repeat(64);

t.test('an example says in one way when it was', (t) => {
  const { schema } = learnSpecs['learn/example'];
  const at = '2026-05-01T22:00:00Z';
  const clip = '0'.repeat(32);
  for (const right of [{}, { seconds_ago: 0 }, { from: at, to: at }, { clip }, { source: 'attic' }]) {
    t.ok(schema.safeParse({ name: 'Bell', ...right }).success, JSON.stringify(right));
  }
  for (const wrong of [
    { seconds_ago: 61 },
    { seconds_ago: -1 },
    { from: at },
    { to: at },
    { from: at, to: at, seconds_ago: 3 },
    { clip, seconds_ago: 3 },
    { from: 'yesterday', to: at },
    { clip: '../x' },
    { name: '' },
    { name: 'x'.repeat(101) },
    { name: 'a\nb' },
  ]) {
    t.notOk(schema.safeParse({ name: 'Bell', ...wrong }).success, JSON.stringify(wrong));
  }
  t.end();
});

t.test('the last minute is kept while somebody teaches, and at no other time', (t) => {
  const heard = createHeardMinute(['main', 'attic']);
  const tap = heard.of('main');
  tap.begin(RATE);
  let endMs = 1_000_000;
  const play = (seconds: number, value: number) => {
    for (let n = 0; n < seconds; n += 1) {
      endMs += 1000;
      tap.chunk(new Float32Array(RATE).fill(value), endMs);
    }
  };
  play(3, 0.5);
  t.equal(heard.between('main', 0, Infinity), null, 'nothing before');
  heard.setOn(true);
  t.equal(heard.between('main', 0, Infinity), null, 'and nothing of before');
  play(100, 0.25);
  const all = heard.between('main', -Infinity, Infinity)!;
  t.ok(
    all.samples.length >= 60 * RATE && all.samples.length < 90 * RATE,
    'a minute, and no more than that takes',
  );
  const piece = heard.between('main', endMs - 2500, endMs - 500)!;
  t.equal(piece.samples.length, 2 * RATE);
  t.ok(Math.abs(piece.startMs - (endMs - 2500)) < 1);
  t.ok(piece.samples.every((value) => Math.abs(value - 0.25) < 1e-4));
  t.equal(heard.between('attic', 0, Infinity), null);
  endMs += 60_000;
  play(1, 0.1);
  t.equal(heard.between('main', 0, Infinity)!.samples.length, RATE, 'nothing joins across a gap');
  tap.interrupt();
  t.equal(heard.between('main', 0, Infinity), null);
  play(1, 0.1);
  heard.setOn(false);
  t.equal(heard.between('main', 0, Infinity), null);
  t.end();
});

t.test('the sound is cut out around its loudest moment', (t) => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.5, max: 3, noNaN: true }),
      fc.double({ min: 0.2, max: 2, noNaN: true }),
      fc.double({ min: 0.05, max: 0.5, noNaN: true }),
      (atSeconds, seconds, amplitude) => {
        const samples = new Float32Array(10 * RATE).map((_, i) => 0.001 * Math.sin(i * 1.7));
        const from = Math.round(atSeconds * RATE);
        const to = Math.round((atSeconds + seconds) * RATE);
        for (let i = from; i < to; i += 1) samples[i] = amplitude * Math.sin(i * 0.3);
        // Something else, less loud, more than a second behind it.
        for (let i = to + 1.3 * RATE; i < to + 2 * RATE; i += 1) samples[i] = 0.5 * amplitude * Math.sin(i);
        const room = roomDbfs(samples, RATE)!;
        const found = aroundLoudest(samples, RATE, room);
        const slack = 0.15 * RATE;
        return (
          room < -60 &&
          found.from <= from &&
          found.from >= from - slack &&
          found.to >= to &&
          found.to <= to + slack
        );
      },
    ),
  );
  const twice = new Float32Array(10 * RATE).map((_, i) => 0.001 * Math.sin(i * 1.7));
  for (const at of [1, 6]) {
    for (let i = at * RATE; i < (at + 2) * RATE; i += 1) twice[i] = (at / 20) * Math.sin(i * 0.3);
  }
  const room = roomDbfs(twice, RATE);
  const first = aroundLoudest(twice, RATE, room, { from: 2 * RATE, to: 5 * RATE });
  t.ok(first.from <= RATE && first.from > 0.8 * RATE && first.to < 4 * RATE, 'what began before is whole');
  const short = new Float32Array(RATE);
  t.equal(roomDbfs(short, RATE), null);
  t.strictSame(aroundLoudest(short, RATE, null), { from: 0, to: RATE });
  t.end();
});

t.test('what has only just begun when somebody says that was it is not what they mean', (t) => {
  const heard = (bursts: readonly { at: number; seconds: number; amplitude: number }[]): Float32Array => {
    const samples = new Float32Array(12 * RATE).map((_, i) => 0.001 * Math.sin(i * 1.7));
    for (const { at, seconds, amplitude } of bursts) {
      for (let i = at * RATE; i < (at + seconds) * RATE && i < samples.length; i += 1) {
        samples[Math.round(i)] = amplitude * Math.sin(i * 0.3);
      }
    }
    return samples;
  };
  const meant = (samples: Float32Array) => {
    const { from, to } = soundMeant(samples, RATE, roomDbfs(samples, RATE), {
      from: 2 * RATE,
      to: 12 * RATE,
    });
    return [from / RATE, to / RATE];
  };
  const near = (is: readonly number[], wanted: readonly number[]) =>
    is.every((value, n) => Math.abs(value - wanted[n]!) < 0.15);
  const whole = { at: 5, seconds: 2, amplitude: 0.2 };
  const cut = { at: 11.9, seconds: 2, amplitude: 0.3 };
  t.ok(near(meant(heard([whole, cut])), [5, 7]), 'the one before it');
  t.ok(near(meant(heard([cut])), [11.9, 12]), 'but where there is nothing else');
  const going = { at: 11, seconds: 2, amplitude: 0.3 };
  t.ok(near(meant(heard([whole, going])), [11, 12]), 'what has been on for a while may be it');
  t.end();
});

t.test('sounds that are nothing in particular are always the same, and none is too loud', (t) => {
  const one = generalSound(RATE);
  t.equal(one.length, GENERAL_SECONDS * RATE);
  t.strictSame(one, generalSound(RATE));
  t.ok(one.every((value) => Math.abs(value) < 1));
  t.end();
});

const rows = rowsOf([Float32Array.from([1, 2])]);
const example = (modelSha256 = sha('a')): GivenExample => ({
  name: 'Example 1',
  modelSha256,
  plain: rows,
  taught: rows,
  part: { fromSeconds: 0, toSeconds: 1, peakDbfs: -20 },
  origin: { kind: 'heard', source: 'main', from_ms: 0, to_ms: 1000 },
  span: { fromMs: 0, toMs: 1000 },
});

t.test('what has begun: examples are counted, and what is forgotten goes by itself', async (t) => {
  const sizes: number[] = [];
  const store = openBegunStore({ dataDir: temporaryFolder(t), log: silentLogger });
  const begun = createBegunSounds({ store, onChange: (names) => sizes.push(names.length), patienceMs: 1000 });
  t.throws(() => begun.get('Bell'), { code: 'learn_unknown', message: /begin with learn\/begin/ });
  begun.begin('Bell');
  t.equal(begun.begin('bell'), begun.get('BELL'), 'the same one goes on');
  t.equal(begun.get().name, 'Bell', 'the only one need not be named');
  t.equal(missingOf(begun.get('Bell')), 3);
  begun.add('bell', example());
  t.equal(missingOf(begun.get('Bell')), 2);
  t.throws(() => begun.add('bell', example(sha('b'))), { code: 'learn_other_model' });
  t.equal(begun.get('bell').examples.length, 1, 'the new one is the first');
  for (let n = 1; n < 50; n += 1) begun.add('bell', example(sha('b')));
  t.throws(() => begun.add('bell', example(sha('b'))), { code: 'invalid_request' });
  for (let n = 1; n < 8; n += 1) begun.begin(`Bell ${n}`);
  t.throws(() => begun.begin('One more'), { code: 'invalid_request' });
  t.equal(begun.get().name, 'Bell 7', 'of several the one that something was said of last');
  begun.begin('Bell 3');
  t.equal(begun.get().name, 'Bell 3');
  t.ok(begun.remove('Bell 3'));
  t.notOk(begun.remove('Bell 3'));
  t.strictSame(sizes, [1, 2, 3, 4, 5, 6, 7, 8, 7]);
  await until(() => begun.size === 0, 'all of it forgotten', 10);
  t.throws(() => begun.get(), { code: 'learn_unknown', message: /No sound is being taught/ });
  begun.begin('Bell');
  await begun.stop();
  t.equal(begun.size, 0);
});

t.test('a name is taken by what has the same topic', (t) => {
  const there = {
    labels: [{ name: 'Dog', mid: '/m/0bt9lr' }],
    watched: [{ name: 'Tür', slug: 'tur' }],
  };
  t.equal(nameTakenBy('dOG', there), 'Dog');
  t.equal(nameTakenBy('/m/0bt9lr', there), 'Dog');
  t.equal(nameTakenBy('Tur', there), 'Tür');
  t.equal(nameTakenBy('loud noise', there), 'Loud noise');
  t.equal(nameTakenBy('Our dog', there), null);
  t.end();
});

t.test('what was taught is watched besides what is named, with the threshold that was found', (t) => {
  const model = [{ index: 0, name: 'Dog', mid: null, threshold: null, thresholdFrom: null }];
  const learnt = [{ name: 'Our bell', threshold: 0.7 }];
  const labels = withLearntLabels(model, learnt);
  const items = (names: string[], more = {}) => {
    const settings = { ...plainTagging, threshold: 0.2, thresholds: {}, labels: names, ...more };
    return resolveWatched(labels, withLearnt(settings, learnt)).items.map(({ slug, members }) => [
      slug,
      members[0]!.onThreshold,
      members[0]!.thresholdFrom,
    ]);
  };
  const both = [
    ['dog', 0.2, 'threshold'],
    ['our_bell', 0.7, 'learnt'],
  ];
  t.strictSame(items(['Dog']), both);
  t.strictSame(items(['Dog', 'our BELL']), both);
  t.strictSame(items([]), both);
  t.strictSame(items(['Dog'], { thresholds: { 'our bell': 0.9 } })[1], ['our_bell', 0.9, 'thresholds']);
  t.equal(withLearntLabels(model, []), model);
  t.end();
});

const labelOf = (name: string, sha256: string, examples: LearntLabel['examples'] = []): StoredLabel => ({
  name,
  slug: slugOf(name),
  model: { id: 'one', sha256 },
  head: { weights: Float32Array.from([1, 2]), bias: 0 },
  threshold: 0.6,
  examples,
  made_at: '2026-05-01T22:00:00.000Z',
  quality: {
    found: 3,
    of: 3,
    false_alarms_per_day: null,
    heard_hours: 0,
    is_extrapolated: true,
    heard_before: 0,
    doubts: [],
  },
});

/** A store in memory, and an engine that takes the heads of one model. */
function createWorld(stored: StoredLabel[], sha256: string) {
  let kept = [...stored];
  const store: LearntLabels = {
    load: () => Promise.resolve(kept),
    save(label) {
      const made = { ...label, slug: slugOf(label.name) };
      kept = [...kept.filter(({ slug }) => slug !== made.slug), made];
      return Promise.resolve(made);
    },
    remove(name) {
      kept = kept.filter(({ slug }) => slug !== slugOf(name));
      return Promise.resolve();
    },
  };
  const world = {
    sha256,
    heads: [] as readonly LearntHead[],
    kept: () => kept,
    force(): HeadsInForce {
      const { heads } = world;
      return {
        heads: heads.filter((head) => head.modelSha256 === world.sha256),
        refused: heads
          .filter((head) => head.modelSha256 !== world.sha256)
          .map(({ slug }) => ({ slug, code: 'other_model' as const, reason: `${slug} is of another model` })),
      };
    },
  };
  const sounds = createLearntSounds({
    store,
    learning: () => ({
      setHeads(heads) {
        world.heads = heads;
        return Promise.resolve(world.force());
      },
    }),
    log: silentLogger,
  });
  return { world, sounds };
}

const modelOf = (id: string, sha256: string) =>
  ({ manifest: { id, onnx_sha256: sha256 } }) as unknown as InstalledModel;

t.test('which taught sounds are at work, and why others are not', async (t) => {
  const { world, sounds } = createWorld(
    [labelOf('Our bell', sha('a')), labelOf('Kettle', sha('b'))],
    sha('a'),
  );
  await sounds.load();
  const states = () => sounds.list().map((label) => [label.name, sounds.stateOf(label).state]);
  t.strictSame(states(), [
    ['Our bell', 'at_work'],
    ['Kettle', 'teach_again'],
  ]);
  t.match(sounds.describe(sounds.find('kettle')!), {
    slug: 'kettle',
    why: 'kettle is of another model',
    clips: 0,
  });
  t.strictSame(sounds.learntOf(world.force().heads), [{ name: 'Our bell', threshold: 0.6 }]);
  sounds.inForce({ heads: [], refused: [{ slug: 'our_bell', code: 'no_embedding', reason: 'it cannot' }] });
  t.strictSame(sounds.stateOf(sounds.find('Our bell')!), { state: 'cannot', why: 'it cannot' });
  t.match(sounds.stateOf(sounds.find('Kettle')!), { state: 'cannot' });
  t.equal(await sounds.remove('our_bell'), 'Our bell');
  t.strictSame(
    world.heads.map(({ slug }) => slug),
    ['kettle'],
  );
});

t.test('another model is taught from the clips; where there are none that is told once', async (t) => {
  const clip = (digit: string) => ({ kind: 'clip' as const, clip: digit.repeat(32) });
  const { world, sounds } = createWorld(
    [
      labelOf('Our bell', sha('a'), [clip('1'), clip('2'), clip('3'), clip('4')]),
      labelOf('Kettle', sha('a'), [clip('1')]),
      labelOf('Gone', sha('a'), [clip('8'), clip('8'), clip('8')]),
    ],
    sha('b'),
  );
  await sounds.load();
  const warnings: { code: string | undefined; message: string }[] = [];
  const lessons: Lesson[] = [];
  const again = createTeachAgain({
    sounds,
    takeFrom: {
      fromClip: (id) =>
        /^[48]/.test(id)
          ? Promise.reject(new SoundpostError('clip_unknown', 'It is gone.'))
          : Promise.resolve(example(sha('b'))),
    },
    teacher(lesson) {
      lessons.push(lesson);
      if (lesson.examples.length < 3) {
        return Promise.reject(new SoundpostError('learn_too_few', 'Too few are left.'));
      }
      return Promise.resolve({ ...labelOf(lesson.name, lesson.model.sha256), slug: undefined });
    },
    log: warningsOf(warnings),
  });
  again.look(modelOf('two', sha('b')));
  again.look(modelOf('two', sha('b')));
  await until(() => lessons.length === 2 && warnings.length === 2, 'the lessons', 10);
  t.match(lessons[0], { name: 'Our bell', examples: { length: 3 }, model: { id: 'two', sha256: sha('b') } });
  t.strictSame(sounds.stateOf(sounds.find('Our bell')!), { state: 'at_work', why: null });
  t.match(warnings, [
    { code: 'learnt_not_at_work', message: /"Kettle" is not at work.*there are clips of only 1 of its/ },
    { code: 'learnt_not_at_work', message: /"Gone" is not at work.*Too few are left/ },
  ]);
  t.strictSame(
    world.kept().map(({ name, model }) => [name, model.sha256]),
    [
      ['Kettle', sha('a')],
      ['Gone', sha('a')],
      ['Our bell', sha('b')],
    ],
  );
  await again.stop();
});
