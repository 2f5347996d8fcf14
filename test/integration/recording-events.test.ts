import fc from 'fast-check';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { decodeFile } from '../../src/audio/decode.js';
import type { InferenceEngine } from '../../src/inference/engine.js';
import { Pipeline } from '../../src/inference/pipeline.js';
import type { WindowResult } from '../../src/inference/window-report.js';
import { framesOfRecording, type RecordingHop } from '../../src/inference/recording-frames.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { BUNDLED_MODEL } from '../../src/models/bundled.js';
import { createRegistry, type InstalledModel } from '../../src/models/registry.js';
import { epochMs, type EventPayload, type TagsPayload } from '../../src/mqtt/contract.js';
import { cli, cleanEnvironment } from '../support/cli.js';
import { writeWav } from '../support/service.js';
import { start } from '../support/service-rig.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

/*
 * The service and `soundpost tag --events` hear the same: the same windows, the same frames, the same events.
 */

const demo = projectPath('models', 'demo', 'day-at-home.wav');
const RATE = 32_000;
const startEngine = createStartEngine({ log: silentLogger });

async function bundled(t: Test): Promise<InstalledModel> {
  const registry = createRegistry({
    bundledFolder: projectPath('models'),
    dataDir: temporaryFolder(t),
    log: silentLogger,
  });
  return registry.get(BUNDLED_MODEL);
}

async function hopsOf(engine: InferenceEngine, path: string, rateHz: number): Promise<RecordingHop[]> {
  const hops: RecordingHop[] = [];
  const recording = framesOfRecording(engine, path, { rateHz, windowSeconds: null });
  for (let step = await recording.next(); step.done !== true; step = await recording.next()) {
    hops.push(step.value);
  }
  return hops;
}

/** What the pipeline of the service says of samples that come in such pieces. */
async function resultsOf(
  model: InstalledModel,
  samples: Float32Array,
  rateHz: number,
  pieces: readonly number[],
): Promise<WindowResult[]> {
  const results: WindowResult[] = [];
  const pipeline = new Pipeline({
    startEngine,
    fallback: model,
    rateHz,
    windowSeconds: null,
    threads: 1,
    keepSeconds: model.manifest.input.window_seconds,
    log: silentLogger,
    events: {
      result: (result) => results.push(result),
      modelChanged: () => undefined,
      engineLost: ({ reason }) => t.fail(reason),
      fellBack: ({ reason }) => t.fail(reason),
      stillOut: ({ reason }) => t.fail(reason),
      cameBack: () => undefined,
    },
  });
  try {
    await pipeline.start(model);
    pipeline.sources[0]!.begin(RATE, false);
    for (let at = 0, turn = 0; at < samples.length; turn += 1) {
      const to = Math.min(samples.length, at + pieces[turn % pieces.length]!);
      await pipeline.sources[0]!.chunk(samples.subarray(at, to), (to * 1000) / RATE);
      at = to;
    }
    await pipeline.idle();
  } finally {
    await pipeline.stop();
  }
  return results;
}

t.test('any chunks, any rate: the service is told the same frames as tag', async (t) => {
  const model = await bundled(t);
  const engine = await startEngine(model, { threads: 1 });
  t.teardown(() => engine.stop());
  const { samples: all } = await decodeFile(demo);
  // A dog, then speech.
  const samples = all.subarray(26 * RATE, 38 * RATE);
  const path = `${temporaryFolder(t)}/part.wav`;
  await writeWav(path, samples, RATE);
  // What the file holds: 16 bits.
  const { samples: heard } = await decodeFile(path);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(0.5, 0.7, 1, 2, 5),
      fc.array(fc.integer({ min: 400, max: 20_000 }), { minLength: 1, maxLength: 5 }),
      async (rateHz, pieces) => {
        const expected = await hopsOf(engine, path, rateHz);
        const results = await resultsOf(model, heard, rateHz, pieces);
        // The last hop of a recording has what the service would still wait for.
        t.equal(results.length, expected.length - 1, `${rateHz} Hz`);
        for (const [index, { fresh, scores }] of results.entries()) {
          const wanted = expected[index]!;
          t.strictSame(scores, wanted.scores);
          t.equal(fresh?.count, wanted.fresh?.count);
          if (fresh === null || wanted.fresh === null) continue;
          t.strictSame(fresh.values, wanted.fresh.values);
          t.equal(fresh.before, wanted.fresh.before);
          t.ok(Math.abs(fresh.startMs - wanted.fresh.startSeconds * 1000) < 0.01);
          t.ok(Math.abs(fresh.endMs - wanted.fresh.endSeconds * 1000) < 0.01);
        }
      },
    ),
    { numRuns: 8 },
  );
});

interface TaggedEvents {
  events: { label: string; onset_s: number; offset_s: number; peak: number }[];
}

t.test('the events on the broker are those of tag --events, with true times', async (t) => {
  const labels = JSON.stringify([
    'Dog',
    'Speech',
    'Meow',
    'Sneeze',
    'Doorbell',
    'Crowing, cock-a-doodle-doo',
  ]);
  const settings = { TAGGING_LABELS: labels, TAGGING_MIN_GAP_SECONDS: '1', INFERENCE_RATE_HZ: '2' };
  const env = Object.fromEntries(Object.entries(settings).map(([key, value]) => [`SOUNDPOST_${key}`, value]));
  const tagged = await cli(['tag', demo, '--events', '--json'], { env: cleanEnvironment(env) });
  t.equal(tagged.code, 0, tagged.stderr);
  const { events: expected } = JSON.parse(tagged.stdout) as TaggedEvents;
  t.ok(expected.length >= 6, `${expected.length} events`);

  const { console } = await start(t, null, {
    ...settings,
    MODEL_ID: BUNDLED_MODEL,
    AUDIO_SOURCE: 'file',
    AUDIO_FILE: demo,
    AUDIO_SPEED: 'max',
  });
  await console.word('audio/status', (text) => text === 'online');
  await console.word('audio/status', (text) => text === 'offline', 120_000);
  const tags = console.all<TagsPayload>('tags');
  // The window of number n ends n hops after the beginning of the recording; the first ones are as long as they can be.
  const { seq, window, now } = tags.at(-1)!;
  t.type(now, Array);
  const beganMs = epochMs(window.end) - seq * 500 - 500;
  const ended = console.all<EventPayload>('event').filter(({ event_type: type }) => type === 'ended');
  const secondsOf = (time: string | null) => (epochMs(time ?? '') - beganMs) / 1000;
  for (const { label, onset_s: onset, offset_s: offset, peak } of expected) {
    const same = ended.find(
      (event) => event.label === label && Math.abs(secondsOf(event.started_at) - onset) < 0.02,
    );
    t.ok(same, `${label} at ${onset} s`);
    if (same === undefined) continue;
    t.ok(Math.abs(secondsOf(same.ended_at) - offset) < 0.02, `until ${offset} s`);
    t.ok(Math.abs(same.peak - peak) < 1e-3);
    t.ok(epochMs(same.detected_at) >= epochMs(same.ended_at ?? ''), 'decided after it was over');
  }
  t.equal(ended.length, expected.length, 'and no others');
});
