import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import type { CommandData } from '../../src/mqtt/command-specs.js';
import { epochMs, type EventPayload } from '../../src/mqtt/contract.js';
import { replyExamples } from '../../tools/docs/mqtt/examples.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { decodeFlac, toneIn } from '../support/clip-sound.js';
import { filesBelow, patternAt, soundIn } from '../support/clips.js';
import { descendants, writeWav, type Console, type Settings } from '../support/service.js';
import { looped, pagePort, start, stopsCleanly, withPage, type Started } from '../support/service-rig.js';
import { temporaryFolder } from '../support/temporary.js';
import {
  installToneModel,
  labelNames,
  logMelTonesHz,
  tone,
  waveformTonesHz,
} from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';
import { readFeed } from '../support/web.js';

/* The sound of events, in files: what the running service keeps, and what it never does. */

const skip = skipWithout('mosquitto', 'ffmpeg');
const RATE = 16_000;
const [DOG_HZ, SPEECH_HZ] = waveformTonesHz(3) as [number, number];

let broker: Mosquitto | undefined;
t.before(async () => {
  if (skip === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

type Clip = CommandData<'clip'>;
type Page = CommandData<'clip/list'>;

/** A model that tells tones frame by frame, and calls them so. */
const models =
  (names: readonly string[] = labelNames(3)) =>
  async (dataDir: string): Promise<void> => {
    const { folder } = await installToneModel(dataDir, 'waveform', {
      id: 'framed',
      frames: { hop_seconds: 0.1 },
    });
    const labels = names.map((name, index) => ({ index, name, mid: null }));
    writeFileSync(join(folder, 'labels.json'), JSON.stringify(labels));
  };

/** Two seconds of room, a second and a half of the dog, two and a half seconds of room. */
function barks(): Float32Array {
  const samples = tone(3100, 6, RATE, 0.01);
  samples.set(tone(DOG_HZ, 1.5, RATE, 0.3), 2 * RATE);
  return samples;
}

/** The sound lies outside of the data folder, of which every file is looked at. */
function recordingOf(t: Test, samples: Float32Array): Promise<string> {
  const path = join(temporaryFolder(t), 'sound.wav');
  return writeWav(path, samples, RATE).then(() => path);
}

const hearing = (path: string): Settings => ({
  ...looped,
  AUDIO_FILE: path,
  MODEL_ID: 'framed',
  INFERENCE_RATE_HZ: '4',
  TAGGING_MIN_GAP_SECONDS: '0',
});
const clipping: Settings = {
  CLIPS_ENABLED: 'true',
  CLIPS_BEFORE_SECONDS: '0.5',
  CLIPS_AFTER_SECONDS: '0.5',
};

const endedOf = (console: Console) =>
  console.all<EventPayload>('event').filter(({ event_type: type }) => type === 'ended');
const list = async (console: Console, request: object = {}) =>
  (await console.request('clip/list', request)).data as unknown as Page;
/** The clips, once there are so many. */
async function clips(console: Console, count: number): Promise<Page['clips']> {
  let page: Page | undefined;
  await until(
    async () => (page = await list(console)).total >= count,
    () => `${count} clips; there are ${page?.total}`,
    60,
    200,
  );
  return page!.clips;
}
const codes = ({ service }: Started, code: string) => service.lines.filter((line) => line.code === code);

t.test('a clip holds the sound of its event, where it should be', { skip }, async (t) => {
  const whole = barks();
  const path = await recordingOf(t, whole);
  const settings = { ...hearing(path), ...clipping, CLIPS_SPEECH: 'keep', TAGGING_LABELS: '["Tone 0"]' };
  const started = await start(t, broker!.url, settings, models());
  const { console, dataDir } = started;
  await clips(console, 3);
  await console.set('paused/set', 'ON');
  // From the second on: the first may have been heard from its middle.
  const event = endedOf(console)[1]!;
  t.match(event.clip, /^[0-9a-f]{32}$/, 'the event names it');
  t.notOk(console.all<EventPayload>('event').some((each) => each.event_type === 'started' && 'clip' in each));
  await until(async () => (await console.request('clip', { id: event.clip })).status === 'ok', 'it', 30);
  const clip = (await console.request('clip', { id: event.clip })).data as unknown as Clip;
  t.match(clip, {
    event: event.id,
    label: 'Tone 0',
    source: 'main',
    started_at: event.started_at,
    ended_at: event.ended_at,
    sample_rate_hz: RATE,
    url: null,
    path: join(dataDir, 'clips', clip.clip_started_at.slice(0, 10), `${clip.id}.flac`),
  });
  const samples = decodeFlac(clip.path);
  t.equal(samples.length, clip.samples);
  t.equal(clip.seconds, samples.length / RATE);
  const before = (epochMs(event.started_at) - epochMs(clip.clip_started_at)) / 1000;
  t.ok(Math.abs(before - 0.5) < 0.01, `half a second before it: ${before}`);
  const heard = toneIn(samples, DOG_HZ, RATE, 0.1)!;
  // The model tells onsets to a tenth of a second.
  t.ok(Math.abs(heard.from - 0.5) < 0.15, `it begins at ${heard.from}`);
  t.ok(Math.abs(heard.to - heard.from - 1.5) < 0.05, `and lasts from there until ${heard.to}`);
  t.ok(samples.length / RATE - heard.to > 0.35, 'with something behind it');

  const rounded = Int16Array.from(whole, (value) => Math.round(value * 32_767));
  const offset = (at: number) =>
    samples.every((value, n) => Math.abs(value - rounded[(at + n) % rounded.length]!) <= 1);
  const begin = Math.round((2 - heard.from) * RATE);
  const found = Array.from({ length: RATE / 5 }, (_, n) => begin - RATE / 10 + n).find(offset);
  t.type(found, 'number', 'each sample as it was heard');

  const { total } = await list(console);
  t.match(await console.request('clip/delete', { id: clip.id }), { status: 'ok', data: { deleted: 1 } });
  t.notOk(existsSync(clip.path));
  t.match(await console.request('clip', { id: clip.id }), { error: { code: 'clip_unknown' } });
  t.match(await console.request('clip/delete', { id: clip.id }), { error: { code: 'clip_unknown' } });
  t.match(await console.request('clip', { id: '../../state' }), { error: { code: 'invalid_request' } });
  t.equal((await list(console)).total, total - 1);
  // A pause keeps what was heard before it: nothing more comes meanwhile.
  const kept = (await list(console)).clips;
  const limit = kept.at(-2)!;
  const older = kept.filter((each) => each.clip_started_at < limit.clip_started_at);
  t.match(await console.request('clip/delete', { before: limit.clip_started_at }), {
    status: 'ok',
    data: { deleted: older.length },
  });
  t.same(
    (await list(console)).clips.map(({ id }) => id),
    kept.filter((each) => !older.includes(each)).map(({ id }) => id),
    'those from then on are left',
  );
  const both = { before: limit.clip_started_at, all: true };
  t.match(await console.request('clip/delete', both), { error: { code: 'invalid_request' } });
  t.match(await console.request('clip/delete', { all: true }), { status: 'ok' });
  t.strictSame(await list(console), { clips: [], cursor: null, total: 0, bytes: 0 });
  t.notOk([...filesBelow(dataDir).keys()].some((name) => name.endsWith('.flac')));
  await stopsCleanly(t, started);
});

t.test('only what the settings name, and no more than there is room for', { skip }, async (t) => {
  const samples = tone(3100, 6, RATE, 0.01);
  samples.set(tone(DOG_HZ, 1, RATE, 0.3), RATE);
  samples.set(tone(SPEECH_HZ, 1, RATE, 0.3), 3 * RATE);
  const path = await recordingOf(t, samples);
  const settings = {
    ...hearing(path),
    ...clipping,
    CLIPS_SPEECH: 'keep',
    CLIPS_LABELS: '["pair"]',
    CLIPS_MAX_MB: '10',
    TAGGING_LABELS: '["Tone 0",{"name":"Pair","labels":["Tone 1","Tone 2"]}]',
  };
  const old = ['1', '2', '3'].map((digit) => digit.repeat(32));
  const started = await start(t, broker!.url, settings, async (dataDir) => {
    await models()(dataDir);
    // An earlier life had more room.
    for (const [hour, id] of old.entries()) await writeOldClip(dataDir, id, hour, 3_999_000);
  });
  const { console } = started;
  const kept = await (async () => {
    await until(async () => (await list(console)).clips.some(({ group }) => group === 'Pair'), 'a clip', 60);
    return list(console);
  })();
  t.notOk(
    kept.clips.some(({ id }) => id === old[0]),
    'the oldest has gone',
  );
  t.ok(kept.clips.some(({ id }) => id === old[2]));
  t.ok(kept.bytes <= 10_000_000, `${kept.bytes}`);
  t.ok(kept.clips.every(({ label, id }) => old.includes(id) || label !== 'Tone 0'));
  await until(() => endedOf(console).some(({ label }) => label === 'Tone 0'), 'the other one', 30);
  t.ok(endedOf(console).every(({ group, clip }) => (group === 'Pair') === (clip !== undefined)));
  await stopsCleanly(t, started);
});

/** A clip as an earlier life has left it. */
async function writeOldClip(dataDir: string, id: string, hour: number, bytes: number): Promise<void> {
  const now = new Date(Date.now() - 24 * 3_600_000 + hour * 3_600_000).toISOString();
  const folder = join(dataDir, 'clips', now.slice(0, 10));
  await mkdir(folder, { recursive: true });
  writeFileSync(join(folder, `${id}.flac`), Buffer.alloc(bytes, 1));
  const note = { ...replyExamples.clip, id, clip_started_at: now, clip_ended_at: now };
  writeFileSync(join(folder, `${id}.json`), JSON.stringify(note));
}

t.test('a model that knows no speech keeps nothing, and says so once', { skip }, async (t) => {
  const path = await recordingOf(t, barks());
  const settings = { ...hearing(path), ...clipping, TAGGING_LABELS: '["Tone 0"]' };
  const started = await start(t, broker!.url, settings, models());
  const { console, dataDir } = started;
  await until(() => endedOf(console).length >= 3, 'three sounds', 60);
  t.ok(endedOf(console).every(({ clip }) => clip === undefined));
  t.equal((await list(console)).total, 0);
  t.equal(codes(started, 'clips_without_speech_label').length, 1);
  await stopsCleanly(t, started);
  t.notOk(existsSync(join(dataDir, 'clips')));
});

t.test('where somebody speaks, no clip is kept', { skip }, async (t) => {
  const samples = tone(3100, 10, RATE, 0.01);
  const put = (hz: number, from: number, to: number, amplitude: number) => {
    const sound = tone(hz, to - from, RATE, amplitude);
    for (const [n, value] of sound.entries()) samples[from * RATE + n]! += value;
  };
  put(DOG_HZ, 2, 3, 0.3);
  put(DOG_HZ, 6, 8, 0.3);
  // In the middle of the second one, at a score (about 0.3) that starts no event of its own.
  put(SPEECH_HZ, 6.6, 7.4, 0.085);
  const path = await recordingOf(t, samples);
  const settings = {
    ...hearing(path),
    ...clipping,
    TAGGING_LABELS: '["Dog"]',
    TAGGING_THRESHOLDS: '{"Speech":0.2}',
  };
  const started = await start(t, broker!.url, settings, models(['Dog', 'Speech', 'Other']));
  const { console, dataDir } = started;
  await until(() => endedOf(console).length >= 5, 'five sounds', 90);
  await console.set('paused/set', 'ON');
  const long = endedOf(console).filter(({ duration_s: seconds }) => seconds! > 1.5);
  const short = endedOf(console)
    .slice(1)
    .filter(({ duration_s: seconds }) => seconds! < 1.3);
  t.ok(long.length >= 2 && short.length >= 1, `${long.length} with words in them, ${short.length} without`);
  const kept = await clips(console, 1);
  t.ok(
    kept.every(({ event }) => !long.some(({ id }) => id === event)),
    'none of those with words',
  );
  t.ok(
    kept.some(({ event }) => short.some(({ id }) => id === event)),
    'and those without',
  );
  for (const { id, clip_started_at: at } of kept) {
    const sound = decodeFlac(join(dataDir, 'clips', at.slice(0, 10), `${id}.flac`));
    t.equal(toneIn(sound, SPEECH_HZ, RATE, 0.04), null, 'no word is in a file');
  }
  t.match(await console.request('clip', { id: long[0]!.clip ?? '0'.repeat(32) }), {
    error: { code: 'clip_unknown' },
  });
  await stopsCleanly(t, started);
});

/** Noise in which each few samples stand nowhere else, and the tone of the dog in half of it: int16. */
function fingerprint(seconds: number): Int16Array {
  const dog = tone(logMelTonesHz(3)[0]!, seconds / 2, RATE, 0.3);
  return Int16Array.from(
    { length: seconds * RATE },
    (_, n) => Math.round((dog[n] ?? 0) * 32_767) + (patternAt(n) >> 6),
  );
}

/** Plain files that processes have open for writing, by /proc. */
function openForWriting(pids: readonly number[]): string[] {
  return pids.flatMap((pid) => {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).flatMap((fd) => {
      try {
        const flags = Number.parseInt(
          /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))![1]!,
          8,
        );
        const file = readlinkSync(join(folder, fd));
        return (flags & 3) !== 0 && file.startsWith('/') && statSync(join(folder, fd)).isFile() ? [file] : [];
      } catch {
        return [];
      }
    });
  });
}

t.test('with clips off no sample of the sound reaches a file', { skip }, async (t) => {
  const samples = fingerprint(4);
  const path = join(temporaryFolder(t), 'sound.wav');
  await writeWav(
    path,
    Float32Array.from(samples, (value) => value / 32_767),
    RATE,
  );
  t.ok(soundIn(dirname(path), samples)[0]?.includes('stretches RIFF'), 'the search finds it where it is');
  const settings = {
    ...hearing(path),
    ...withPage,
    // One with a log-mel, so that there is a spectrogram to look at.
    MODEL_ID: 'tone-logmel',
    TAGGING_LABELS: '["Tone 0"]',
    TELEMETRY_INTERVAL_SECONDS: '1',
    LOG_LEVEL: 'debug',
  };

  const models = (folder: string) => installToneModel(folder, 'log_mel');
  const { service, console, dataDir } = await start(t, broker!.url, settings, models);
  const port = await pagePort(service);
  const feed = await readFeed(port);
  const picture = await readFeed(port, '/api/spectrogram?source=main');
  const look = async (when: string): Promise<void> => {
    t.strictSame(soundIn(dataDir, samples), [], when);
    const pids = [service.pid, ...(await descendants(service.pid)).map(({ pid }) => pid)];
    t.strictSame(
      openForWriting(pids).filter((file) => !file.startsWith(dataDir)),
      [],
      'and nothing is written elsewhere',
    );
  };
  for (let count = 1; count <= 4; count += 1) {
    await until(() => endedOf(console).length >= count, `${count} sounds`, 60);
    await look(`after ${count} sounds`);
  }
  t.ok(feed.events.some(({ name }) => name === 'event'));
  t.ok(picture.events.some(({ name }) => name === 'columns'));
  // What sounded cannot be packed into less than a third of its bytes: it is noise.
  const written = [...filesBelow(dataDir)]
    .filter(([name]) => !/^(models|optimized)\//.test(name))
    .reduce((sum, [, bytes]) => sum + bytes.length, 0);
  t.ok(written < 4 * RATE, `${written} bytes have been written while ${16 * RATE * 2} sounded`);
  t.notOk(existsSync(join(dataDir, 'clips')));
  feed.close();
  picture.close();
  service.signal('SIGKILL');
  await service.exited;
  t.strictSame(soundIn(dataDir, samples), [], 'after a kill');

  const next = await start(t, broker!.url, settings, models);
  await until(() => endedOf(next.console).length >= 1, 'a sound', 60);
  await stopsCleanly(t, next);
  t.strictSame(soundIn(next.dataDir, samples), [], 'after a stop');

  const loud = await start(t, broker!.url, { ...settings, ...clipping, CLIPS_SPEECH: 'keep' }, models);
  await clips(loud.console, 1);
  t.match(soundIn(loud.dataDir, samples), [/^clips\/.*fLaC/], 'with clips on the search finds the file');
  await stopsCleanly(t, loud);
});
