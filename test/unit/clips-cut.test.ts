import fc from 'fast-check';
import t from 'tap';
import { cutAround } from '../../src/clips/cut.js';
import { endMsOf, type CutClip, type DiscardReason } from '../../src/clips/cut-clip.js';
import { createHeardSound } from '../../src/clips/heard-sound.js';
import { toFloat32, toInt16 } from '../../src/clips/int16.js';
import { createJudged } from '../../src/clips/judged.js';
import { createSourceClips } from '../../src/clips/source-clips.js';
import { bark, pattern, patternAt } from '../support/clips.js';

/* Where clips begin and end, and what is in them, without a disk. */

const RATE = 1000;
const seconds = (min: number, max: number) => fc.integer({ min: min * 1000, max: max * 1000 });

t.test('a clip holds the event and what is around it, and is never too long', (t) => {
  fc.assert(
    fc.property(
      seconds(0, 10),
      seconds(0, 10),
      seconds(1, 40),
      fc.constantFrom(8000, 16_000, 44_100, 48_000),
      fc.nat(5_000_000),
      fc.option(fc.nat(3_000_000)),
      fc.nat(5_000_000),
      (beforeMs, afterMs, maxMs, rate, started, length, oldest) => {
        const samples = (ms: number) => Math.round((ms * rate) / 1000);
        const ended = length === null ? null : started + length;
        const cut = cutAround({ beforeMs, afterMs, maxMs }, rate, started, ended, oldest);
        t.ok(cut.from >= oldest && cut.from <= cut.to);
        t.ok(cut.to - cut.from <= samples(maxMs));
        if (oldest > started) return;
        t.equal(cut.from, Math.max(oldest, started - samples(beforeMs)));
        if (ended === null) t.equal(cut.to - cut.from, samples(maxMs));
        else if (cut.to - cut.from < samples(maxMs)) t.equal(cut.to, ended + samples(afterMs));
      },
    ),
  );
  t.end();
});

t.test('16-bit samples come back to the bit, and what is too loud is cut off', (t) => {
  fc.assert(
    fc.property(fc.int16Array(), (samples) => {
      const back = new Int16Array(samples.length);
      toInt16(toFloat32(samples), back, 0);
      t.same(back, samples);
    }),
  );
  const loud = new Int16Array(4);
  toInt16(Float32Array.of(1, -1, 7.5, -Infinity), loud, 0);
  t.same([...loud], [32_767, -32_768, 32_767, -32_768]);
  t.end();
});

t.test('what is kept of the sound is what came last', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 2500 }), { minLength: 1, maxLength: 30 }),
      fc.nat(1000),
      fc.nat(1000),
      (chunks, some, more) => {
        const heard = createHeardSound(1.7);
        heard.begin(RATE);
        for (const count of chunks) {
          const from = heard.position;
          heard.append(pattern(from, count), 1_000_000 + from + count);
        }
        t.equal(heard.position - heard.oldest, Math.min(1700, heard.position));
        const kept = heard.position - heard.oldest;
        const from = heard.oldest + Math.floor((some / 1001) * kept);
        const to = from + Math.floor((more / 1001) * (heard.position - from));
        t.same(
          heard.read(from, to),
          Int16Array.from({ length: to - from }, (_, index) => patternAt(from + index)),
        );
        t.equal(heard.positionAt(1_000_000 + from), from);
        t.equal(heard.msAt(from), 1_000_000 + from);
        t.throws(() => heard.read(heard.oldest - 1, heard.position), RangeError);
        t.throws(() => heard.read(heard.oldest, heard.position + 1), RangeError);
      },
    ),
  );
  t.end();
});

t.test('a stretch is clear only where all of it was looked at and no speech was near', (t) => {
  const stretch = fc.record({ gap: fc.nat(2000), length: fc.nat(3000), isSpeech: fc.boolean() });
  fc.assert(
    fc.property(fc.array(stretch, { maxLength: 20 }), fc.nat(40_000), fc.nat(10_000), (all, from, length) => {
      const judged = createJudged(1_000_000);
      const told: { fromMs: number; toMs: number; isSpeech: boolean }[] = [];
      let at = 0;
      for (const each of all) {
        at += each.gap;
        told.push({ fromMs: at, toMs: at + each.length, isSpeech: each.isSpeech });
        judged.add(at, at + each.length, each.isSpeech);
        at += each.length;
      }
      const to = from + length;
      const verdict = judged.verdict(from, to);
      const speech = told.some(
        ({ isSpeech, fromMs, toMs }) => isSpeech && toMs > fromMs && fromMs < to && toMs > from,
      );
      if (speech) t.equal(verdict, 'speech');
      if (verdict !== 'clear') return;
      // Every moment of it is covered, up to what two windows may be apart.
      for (let ms = from; ms < to; ms += 100) {
        t.ok(
          told.some(({ fromMs, toMs }) => ms >= fromMs - 250 && ms <= toMs + 250),
          `${ms} of ${from} … ${to}`,
        );
      }
    }),
  );
  t.end();
});

/** One source at 1 kHz that is told the time by its sound, with what came of its clips. */
function rig(more: { discardSpeech?: boolean; mayHold?: () => boolean; maxMs?: number } = {}) {
  const ready: CutClip[] = [];
  const discarded: [string, DiscardReason][] = [];
  const source = createSourceClips({
    rule: { beforeMs: 2000, afterMs: 2000, maxMs: more.maxMs ?? 10_000 },
    discardSpeech: more.discardSpeech ?? true,
    patienceMs: 60_000,
    mayHold: more.mayHold ?? (() => true),
    onReady: (clip) => void ready.push(clip),
    onDiscard: ({ id }, reason) => void discarded.push([id, reason]),
  });
  let position = 0;
  source.begin(RATE);
  return {
    source,
    ready,
    discarded,
    /** Goes on for so long, in chunks of 200 ms. */
    hear: (ms: number) => {
      for (const until = position + ms; position < until;) {
        const count = Math.min(200, until - position);
        source.chunk(pattern(position, count), position + count);
        position += count;
      }
    },
    get nowMs() {
      return position;
    },
  };
}

/** Whether a clip holds just the samples from one position on, and says so. */
const holds = (clip: CutClip | undefined, from: number, to: number): boolean =>
  clip?.startMs === from &&
  clip.samples.length === to - from &&
  clip.samples.every((sample, index) => sample === patternAt(from + index));

t.test('an event becomes a clip once its sound is complete and clear', (t) => {
  const { source, ready, hear, discarded } = rig();
  hear(10_000);
  source.started(bark('a', 8000), 'clip a');
  hear(1000);
  source.ended({ id: 'a', source: 'main', endedMs: 9500, peak: 0.9 });
  source.scores(5000, 9000, false);
  hear(3000);
  t.same(ready, [], 'it waits for the scores of the rest');
  source.scores(9000, 11_400, false);
  t.same(ready, []);
  source.scores(11_400, 11_600, false);
  t.ok(holds(ready[0], 6000, 11_500));
  t.match(ready, [{ id: 'clip a', event: { id: 'a', peak: 0.9 }, endedMs: 9500 }]);
  t.same(discarded, []);
  t.equal(source.heldBytes, 0);
  t.end();
});

t.test('speech before, in and after the event is found, whenever it is told of', (t) => {
  for (const atMs of [6100, 9000, 11_400]) {
    for (const late of [true, false]) {
      const { source, ready, hear, discarded } = rig();
      const judge = () => {
        for (let ms = 5000; ms < 12_000; ms += 100) source.scores(ms, ms + 100, ms === atMs);
      };
      hear(10_000);
      source.started(bark('a', 8000), 'clip a');
      source.ended({ id: 'a', source: 'main', endedMs: 9500, peak: 0.9 });
      hear(atMs > 9500 || late ? 2500 : 0);
      judge();
      hear(3000);
      t.same([ready, discarded], [[], [['clip a', 'speech']]], `at ${atMs}, late: ${late}`);
    }
  }
  const { source, ready, hear } = rig({ discardSpeech: false });
  hear(10_000);
  source.scores(8000, 9000, true);
  source.started(bark('a', 8000), 'clip a');
  source.ended({ id: 'a', source: 'main', endedMs: 9000, peak: 0.9 });
  hear(2000);
  t.ok(holds(ready[0], 6000, 11_000), 'nobody asks for it');
  t.end();
});

t.test('a sound that lasts is cut at the longest, while it goes on', (t) => {
  const { source, ready, hear } = rig();
  hear(10_000);
  source.started(bark('a', 9000), 'clip a');
  source.scores(0, 20_000, false);
  hear(8000);
  t.ok(holds(ready[0], 7000, 17_000));
  t.equal(ready[0]?.endedMs, null);
  source.ended({ id: 'a', source: 'main', endedMs: 40_000, peak: 0.9 });
  hear(30_000);
  t.equal(ready.length, 1);
  t.end();
});

t.test('what is told late begins with what is still kept', (t) => {
  const { source, ready, hear, discarded } = rig();
  hear(60_000);
  source.scores(0, 70_000, false);
  source.started(bark('gone', 20_000), 'clip gone');
  source.ended({ id: 'gone', source: 'main', endedMs: 21_000, peak: 0.9 });
  source.started(bark('half', 30_500), 'clip half');
  source.ended({ id: 'half', source: 'main', endedMs: 31_000, peak: 0.9 });
  t.same(discarded, [['clip gone', 'no_sound']]);
  t.ok(holds(ready[0], 30_000, 33_000));
  t.end();
});

t.test('nothing joins across a break, and what was looked at before it is kept', (t) => {
  for (const kind of ['interrupt', 'begin', 'clock'] as const) {
    const { source, ready, hear, discarded } = rig();
    hear(10_000);
    source.started(bark('a', 8000), 'clip a');
    source.scores(5000, 9500, false);
    if (kind === 'interrupt') source.interrupt();
    else if (kind === 'begin') source.begin(2000);
    else source.chunk(pattern(0, 200), 3_600_000);
    t.ok(holds(ready[0], 6000, 9500), kind);
    // The old clock says nothing of the new sound.
    source.scores(9500, 100_000, false);
    source.ended({ id: 'a', source: 'main', endedMs: 9900, peak: 0.9 });
    t.same(discarded, []);
    if (kind !== 'clock') source.started(bark('b', 9000), 'clip b');
    if (kind !== 'clock') t.same(discarded, [['clip b', 'no_sound']], 'what was before is gone');
    t.equal(ready.length, 1);
  }
  t.end();
});

t.test('sound that nobody looked at is not kept', (t) => {
  const { source, ready, hear, discarded } = rig();
  hear(10_000);
  source.scores(0, 5000, false);
  source.started(bark('a', 8000), 'clip a');
  source.ended({ id: 'a', source: 'main', endedMs: 8500, peak: 0.9 });
  hear(1000);
  source.scores(9000, 12_000, false);
  t.same([ready, discarded], [[], [['clip a', 'unjudged']]], 'it was passed over');
  hear(10_000);
  source.started(bark('b', 20_000), 'clip b');
  source.interrupt();
  t.match(discarded.at(-1), ['clip b', 'unjudged'], 'nobody will');
  t.end();
});

t.test('speech just beside a clip counts, and farther away it does not', (t) => {
  for (const [fromMs, verdict] of [
    [4500, 'clear'],
    [4700, 'speech'],
    [8100, 'speech'],
    [8300, 'clear'],
  ] as const) {
    const judged = createJudged(100_000);
    judged.add(0, 10_000, false);
    judged.add(fromMs, fromMs + 100, true);
    t.equal(judged.verdict(5000, 8000), verdict, `at ${fromMs}`);
  }
  t.end();
});

t.test('an event in which speech was heard has no clip before it ends', (t) => {
  const { source, hear, discarded } = rig();
  hear(10_000);
  source.started(bark('a', 8000), 'clip a');
  source.started(bark('b', 9900), 'clip b');
  source.scores(6500, 7000, true);
  t.same(discarded, [['clip a', 'speech']]);
  t.end();
});

t.test('of a clip that breaks off half a second has to be there', (t) => {
  for (const [lookedMs, reasons] of [
    [8400, ['unjudged']],
    [8500, []],
  ] as const) {
    const { source, hear, discarded } = rig();
    hear(10_000);
    source.started(bark('a', 8000), 'clip a');
    source.scores(5000, lookedMs, false);
    source.interrupt();
    t.same(
      discarded.map(([, reason]) => reason),
      reasons,
    );
  }
  t.end();
});

t.test('a clock that was set back does not make new sound look as if it had been passed over', (t) => {
  const { source, ready, hear, discarded } = rig();
  hear(1000);
  source.scores(0, 3_600_000, false);
  source.interrupt();
  hear(9000);
  source.started(bark('a', 8000), 'clip a');
  source.ended({ id: 'a', source: 'main', endedMs: 8000, peak: 0.9 });
  t.same([ready, discarded], [[], []], 'it waits');
  source.scores(1000, 10_000, false);
  t.ok(holds(ready[0], 6000, 10_000));
  t.end();
});

t.test('too much at a time is dropped and counted, not held', (t) => {
  const full = rig({ mayHold: () => false });
  full.hear(10_000);
  full.source.started(bark('a', 8000), 'clip a');
  full.source.ended({ id: 'a', source: 'main', endedMs: 8000, peak: 0.9 });
  t.same(full.discarded, [['clip a', 'busy']]);
  const many = rig();
  many.hear(10_000);
  for (let each = 0; each < 70; each += 1) many.source.started(bark(`${each}`, 9000), `${each}`);
  t.equal(many.discarded.filter(([, reason]) => reason === 'busy').length, 6);
  t.end();
});

t.test('what is deleted while it is being made never comes, and takes the sound before along', (t) => {
  const { source, ready, hear, discarded } = rig();
  hear(10_000);
  source.started(bark('open', 8000), 'open');
  source.started(bark('waits', 7000), 'waits');
  source.ended({ id: 'waits', source: 'main', endedMs: 7500, peak: 0.9 });
  t.equal(
    source.drop(({ startMs }) => startMs < 9000, 'deleted'),
    2,
  );
  source.forgetBefore(9500);
  source.scores(0, 20_000, false);
  source.started(bark('new', 9800), 'new');
  source.ended({ id: 'new', source: 'main', endedMs: 9900, peak: 0.9 });
  hear(3000);
  t.same(
    discarded.map(([id]) => id),
    ['open', 'waits'],
  );
  t.equal(ready.length, 1);
  t.ok(holds(ready[0], 9500, 11_900));
  t.end();
});

t.test('whatever comes in whatever order, a clip is whole, clear, and told of once', (t) => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('hear' as const), ms: fc.integer({ min: 1, max: 4000 }) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('started' as const), agoMs: fc.nat(5000) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('ended' as const), which: fc.nat(3), agoMs: fc.nat(3000) }),
    },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('judge' as const), speech: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('interrupt' as const, 'drop' as const) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const all = rig();
      const { source, ready, discarded, hear } = all;
      const on: string[] = [];
      const speech: { fromMs: number; toMs: number }[] = [];
      let judgedMs = 0;
      let begunMs = 0;
      let count = 0;
      const nowMs = () => all.nowMs;
      for (const each of steps) {
        if (each.kind === 'hear') hear(each.ms);
        else if (each.kind === 'started') {
          count += 1;
          on.push(`${count}`);
          source.started(bark(`${count}`, Math.max(begunMs, nowMs() - each.agoMs)), `${count}`);
        } else if (each.kind === 'ended') {
          const [id] = on.splice(each.which, 1);
          if (id !== undefined) source.ended({ id, source: 'main', endedMs: nowMs() - each.agoMs, peak: 1 });
        } else if (each.kind === 'judge') {
          if (nowMs() > judgedMs) {
            if (each.speech === 0) speech.push({ fromMs: judgedMs, toMs: nowMs() });
            source.scores(judgedMs, nowMs(), each.speech === 0);
          }
          judgedMs = nowMs();
        } else if (each.kind === 'interrupt') {
          source.interrupt();
          begunMs = nowMs();
          judgedMs = nowMs();
        } else source.drop(({ id }) => Number(id) % 2 === 0, 'deleted');
      }
      for (const clip of ready) {
        t.ok(clip.samples.length > 0 && clip.samples.length <= 10_000);
        t.ok(
          clip.samples.every((sample, index) => sample === patternAt(Math.round(clip.startMs) + index)),
          'the samples are those of its time',
        );
        t.ok(
          speech.every(({ fromMs, toMs }) => toMs <= clip.startMs || fromMs >= endMsOf(clip)),
          'no speech in it',
        );
      }
      const ids = [...ready.map(({ id }) => id), ...discarded.map(([id]) => id)];
      t.equal(new Set(ids).size, ids.length);
    }),
    { numRuns: 300 },
  );
  t.end();
});
