import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { CommandData } from '../../src/mqtt/command-specs.js';
import {
  epochMs,
  isoTime,
  type EventPayload,
  type StatePayload,
  type TagsPayload,
} from '../../src/mqtt/contract.js';
import { pinkNoise } from '../../tools/events/noise.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { filesBelow, soundIn } from '../support/clips.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createRandom, type Random } from '../support/random.js';
import { writeWav, type Console, type Settings } from '../support/service.js';
import { looped, start, stopsCleanly, type Started } from '../support/service-rig.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel, tone, waveformTonesHz, WAVEFORM_RATE } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* A door chime is taught to the running service with its own model, heard again, and forgotten. */

const skip = skipWithout('mosquitto');
const noFfmpeg = skipWithout('mosquitto', 'ffmpeg');
const RATE = 32_000;
const NAME = 'Our doorbell';
const ROOM_RMS = 0.001;
/** A chime of 2.2 s, and the room around it. */
const LOOP_SECONDS = 7;
const CHIME_SECONDS = 1.5;

let broker: Mosquitto | undefined;
t.before(async () => {
  if (skip === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

type Example = CommandData<'learn/example'>;
type Learnt = CommandData<'learn/finish'>;
type List = CommandData<'learn/list'>;

const room = (seconds: number, random: Random): Float32Array =>
  pinkNoise(seconds * RATE, random).map((value) => ROOM_RMS * value);

/** Partials of a bell: multiples of its frequency with their amplitudes; the higher, the sooner they have died away. */
const PARTIALS = [
  [1, 1],
  [2, 0.35],
  [2.76, 0.3],
  [5.4, 0.12],
] as const;

function addBell(out: Float32Array, atSeconds: number, hz: number): void {
  for (let i = 0; i < 1.6 * RATE; i += 1) {
    const at = i / RATE;
    const fade = Math.min(1, at / 0.004, (1.6 - at) / 0.01);
    for (const [multiple, amplitude] of PARTIALS) {
      const decay = Math.exp((-at * Math.sqrt(multiple)) / 0.45);
      out[Math.round(atSeconds * RATE) + i]! +=
        0.1 * amplitude * fade * decay * Math.sin(2 * Math.PI * hz * multiple * at);
    }
  }
}

/** The chime in a room, once in the loop. */
function chimes(): Float32Array {
  const random = createRandom(11);
  const out = room(LOOP_SECONDS, random);
  for (const [atSeconds, hz] of [
    [0, 659],
    [0.6, 523],
  ] as const) {
    addBell(out, CHIME_SECONDS + atSeconds, hz);
  }
  return out;
}

const settings: Settings = {
  ...looped,
  MODEL_ID: 'soundpost-home',
  INFERENCE_RATE_HZ: '2',
  // What was taught is watched besides.
  TAGGING_LABELS: '["Speech"]',
};

/** The sound lies outside of the data folder, of which every file is looked at. */
async function hear(t: Test, samples: Float32Array, more: Settings = {}): Promise<Started> {
  const path = join(temporaryFolder(t), 'sound.wav');
  await writeWav(path, samples, RATE);
  return start(t, broker!.url, { ...settings, AUDIO_FILE: path, ...more });
}

async function data<T>(console: Console, command: string, input: object = {}): Promise<T> {
  const reply = await console.request(command, input);
  if (reply.status !== 'ok') throw new Error(`${command}: ${reply.error?.code}: ${reply.error?.message}`);
  return reply.data as T;
}

const atWork = (console: Console) =>
  until(async () => (await data<List>(console, 'learn/list')).can_learn, 'a model at work', 120, 300);

const refused = async (t: Test, console: Console, command: string, input: object, error: object) => {
  t.match(await console.request(command, input), { status: 'error', error }, JSON.stringify(input));
};

/** So much sound has been heard. */
async function heardFor(console: Console, seconds: number): Promise<void> {
  const ends = () => console.all<TagsPayload>('tags').map(({ window }) => epochMs(window.end));
  const from = ends().at(-1) ?? (await console.on<TagsPayload>('tags', () => true), ends().at(-1)!);
  await until(() => ends().at(-1)! >= from + seconds * 1000, `${seconds} s of sound`, 60 + seconds);
}

async function teach(console: Console, name: string): Promise<{ examples: Example[]; learnt: Learnt }> {
  const examples: Example[] = [];
  for (let n = 0; n < 3; n += 1) {
    await heardFor(console, LOOP_SECONDS + 3);
    examples.push(await data<Example>(console, 'learn/example', { name }));
  }
  return { examples, learnt: await data<Learnt>(console, 'learn/finish', { name }) };
}

/** Sounds of this name that have begun since then. */
const startsOf = (console: Console, name: string) =>
  console.all<EventPayload>('event').filter((each) => each.event_type === 'started' && each.label === name);

t.test('a chime is taught, found, found after a restart, and forgotten', { skip }, async (t) => {
  const homeAssistant = await createProbe(broker!.url, ['homeassistant/#']);
  t.teardown(() => homeAssistant.close());
  const isDescribed = () => homeAssistant.messages.at(-1)?.text.includes('label/our_doorbell') === true;
  const started = await hear(t, chimes(), { HOMEASSISTANT_ENABLED: 'true' });
  const { console } = started;
  await atWork(console);
  await refused(t, console, 'learn/example', { name: NAME }, { code: 'learn_unknown' });
  await refused(t, console, 'learn/begin', { name: 'doorBELL' }, { code: 'learn_exists' });
  const begun = await data<CommandData<'learn/begin'>>(console, 'learn/begin', { name: NAME });
  t.match(begun, { name: NAME, examples: 0, missing: 3 });
  await refused(t, console, 'learn/finish', { name: NAME }, { code: 'learn_too_few', message: /at least 3/ });

  const { examples, learnt } = await teach(console, NAME);
  for (const example of examples) {
    t.ok(example.seconds > 1 && example.seconds < 3.5, `a chime and its end: ${example.seconds} s`);
    t.equal(example.clip, null, 'no sound is kept');
  }
  t.match(learnt, { name: NAME, slug: 'our_doorbell', state: 'at_work', why: null, examples: 3 });
  t.match(learnt.quality, { found: 3, of: 3 });
  await until(() => startsOf(console, NAME).length >= 2, 'the chime, twice', 60);
  await console.word('label/our_doorbell', (text) => text === 'ON');
  await console.word('label/our_doorbell', (text) => text === 'OFF');
  t.ok(
    console
      .all<TagsPayload>('tags')
      .some(({ now }) => now.some(({ label, mid }) => label === NAME && mid === null)),
    'it is among the tags',
  );

  await until(isDescribed, 'Home Assistant to be told', 20);
  await refused(t, console, 'learn/begin', { name: 'our doorbell' }, { code: 'learn_exists' });
  const [kept] = (await data<CommandData<'history'>>(console, 'history', { label: NAME })).events;
  t.match(kept, { label: NAME, mid: null, group: null });
  const suggested = await data<CommandData<'thresholds/suggest'>>(console, 'thresholds/suggest', {
    label: NAME,
  });
  t.match(suggested.suggestions, [{ label: NAME, slug: 'our_doorbell', threshold: learnt.threshold }]);
  const chosen = await data<CommandData<'labels/set'>>(console, 'labels/set', { labels: ['Dog'] });
  t.match(
    chosen.labels.map(({ name }) => name),
    ['Dog', NAME],
    'it stays watched whatever else is chosen',
  );
  const grouped = [{ name: 'Door', labels: [NAME, 'Knock'] }];
  t.match(await console.request('labels/set', { labels: grouped }), { status: 'ok', data: { unknown: [] } });
  t.match(await console.request('threshold/set', { value: 0.99, label: 'OUR DOORBELL' }), {
    data: { label: NAME, threshold: 0.99 },
  });
  t.match(await console.request('threshold/set', { value: null, label: NAME }), { status: 'ok' });

  await console.request('model/set', { id: 'tone-waveform' });
  t.match((await data<List>(console, 'learn/list')).learnt, [{ name: NAME, state: 'cannot' }]);
  t.ok(isDescribed(), 'Home Assistant keeps it meanwhile');
  await until(
    () => started.service.lines.some(({ code }) => code === 'learnt_not_at_work'),
    'a word about it',
    20,
  );
  await console.request('model/set', { id: 'soundpost-home' });
  t.match((await data<List>(console, 'learn/list')).learnt, [{ name: NAME, state: 'at_work' }]);
  await stopsCleanly(t, started);

  const next = await started.again();
  await atWork(next.console);
  t.match((await data<List>(next.console, 'learn/list')).learnt, [{ ...learnt, state: 'at_work' }]);
  const before = startsOf(next.console, NAME).length;
  await until(() => startsOf(next.console, NAME).length > before, 'the chime, after a restart', 60);
  t.match(await next.console.request('learn/remove', { name: 'our_doorbell' }), { data: { name: NAME } });
  const heard = startsOf(next.console, NAME).length;
  await heardFor(next.console, LOOP_SECONDS + 2);
  t.equal(startsOf(next.console, NAME).length, heard, 'it is not heard any more');
  t.equal(next.console.texts('label/our_doorbell').at(-1), 'OFF');
  await until(() => !isDescribed(), 'Home Assistant to be told', 60);
  t.match(await data<List>(next.console, 'learn/list'), { learnt: [], begun: [] });
  await refused(t, next.console, 'learn/remove', { name: NAME }, { code: 'learn_unknown' });
  t.notOk(existsSync(join(next.dataDir, 'learnt', 'our_doorbell.json')));
  await stopsCleanly(t, next);
});

t.test('what is no example is told precisely', { skip }, async (t) => {
  const started = await hear(t, chimes());
  const { console } = started;
  await atWork(console);
  await console.request('learn/begin', { name: NAME });
  await heardFor(console, LOOP_SECONDS + 4);
  const first = await data<Example>(console, 'learn/example', { name: NAME });
  const behind = (ms: number) => isoTime(epochMs(first.to!) + ms);
  const quiet = { name: NAME, from: behind(1000), to: behind(2200) };
  await until(() => Date.now() > epochMs(quiet.to) + 1000, 'the quiet after it', 20);
  await refused(t, console, 'learn/example', quiet, { code: 'learn_silent' });
  const long = { name: NAME, from: behind(-40_000), to: behind(0) };
  await refused(t, console, 'learn/example', long, { code: 'invalid_request' });
  const both = { name: NAME, seconds_ago: 3, clip: '0'.repeat(32) };
  await refused(t, console, 'learn/example', both, { code: 'invalid_request' });
  await refused(t, console, 'learn/example', { name: NAME, source: 'attic' }, { code: 'source_unknown' });
  await refused(t, console, 'learn/example', { name: NAME, clip: '0'.repeat(32) }, { code: 'clip_unknown' });
  const again = { name: NAME, from: first.from!, to: first.to! };
  t.match(await data<Example>(console, 'learn/example', again), { examples: 2, missing: 1 });
  await refused(t, console, 'learn/finish', { name: NAME }, { code: 'learn_too_few' });
  await console.set('paused/set', 'ON');
  await refused(t, console, 'learn/example', { name: NAME }, { code: 'learn_not_heard' });
  t.match(await data<List>(console, 'learn/list'), { learnt: [], begun: [{ name: NAME, examples: 2 }] });
  t.match(await console.request('learn/remove', { name: NAME }), { status: 'ok' });
  t.match(await data<List>(console, 'learn/list'), { learnt: [], begun: [] });
  await stopsCleanly(t, started);
});

t.test('where the sound of events is kept, that of examples is as well', { skip: noFfmpeg }, async (t) => {
  const more = { CLIPS_ENABLED: 'true', CLIPS_SPEECH: 'keep', CLIPS_AFTER_SECONDS: '0.5' };
  const started = await hear(t, chimes(), more);
  const { console } = started;
  await atWork(console);
  await console.request('learn/begin', { name: NAME });
  await heardFor(console, LOOP_SECONDS + 4);
  const example = await data<Example>(console, 'learn/example', { name: NAME });
  t.match(example.clip, /^[0-9a-f]{32}$/);
  type Clip = CommandData<'clip'>;
  await until(
    async () => (await console.request('clip', { id: example.clip })).status === 'ok',
    'the clip',
    30,
    200,
  );
  const clip = await data<Clip>(console, 'clip', { id: example.clip });
  t.equal(clip.label, NAME);
  t.ok(clip.clip_started_at < example.from! && clip.clip_ended_at > example.to!, 'it holds the example');
  const again = await data<Example>(console, 'learn/example', { name: NAME, clip: example.clip });
  t.match(again, { examples: 2, clip: example.clip, from: null });
  t.ok(Math.abs(again.seconds - example.seconds) < 0.5, `the same sound: ${again.seconds} s`);
  await data<Example>(console, 'learn/example', { name: NAME, clip: example.clip });
  t.match(await data<Learnt>(console, 'learn/finish', { name: NAME }), { state: 'at_work', clips: 3 });
  await stopsCleanly(t, started);
});

t.test('of what is heard day in, day out no sound is kept', { skip }, async (t) => {
  const sound = chimes();
  const started = await hear(t, sound);
  const { console, dataDir } = started;
  await atWork(console);
  await console.request('learn/begin', { name: NAME });
  await heardFor(console, 12);
  await data<Example>(console, 'learn/example', { name: NAME });
  await console.request('learn/remove', { name: NAME });
  await heardFor(console, 16);
  await stopsCleanly(t, started);

  const files = filesBelow(dataDir);
  const background = [...files].filter(([path]) => path.startsWith('background/'));
  t.equal(background.length, 1, 'embeddings were kept');
  const seconds = 40;
  const most = (seconds / 5) * (7 * 400 + 200);
  t.ok(background[0]![1].length < most, 'and far fewer numbers than there are samples');
  const samples = Int16Array.from(sound, (value) => Math.round(value * 32_767));
  t.strictSame(soundIn(dataDir, samples), []);

  const next = await started.again({ LEARN_BACKGROUND: 'false' });
  await atWork(next.console);
  t.match(await data<List>(next.console, 'learn/list'), { background: { kept: false, bytes: 0 } });
  await heardFor(next.console, 7);
  await stopsCleanly(t, next);
  t.strictSame(readdirSync(join(dataDir, 'background')), [], 'switched off, nothing is left of it');
});

/** Two tones at once, which no label of the tone detector stands for, in a quiet room. */
function chords(): Float32Array {
  const random = createRandom(5);
  const out = pinkNoise(LOOP_SECONDS * WAVEFORM_RATE, random).map((value) => ROOM_RMS * value);
  const add = (hz: number, atSeconds: number, seconds: number) =>
    tone(hz, seconds, WAVEFORM_RATE, 0.25).forEach(
      (sample, n) => (out[Math.round(atSeconds * WAVEFORM_RATE) + n]! += sample),
    );
  const [first, , third] = waveformTonesHz(3);
  for (const hz of [first!, third!]) add(hz, 1.5, 1.5);
  return out;
}

t.test(
  'teaching that has begun goes on behind a kill, with the examples that were given',
  { skip },
  async (t) => {
    const state = (console: Console) => console.all<StatePayload>('state').at(-1)?.learning;
    const started = await hear(t, chimes());
    await atWork(started.console);
    await data(started.console, 'learn/begin', { name: NAME });
    await heardFor(started.console, LOOP_SECONDS + 3);
    const first = await data<Example>(started.console, 'learn/example');
    t.match(first, { name: NAME, examples: 1 }, 'the only sound that is being taught need not be named');
    t.equal(first.persisted, undefined, 'on the disk');
    await until(() => state(started.console)?.join() === NAME, 'the state to say so', 10);
    const sound = Int16Array.from(chimes(), (value) => Math.round(value * 32_767));
    started.service.signal('SIGKILL');
    await started.service.exited;
    t.ok(existsSync(join(started.dataDir, 'learnt', 'our_doorbell.begun.json')));
    t.strictSame(soundIn(started.dataDir, sound), [], 'no sound of it is kept');

    const killedMs = Date.now();
    const next = await started.again();
    await atWork(next.console);
    // What the killed service said last still lies at the broker.
    await next.console.on<TagsPayload>('tags', ({ window }) => epochMs(window.end) > killedMs);
    t.match((await data<List>(next.console, 'learn/list')).begun, [{ name: NAME, examples: 1, missing: 2 }]);
    for (const examples of [2, 3]) {
      await heardFor(next.console, LOOP_SECONDS + 3);
      t.match(await data<Example>(next.console, 'learn/example', { name: NAME }), { examples });
    }
    const learnt = await data<Learnt>(next.console, 'learn/finish', { name: NAME });
    t.match(learnt, { state: 'at_work', examples: 3, quality: { found: 3, of: 3 } });
    await until(() => state(next.console)?.length === 0, 'the state to say so', 10);
    await until(
      () => readdirSync(join(next.dataDir, 'learnt')).join() === 'our_doorbell.json',
      'what was begun to go with it',
      10,
    );
    await stopsCleanly(t, next);
  },
);

t.test(
  'a model with an embedding of the window alone is taught, recognises and forgets',
  { skip },
  async (t) => {
    const path = join(temporaryFolder(t), 'sound.wav');
    await writeWav(path, chords(), WAVEFORM_RATE);
    const started = await start(
      t,
      broker!.url,
      { ...settings, AUDIO_FILE: path, MODEL_ID: 'windows', TAGGING_LABELS: '["Tone 1"]' },
      async (dataDir) => {
        const { folder } = await installToneModel(dataDir, 'waveform', { id: 'windows' });
        const file = join(folder, 'model.json');
        const manifest = JSON.parse(readFileSync(file, 'utf8')) as { output: { embedding: string | null } };
        // Any output will do for an embedding: this one knows the three tones.
        manifest.output.embedding = 'scores';
        writeFileSync(file, JSON.stringify(manifest));
      },
    );
    const { console } = started;
    await atWork(console);
    await data(console, 'learn/begin', { name: NAME });
    const { examples, learnt } = await teach(console, NAME);
    for (const { seconds } of examples) t.ok(seconds > 1 && seconds < 2.5, `the chord: ${seconds} s`);
    t.match(learnt, { name: NAME, slug: 'our_doorbell', state: 'at_work', examples: 3, model: 'windows' });
    await until(() => startsOf(console, NAME).length >= 2, 'the chord, twice', 60);
    await console.word('label/our_doorbell', (text) => text === 'ON');
    await console.word('label/our_doorbell', (text) => text === 'OFF');
    t.match(await console.request('learn/remove', { name: NAME }), { status: 'ok' });
    const heard = startsOf(console, NAME).length;
    await heardFor(console, LOOP_SECONDS + 2);
    t.equal(startsOf(console, NAME).length, heard, 'it is not heard any more');
    t.match(await data<List>(console, 'learn/list'), { can_learn: true, learnt: [], begun: [] });
    await stopsCleanly(t, started);
  },
);

t.test(
  'a model without any embedding says that it cannot be taught, and which could',
  { skip },
  async (t) => {
    const path = join(temporaryFolder(t), 'sound.wav');
    await writeWav(path, chords(), WAVEFORM_RATE);
    const more = { AUDIO_FILE: path, MODEL_ID: 'tone-waveform', TAGGING_LABELS: '["Tone 1"]' };
    const started = await start(t, broker!.url, { ...settings, ...more });
    const { console, dataDir } = started;
    await console.on<TagsPayload>('tags', () => true);
    const message =
      /^The model tone-waveform gives no embedding .* Choose a model that does, such as soundpost-home\.$/;
    await refused(t, console, 'learn/begin', { name: NAME }, { code: 'no_embedding', message });
    for (const command of ['learn/example', 'learn/finish']) {
      await refused(t, console, command, { name: NAME }, { code: 'no_embedding', message });
    }
    t.match(await data<List>(console, 'learn/list'), {
      can_learn: false,
      why: message,
      learnt: [],
      begun: [],
    });
    await heardFor(console, 6);
    t.strictSame(
      [...filesBelow(dataDir).keys()].filter((file) => /^(background|learnt)\//.test(file)),
      [],
      'nothing is kept for it',
    );
    await stopsCleanly(t, started);
  },
);
