import fc from 'fast-check';
import t from 'tap';
import { cutFrames, endOfFrames } from '../../src/inference/frame-cut.js';
import { fullWindowSamples } from '../../src/inference/full-window.js';
import { firstFinalSeconds } from '../../src/models/manifest.js';
import { fakeModel } from '../support/stream-engine.js';

const spec = { hop_seconds: 0.5, offset_seconds: 0, context_seconds: 1, lookback_seconds: 0 };
const cut = (start: number, end: number, taken: number, isLast = false) =>
  cutFrames(spec, { startSeconds: start, endSeconds: end }, taken, isLast);

t.test('frames that are new and final', (t) => {
  t.match(cut(0, 5, 0), { from: 0, to: 8, startSeconds: 0, gridSeconds: 0 }, 'up to the context');
  t.match(cut(1, 6, 4), { from: 6, fresh: 6, to: 8, startSeconds: 4 }, 'behind what was taken');
  t.equal(cut(0, 1.4, 0), null, 'none is final yet');
  t.equal(cut(0.2, 5.2, 4.2), null, 'nothing is new');
  t.match(cut(0, 5, 4, true), { from: 8, to: 10 }, 'at the end of the sound all are final');
  t.match(cut(20, 25, 4), { from: 0, startSeconds: 20 }, 'what lies between two windows is gone');
  t.end();
});

t.test('another grid joins what was taken', (t) => {
  t.match(cut(1.1, 6.1, 4), { from: 6, fresh: 6, to: 8, startSeconds: 4, gridSeconds: 4.1 }, 'stretched');
  t.match(cut(0.9, 5.9, 4), { from: 6, fresh: 6, to: 8, startSeconds: 4, gridSeconds: 3.9 }, 'cut');
  t.equal(endOfFrames(cut(1.1, 6.1, 4)!, 1, 6.1), 4.6, 'as many as came');
  const back = (seconds: number, taken: number) =>
    cutFrames({ ...spec, lookback_seconds: seconds }, { startSeconds: 1, endSeconds: 6 }, taken, false);
  t.match(
    back(1, 4),
    { from: 4, fresh: 6, to: 8, startSeconds: 4, gridSeconds: 4 },
    'a second is looked at again',
  );
  t.match(back(60, 4), { from: 0, fresh: 6, to: 8 }, 'what the window has of it');
  t.end();
});

t.test('whatever the windows, each piece of sound is taken once and none twice', (t) => {
  const models = fc.record({
    hop_seconds: fc.constantFrom(0.04, 0.16, 0.32, 0.1, 1),
    offset_seconds: fc.constantFrom(0, -0.08, 0.5),
    context_seconds: fc.constantFrom(0, 0.64, 0.82),
    lookback_seconds: fc.constantFrom(0, 0, 1, 5),
    windowSeconds: fc.constantFrom(5, 10),
  });
  const steps = fc.array(
    fc.record({
      hop: fc.constantFrom(0.2, 0.37, 1, 1, 1.4286, 2, 30),
      dropped: fc.boolean(),
      swap: fc.constantFrom(null, null, null, 1),
    }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(fc.array(models, { minLength: 1, maxLength: 3 }), steps, (all, hops) => {
      let taken = 0;
      let end = 0;
      let model = 0;
      for (const { hop, dropped, swap } of hops) {
        end += hop;
        model += swap ?? 0;
        const frames = all[model % all.length]!;
        // A window ends on a multiple of the log-mel's hop.
        const endSeconds = Math.floor(end * 100) / 100;
        const window = { startSeconds: Math.max(0, endSeconds - frames.windowSeconds), endSeconds };
        if (dropped) continue;
        const found = cutFrames(frames, window, taken, false);
        const finalUntil = endSeconds - frames.context_seconds;
        if (found === null) {
          // Less than a frame and a half was final and not taken.
          if (
            finalUntil - Math.max(taken, window.startSeconds + frames.offset_seconds) >
            1.5 * frames.hop_seconds + 1e-3
          )
            throw new Error(`nothing taken though sound is final from ${taken} to ${finalUntil}`);
          continue;
        }
        if (found.from > found.fresh) throw new Error('looked back to the front');
        const until = endOfFrames(found, found.to - found.fresh, endSeconds);
        if (found.startSeconds < taken - 1e-9) throw new Error('taken twice');
        const lost = found.startSeconds - taken;
        const outOfReach = Math.max(0, window.startSeconds + Math.max(0, frames.offset_seconds) - taken);
        if (lost > outOfReach + 1e-6) throw new Error(`left out from ${taken} to ${found.startSeconds}`);
        if (until > finalUntil + 1e-3) throw new Error('taken before it was final');
        if (until < found.startSeconds) throw new Error('time runs backwards');
        const firstLength = found.gridSeconds + frames.hop_seconds - found.startSeconds;
        if (firstLength < 0.499 * frames.hop_seconds) throw new Error('less than half a frame');
        taken = until;
      }
    }),
    { numRuns: 1000 },
  );
  t.pass();
  t.end();
});

t.test('however short a window is configured, a frame of it is final', (t) => {
  const settings = fc.record({
    hop_seconds: fc.constantFrom(0.04, 0.16, 0.32, 1),
    /** In frames: from half a frame before the window, as where they are centred. */
    offset: fc.constantFrom(0, -0.5, 1.5),
    context_seconds: fc.constantFrom(0, 0.12, 0.82, 0.96, 2),
    columnSamples: fc.constantFrom(undefined, 160, 320, 441),
    sampleRate: fc.constantFrom(16_000, 32_000, 44_100),
    configured: fc.double({ min: 0.1, max: 6, noNaN: true }),
  });
  fc.assert(
    fc.property(settings, ({ sampleRate, columnSamples, configured, offset, ...geometry }) => {
      const frames = { ...geometry, offset_seconds: offset * geometry.hop_seconds, lookback_seconds: 0 };
      const { manifest } = fakeModel('frames', {
        sampleRate,
        windowSeconds: 5,
        frames,
        ...(columnSamples !== undefined && { columnSamples }),
      });
      const samples = fullWindowSamples({ manifest, fixedWindow: false }, configured);
      const endSeconds = samples / sampleRate;
      if (cutFrames(frames, { startSeconds: 0, endSeconds }, 0, false) === null) {
        throw new Error(`none in ${endSeconds} s`);
      }
      const least = Math.max(configured, firstFinalSeconds(frames), manifest.input.min_seconds);
      const step = (columnSamples ?? 1) / sampleRate;
      if (Math.abs(endSeconds - least) > 1.001 * step) throw new Error(`${endSeconds} s is not ${least} s`);
    }),
  );
  t.end();
});
