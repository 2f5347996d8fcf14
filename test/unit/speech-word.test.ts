import t from 'tap';
import type { WindowResult } from '../../src/inference/window-report.js';
import { speechWord } from '../../src/service/speech-word.js';

const HEARD = Float32Array.of(0.9);
const NOT_HEARD = Float32Array.of(0.1);
const judge = {
  hears: (scores: Float32Array, frames = 1) => scores.subarray(0, frames).some((score) => score >= 0.5),
};

/** A window of 5 s that ends at 20 s, of which the last second is new. */
function resultOf(frames: 'none' | 'location' | 'scores', windowHears: boolean, framesHear: boolean) {
  return {
    startMs: 15_000,
    endMs: 20_000,
    scores: windowHears ? HEARD : NOT_HEARD,
    fresh: {
      startMs: 18_500,
      endMs: 19_500,
      role: frames === 'location' ? 'location' : 'scores',
      before: 0,
      count: 1,
      values: framesHear ? HEARD : NOT_HEARD,
    },
    model: { manifest: { output: { frames: frames === 'none' ? null : { role: frames } } } },
  } as unknown as WindowResult;
}

t.test('frames say of themselves whether somebody spoke', (t) => {
  t.same(speechWord(judge, resultOf('scores', true, false)), {
    startMs: 18_500,
    endMs: 19_500,
    isSpeech: false,
  });
  t.match(speechWord(judge, resultOf('scores', false, true)), { startMs: 18_500, isSpeech: true });
  t.end();
});

for (const frames of ['none', 'location'] as const) {
  t.test(`a window speaks for all of itself (frames: ${frames})`, (t) => {
    t.same(speechWord(judge, resultOf(frames, true, false)), {
      startMs: 15_000,
      endMs: 19_500,
      isSpeech: true,
    });
    const clear = speechWord(judge, resultOf(frames, false, true))!;
    t.notOk(clear.isSpeech);
    t.ok(clear.endMs < 19_500, 'words that have just begun may not be heard yet');
    t.equal(clear.endMs - clear.startMs, 1000, 'one window joins the next');
    t.end();
  });
}

t.test('a window without anything new has no word', (t) => {
  t.equal(speechWord(judge, { ...resultOf('none', true, true), fresh: null }), null);
  t.end();
});
