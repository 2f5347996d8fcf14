import fc from 'fast-check';
import t from 'tap';
import { matchEvents, type HeardEvent } from '../../tools/events/match.js';
import { formatEventsReport, type ModelReport } from '../../tools/events/events-report.js';
import type { PlacedSound } from '../../tools/events/scene.js';
import { delayOf, goalsOf, rowsOf, summarise } from '../../tools/events/summary.js';

function sound(
  onset: number,
  seconds: number,
  labels: readonly string[],
  related: string[] = [],
): PlacedSound {
  return {
    recording: { name: labels[0]!.toLowerCase(), labels, related, claims: {} },
    lengthSeconds: seconds,
    onset,
    offset: onset + seconds,
  };
}

function event(label: string, onset: number, offset: number, more: Partial<HeardEvent> = {}): HeardEvent {
  return { label, onset, offset, peak: 0.6, arrived: null, ...more };
}

const all = (placed: PlacedSound) => placed.recording.labels;
const bark = sound(10, 1, ['Dog', 'Bark'], ['Animal']);
const speech = sound(16, 2, ['Speech']);

t.test('a sound is found by any of its names, with the times of the surest', (test) => {
  const events = [event('Dog', 10.2, 11.1, { peak: 0.9 }), event('Bark', 9.5, 14, { peak: 0.4 })];
  const { outcomes, falseEvents } = matchEvents([bark, speech], events, all);
  test.match(outcomes, [
    { events: 1, label: 'Dog' },
    { events: 0, label: null, onsetError: null, durationError: null, delay: null },
  ]);
  test.ok(Math.abs(outcomes[0]!.onsetError! - 0.2) < 1e-9, 'late is above 0');
  test.ok(Math.abs(outcomes[0]!.durationError! + 0.1) < 1e-9, 'short is below 0');
  test.same(falseEvents, []);
  test.end();
});

t.test('a sound that became several events is found, and its times do not count', (test) => {
  const events = [event('Speech', 16, 16.5), event('Speech', 17.2, 18)];
  const { outcomes } = matchEvents([speech], events, all);
  test.match(outcomes, [{ events: 2, onsetError: null, durationError: null }]);
  test.match(summarise(outcomes, []), { sounds: 1, found: 1, split: 1, onset: null, duration: null });
  test.end();
});

t.test('what a sound is a kind of is neither right nor wrong', (test) => {
  const { outcomes, falseEvents } = matchEvents([bark], [event('Animal', 10, 11)], all);
  test.match(outcomes, [{ events: 0 }]);
  test.same(falseEvents, []);
  test.end();
});

t.test('a name that no sound near explains is false: of a sound, or of noise', (test) => {
  const wrong = event('Cat', 10, 11);
  const far = event('Dog', 40, 41);
  const room = event('White noise', 0, 60);
  const { falseEvents } = matchEvents([bark, speech], [wrong, far, room], all);
  test.same(falseEvents, [
    { event: wrong, sound: bark },
    { event: far, sound: null },
  ]);
  test.equal(matchEvents([bark], [event('Dog', 12.9, 13)], all).falseEvents.length, 0, 'within two seconds');
  test.equal(matchEvents([bark], [event('Dog', 13.1, 13.2)], all).falseEvents.length, 1, 'behind them');
  test.end();
});

t.test('a sound that the model does not know is not asked for, but explains its name', (test) => {
  const { outcomes, falseEvents } = matchEvents([bark], [event('Bark', 10, 11)], () => []);
  test.same(outcomes, []);
  test.same(falseEvents, []);
  test.end();
});

t.test('an event of a coarse model belongs to the sound that it begins with', (test) => {
  const again = sound(20, 1, ['Dog', 'Bark']);
  const long = event('Dog', 10.5, 21);
  const { outcomes } = matchEvents([bark, again], [long], all);
  test.match(outcomes, [{ events: 1 }, { events: 0 }]);
  test.end();
});

t.test('the delay is that of the first message with a right name', (test) => {
  const events = [
    event('Dog', 10, 11, { peak: 0.9, arrived: 11.5 }),
    event('Bark', 10, 11, { arrived: 11.2 }),
    event('Cat', 10, 11, { arrived: 10.1 }),
  ];
  const { outcomes } = matchEvents([bark, speech], events, all);
  const delay = delayOf(2, outcomes);
  test.match(delay, { rateHz: 2, sounds: 1 });
  test.ok(Math.abs(delay!.p50 - 1.2) < 1e-9);
  test.equal(delayOf(2, []), null);
  test.end();
});

t.test('every event is of one sound, or false, or explained; none is counted twice', (test) => {
  const times = fc.double({ min: 0, max: 40, noNaN: true });
  const labels = fc.constantFrom('Dog', 'Bark', 'Speech', 'Animal', 'Cat', 'Silence');
  const events = fc.array(
    fc.tuple(
      labels,
      times,
      fc.double({ min: 0, max: 10, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    ),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(events, (drawn) => {
      const heard = drawn.map(([label, onset, length, peak]) =>
        event(label, onset, onset + length, { peak }),
      );
      const { outcomes, falseEvents } = matchEvents([bark, speech], heard, all);
      const names = new Set(heard.map(({ label }) => label));
      const counted = outcomes.reduce((sum, outcome) => sum + outcome.events, 0) + falseEvents.length;
      return (
        counted <= heard.length &&
        falseEvents.every(({ event: { label } }) => label !== 'Silence') &&
        outcomes.every(({ label }) => label === null || names.has(label)) &&
        outcomes.every((o) => (o.onsetError === null) === (o.durationError === null)) &&
        outcomes.every((o) => (o.events === 1) === (o.onsetError !== null))
      );
    }),
  );
  test.end();
});

t.test('rows count every sound and every false name once', (test) => {
  const scene = (noiseDbfs: number) => ({
    noiseDbfs,
    ...matchEvents(
      [bark, speech],
      [event('Dog', 10.3, 11), event('Cat', 10, 11), event('Cat', 30, 31), event('Speech', 15.9, 18.1)],
      all,
    ),
  });
  const rows = rowsOf([scene(-62), scene(-52)], [1, 2]);
  test.match(rows.at(-1), {
    lengthSeconds: null,
    noiseDbfs: null,
    sounds: 4,
    found: 4,
    falseOnSounds: 2,
    falseInNoise: 2,
  });
  const fine = rows.filter(({ lengthSeconds, noiseDbfs }) => lengthSeconds !== null && noiseDbfs !== null);
  test.equal(fine.length, 4);
  test.equal(
    fine.reduce((sum, row) => sum + row.sounds, 0),
    4,
  );
  const short = rows.find(({ lengthSeconds, noiseDbfs }) => lengthSeconds === 1 && noiseDbfs === null);
  test.match(short, { sounds: 2, falseOnSounds: 2, falseInNoise: 0 });
  test.ok(Math.abs(short!.onset!.median - 0.3) < 1e-9);
  test.ok(Math.abs(short!.duration!.bias + 0.3) < 1e-9);
  test.equal(rowsOf([scene(-62)], [1, 2]).length, 3, 'one level needs no rows of its own');
  test.same(rowsOf([], [1]).at(-1)?.sounds, 0);
  test.end();
});

t.test('goals are those of the role; a model that cannot say when has none', (test) => {
  const errors = (median: number) => ({ median, p90: 1, bias: 0 });
  const summary = { onset: errors(0.3), duration: errors(0.3) };
  const delays = [
    { rateHz: 1, sounds: 9, p50: 1.1, p90: 2 },
    { rateHz: 2, sounds: 9, p50: 0.9, p90: 2 },
    { rateHz: 5, sounds: 9, p50: 0.5, p90: 2 },
  ];
  test.same(
    goalsOf('scores', summary, delays).map(({ met }) => met),
    [false, true, true, false],
  );
  test.same(
    goalsOf('location', summary, []).map(({ met }) => met),
    [true, true],
  );
  test.same(
    goalsOf('scores', null, []).map(({ met }) => met),
    [null, null],
  );
  test.same(goalsOf(null, summary, delays), []);
  test.end();
});

t.test('the report shows what was measured, and what was not', (test) => {
  const heard = matchEvents([bark, speech], [event('Dog', 10.2, 11.1), event('Cat', 30, 31)], all);
  const rows = rowsOf([{ noiseDbfs: -52, ...heard }], [1, 2]);
  const model: ModelReport = {
    model: 'some-model',
    title: 'Some model',
    role: 'scores',
    windowSeconds: 5,
    contextSeconds: 0.32,
    synthetic: false,
    accuracyRateHz: 1,
    rows,
    delays: [{ rateHz: 2, sounds: 3, p50: 0.9, p90: 1.5 }],
    cost: { rateHz: 1, withFrames: { session: 2, service: 7.5 }, withoutFrames: { session: 2, service: 7 } },
    goals: goalsOf('scores', rows.at(-1)!, [{ rateHz: 2, sounds: 3, p50: 0.9, p90: 1.5 }]),
    falseNames: [{ label: 'Cat', sound: null, times: 1 }],
  };
  const text = formatEventsReport({
    machine: { cpu: 'a CPU', cores: 4, node: '20', platform: 'linux x64', load: 0.5 },
    seed: 1,
    repeats: 1,
    peakDbfs: -14,
    threshold: null,
    settings: { SOUNDPOST_TAGGING_MIN_GAP_SECONDS: '1' },
    broker: 'embedded',
    models: [model],
    skipped: [{ model: 'other', reason: 'there is no such model' }],
  });
  for (const part of [
    /SOUNDPOST_TAGGING_MIN_GAP_SECONDS=1/,
    /\| all \| all \| 1 of 2 \(50 %\) \| 0 \| 1 \| 0\.20 \/ 0\.20 s \| \+0\.20 \| 0\.10 \/ 0\.10 s \| −0\.10 \| 0 \|/,
    /\| 2 s \| all \| 0 of 1 \(0 %\) \| 0 \| {2}\| {2}\| {2}\| {2}\| {2}\| 0 \|/,
    /\| 2 Hz \| 3 \| 0\.90 s \| 1\.50 s \|/,
    /\| frames used \| 2\.0 \| 7\.5 \| 5\.5 \|/,
    /\| onset error, median \| 0\.25 s \| 0\.20 s \| pass \|/,
    /\| delay at 2 Hz, p50 \| 0\.8 s \| 0\.90 s \| miss \|/,
    /Cat \(noise\) 1×/,
    /other: left out, there is no such model/,
  ]) {
    test.match(text, part);
  }
  test.end();
});
