import fc from 'fast-check';
import t from 'tap';
import { scoreOf } from '../../src/common/linear-head.js';
import { embeddingOf } from '../../src/inference/embedding-kind.js';
import { createEmbeddingUse } from '../../src/inference/embedding-use.js';
import { headsFor, headsOfWidth } from '../../src/inference/learnt-heads.js';
import { createSendOrder } from '../../src/inference/send-order.js';
import type { Hop } from '../../src/tagging/hop.js';
import { hopScores } from '../../src/tagging/hop.js';
import { createTagger } from '../../src/tagging/tagger.js';
import { fakeModel } from '../support/stream-engine.js';
import { plainTagging } from '../support/tagging.js';

const number = fc.float({ noNaN: true, noDefaultInfinity: true, min: -50, max: 50 });

t.test('a head is the logistic of its weights times the embedding, wherever that lies', (t) => {
  const vector = (length: number) => fc.array(number, { minLength: length, maxLength: length });
  const input = fc
    .integer({ min: 1, max: 40 })
    .chain((length) => fc.tuple(vector(length), vector(length), number, fc.nat({ max: 30 }), fc.boolean()));
  fc.assert(
    fc.property(input, ([weights, embedding, bias, from, unitLength]) => {
      const head = { weights: Float32Array.from(weights), bias, unitLength };
      const values = Float32Array.from([...new Array<number>(from).fill(7), ...embedding, 9]);
      const length = Math.hypot(...embedding.map(Math.fround));
      const scale = unitLength && length > 0 ? 1 / length : 1;
      const product = embedding.reduce((sum, x, at) => sum + scale * Math.fround(x) * head.weights[at]!, 0);
      const expected = 1 / (1 + Math.exp(-(product + bias)));
      const score = scoreOf(head, values, from);
      if (!(Math.abs(score - expected) < 1e-6)) throw new Error(`${score} is not ${expected}`);
    }),
  );
  const weights = Float32Array.of(1, 0);
  t.equal(scoreOf({ weights, bias: 0 }, Float32Array.of(NaN, 1)), 0, 'what is no number says nothing');
  t.equal(scoreOf({ weights, bias: 0, unitLength: true }, Float32Array.of(0, 0)), 0.5);
  t.end();
});

t.test('a head is for one model, and for the width of its embedding', (t) => {
  const model = fakeModel('first', { sha256: 'a'.repeat(64), embedding: 'embedding' });
  const head = (slug: string, modelSha256: string, weights: readonly number[]) => ({
    slug,
    modelSha256,
    weights: Float32Array.from(weights),
    bias: 0,
  });
  const own = head('bell', 'a'.repeat(64), [1, 2]);
  const all = headsFor(model, [
    own,
    head('door', 'b'.repeat(64), [1, 2]),
    head('knock', 'a'.repeat(64), [NaN, 2]),
    head('wide', 'a'.repeat(64), [1, 2, 3]),
  ]);
  t.strictSame(
    all.heads.map(({ slug }) => slug),
    ['bell', 'wide'],
  );
  t.strictSame(
    all.refused.map(({ slug, code }) => [slug, code]),
    [
      ['door', 'other_model'],
      ['knock', 'bad_head'],
    ],
  );
  t.match(all.refused[0]!.reason, /"door" was learnt with another model than first/);
  const fitting = headsOfWidth(model, all, 2);
  t.strictSame(fitting.heads, [own]);
  t.strictSame(fitting.refused.at(-1)?.slug, 'wide');
  t.match(fitting.refused.at(-1)?.reason, /3 weights, the embedding of first 2 numbers/);
  const mute = headsFor(fakeModel('mute', { sha256: 'a'.repeat(64) }), [own]);
  t.strictSame(mute.heads, []);
  t.match(mute.refused, [{ slug: 'bell', code: 'no_embedding', reason: /mute gives no embedding/ }]);
  t.end();
});

t.test('the embedding is fetched only while somebody wants something of it', (t) => {
  const { manifest } = fakeModel('first', { embedding: 'embedding' });
  const use = createEmbeddingUse(manifest, 3);
  const request = { samples: new Float32Array(0), reset: false, windowSamples: 1 };
  const weights = Float32Array.of(1, 2);
  t.equal(use.outputFor(request), null);
  t.equal(use.outputFor({ ...request, embeddings: true }), 'embedding');
  use.learn({ heads: [{ weights, bias: 0 }] }, 3);
  t.equal(use.outputFor(request), null, 'a head that does not fit');
  use.learn({ heads: [{ weights, bias: 0 }] }, 2);
  t.equal(use.outputFor(request), 'embedding');
  use.learn({ heads: [] }, 2);
  t.equal(use.outputFor(request), null);
  const mute = createEmbeddingUse(fakeModel('mute').manifest, 3);
  t.equal(mute.outputFor({ ...request, embeddings: true }), null);
  t.equal(embeddingOf(fakeModel('mute').manifest), null);
  t.end();
});

t.test('questions that go two ways are sent in order, and none before the other way is answered', (t) => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('messages', 'pipe', 'answer'), { maxLength: 40 }), (steps) => {
      const order = createSendOrder();
      const sent: number[] = [];
      const ways: string[] = [];
      let answered = 0;
      for (const step of steps) {
        if (step === 'answer') {
          if (answered === sent.length) continue;
          answered += 1;
          order.answered();
        } else {
          const mine = ways.push(step) - 1;
          order.send(step, () => sent.push(mine));
        }
        t.strictSame(sent, [...sent.keys()]);
        t.equal(new Set(sent.slice(answered).map((at) => ways[at])).size <= 1, true);
        const next = ways[sent.length];
        // Nothing waits without a reason.
        if (next !== undefined) t.not(next, ways[sent.length - 1]);
      }
    }),
  );
  t.end();
});

t.test('a learnt label begins and ends as others do, whatever the role of the frames', (t) => {
  const model = fakeModel('first').labels;
  const learnt = { index: 3, name: 'Bell', mid: null, threshold: 0.3, thresholdFrom: null };
  const settings = { ...plainTagging, labels: ['Bell'], threshold: null };
  const rows = (bells: readonly number[]) => bells.flatMap((bell) => [0, 0, 0, bell]);
  const hop = (startMs: number, bells: readonly number[], more: Partial<Hop>): Hop => ({
    startMs,
    endMs: startMs + 1000,
    frameMs: 250,
    frames: 4,
    before: bells.length - 4,
    windowEndMs: startMs + 1000,
    values: rows(bells),
    spreadMs: 0,
    role: 'location',
    scores: [0, 0, 0, Math.max(...bells)],
    learnt: { from: 3, once: false },
    ...more,
  });
  for (const role of ['scores', 'location'] as const) {
    let id = 0;
    const tagger = createTagger({ labels: model, settings, newId: () => String((id += 1)) });
    t.strictSame(tagger.items, [], 'not known yet');
    t.strictSame(tagger.update(settings, 0, [...model, learnt]), []);
    const events = [
      ...tagger.hop(hop(1000, [0, 0.2, 0.4, 0.35], { role }), 2000),
      ...tagger.hop(hop(2000, [0.35, 0.1, 0, 0], { role }), 3000),
    ];
    t.match(
      events.map((event) => [event.event_type, event.label, event.started_at, event.ended_at]),
      [
        ['started', 'Bell', 1500, null],
        ['ended', 'Bell', 1500, 2250],
      ],
      role,
    );
    const out = new Float32Array(4);
    hopScores(hop(1000, [0, 0.25, 0.5, 0], { role }), out);
    t.strictSame([...out], [0, 0, 0, 0.5]);
    t.strictSame(tagger.update(settings, 4000), [], 'the labels stay');
    t.equal(tagger.items.length, 1);
  }

  // Without embeddings of frames the window's score stands in all of them: the past is not looked at once more.
  const again = (role: Hop['role'], once: boolean) => {
    const tagger = createTagger({ labels: [...model, learnt], settings, newId: () => '1' });
    tagger.hop(hop(1000, [0, 0, 0, 0], { role, learnt: { from: 3, once } }), 2000);
    const [event] = tagger.hop(
      hop(2000, [0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], { role, learnt: { from: 3, once } }),
      3000,
    );
    return event?.started_at;
  };
  for (const role of ['scores', 'location'] as const) {
    t.equal(again(role, true), 2000, role);
    t.equal(again(role, false), 1000, role);
  }
  t.end();
});

t.test('a hop from before a label was learnt says nothing of it', (t) => {
  const model = fakeModel('first').labels;
  const learnt = { index: 3, name: 'Bell', mid: null, threshold: 0.3, thresholdFrom: null };
  const settings = { ...plainTagging, labels: ['Bell', 'from'], threshold: 0.3 };
  const tagger = createTagger({ labels: [...model, learnt], settings, newId: () => '1' });
  const values = [0, 0, 0, 0.9, 0, 0];
  const events = tagger.hop(
    {
      ...{ startMs: 0, endMs: 1000, frameMs: 500, frames: 2, before: 0, windowEndMs: 1000, spreadMs: 0 },
      values,
      role: 'scores',
      scores: [0.9, 0, 0],
    },
    1000,
  );
  t.strictSame(
    events.map(({ label }) => label),
    ['from'],
    'the first value of the second frame is not taken for it',
  );
  t.end();
});
