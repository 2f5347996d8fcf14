import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { resampleWhole } from '../../src/audio/resample.js';
import { createClips, type ClipTuning, type Clips } from '../../src/clips/clips.js';
import type { DiscardReason } from '../../src/clips/cut-clip.js';
import { encodeFlac } from '../../src/clips/flac.js';
import type { ClipSettings } from '../../src/clips/settings.js';
import { clipId } from '../../src/common/rules.js';
import { clipSchema, clipSpecs, type Clip } from '../../src/mqtt/clip-specs.js';
import { bark, clipSettings, filesBelow, pattern, patternAt, warningsOf } from '../support/clips.js';
import { cannotMount, mountSmallDisk } from '../support/small-disk.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';
import { createWaiting, until } from '../support/waiting.js';

/* From the sound of a source to a file that others can play, with the real encoder, real children and real disks. */

const BEGIN_MS = Date.parse('2026-05-10T12:00:00.000Z');

/** The samples of a file, by ffmpeg. */
function decoded(path: string): Int16Array {
  const raw = execFileSync('ffmpeg', ['-v', 'error', '-xerror', '-i', path, '-f', 's16le', '-'], {
    maxBuffer: 1 << 28,
  });
  return new Int16Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
}

type Rig = ReturnType<typeof rig>;

/** Clips in a folder of their own, and what comes of them. */
function rig(
  t: { teardown(handler: () => Promise<void> | void): void },
  more: {
    settings?: Partial<ClipSettings>;
    tuning?: Partial<ClipTuning>;
    dataDir?: string;
    rate?: number;
    sources?: string[];
  } = {},
) {
  const dataDir = more.dataDir ?? temporaryFolder(t);
  const { rate = 16_000, sources = ['main'] } = more;
  const written: Clip[] = [];
  const discarded: { id: string; event: string; reason: DiscardReason }[] = [];
  const warnings: { code: string | undefined; message: string }[] = [];
  const waiting = createWaiting();
  const clips: Clips = createClips({
    dataDir,
    sources,
    settings: { ...clipSettings, ...more.settings },
    log: warningsOf(warnings),
    onWritten(clip) {
      written.push(clip);
      waiting.wake();
    },
    onDiscarded(each) {
      discarded.push(each);
      waiting.wake();
    },
    ...(more.tuning === undefined ? {} : { tuning: more.tuning }),
  });
  t.teardown(() => clips.stop());
  let position = 0;
  clips.modelChanged({ id: 'model', knowsSpeech: true });
  for (const source of sources) clips.begin(source, rate);
  const msAt = (at: number) => BEGIN_MS + (at * 1000) / rate;
  return {
    clips,
    folder: join(dataDir, 'clips'),
    dataDir,
    written,
    discarded,
    warnings,
    msAt,
    /** So many seconds of sound, which are looked at for speech and have none. */
    hear: (seconds: number, isSpeech = false) => {
      for (const end = position + seconds * rate; position < end;) {
        const count = Math.min(rate / 5, end - position);
        for (const source of sources) {
          clips.chunk(source, pattern(position, count), msAt(position + count));
          clips.scores(source, msAt(position), msAt(position + count), isSpeech);
        }
        position += count;
      }
    },
    /** An event from one second of the sound to another; the sound has to have come so far. */
    event: (id: string, from: number, to: number, source = 'main') => {
      const started = clips.started(bark(id, msAt(from * rate), { source }));
      return [started, clips.ended({ id, source, endedMs: msAt(to * rate), peak: 0.9 })];
    },
    until: (fits: () => boolean, what: string) =>
      waiting.until(fits, () => `${what}: ${JSON.stringify({ written, discarded, warnings })}`, 60),
  };
}

/** A clip that is on the disk. */
async function oneClip({ hear, event, until, written }: Rig): Promise<Clip> {
  const before = written.length;
  hear(5);
  event(`event ${before}`, 3, 4);
  hear(3);
  await until(() => written.length > before, 'a clip is written');
  return written.at(-1)!;
}

t.test('a FLAC file gives back every bit', { skip: skipWithout('ffmpeg') }, async (t) => {
  const path = join(temporaryFolder(t), 'sound.flac');
  const sounds = fc.oneof(
    fc.int16Array({ minLength: 1, maxLength: 9000 }),
    fc
      .tuple(fc.integer({ min: -32_768, max: 32_767 }), fc.integer({ min: 1, max: 20_000 }))
      .map(([value, length]) => new Int16Array(length).fill(value)),
  );
  await fc.assert(
    fc.asyncProperty(sounds, fc.constantFrom(8000, 16_000, 22_050, 31_999, 32_000), async (sound, rate) => {
      const file = await encodeFlac(sound, rate);
      writeFileSync(path, file);
      t.same(decoded(path), sound);
      const md5 = execFileSync('md5sum', { input: new Uint8Array(sound.buffer) });
      t.equal(
        file.subarray(26, 42).toString('hex'),
        md5.toString().slice(0, 32),
        'its MD5 is that of the sound',
      );
      t.equal(typeof globalThis.fetch, 'function');
    }),
    { numRuns: 25 },
  );
});

t.test(
  'an event becomes a file that holds its sound to the bit',
  { skip: skipWithout('ffmpeg') },
  async (t) => {
    const all = rig(t);
    const { clips, hear, event, written, until, folder, discarded } = all;
    hear(5);
    const ids = event('bark', 3, 4);
    hear(3);
    await until(() => written.length === 1, 'a clip is written');
    const [clip] = written as [Clip];
    t.same(ids, [clip.id, clip.id], 'the event names it, at both ends');
    t.ok(clipId.safeParse(clip.id).success);
    t.same(discarded, []);
    const found = (await clips.get(clip.id))!;
    t.equal(found.path, join(folder, '2026-05-10', `${clip.id}.flac`));
    t.same(found.clip, clip);
    t.match(clipSchema.parse(clip), {
      event: 'bark',
      label: 'Dog',
      mid: '/m/0bt9lr',
      group: null,
      source: 'main',
      peak: 0.9,
      started_at: '2026-05-10T12:00:03.000Z',
      ended_at: '2026-05-10T12:00:04.000Z',
      clip_started_at: '2026-05-10T12:00:01.000Z',
      clip_ended_at: '2026-05-10T12:00:06.000Z',
      seconds: 5,
      sample_rate_hz: 16_000,
      samples: 80_000,
    });
    t.same(
      decoded(found.path),
      Int16Array.from({ length: 80_000 }, (_, index) => patternAt(16_000 + index)),
    );
    const files = filesBelow(folder);
    t.same(
      [...files.keys()].sort(),
      ['flac', 'json'].map((ending) => join('2026-05-10', `${clip.id}.${ending}`)),
    );
    t.equal(
      [...files.values()].reduce((sum, { length }) => sum + length, 0),
      clip.bytes,
    );
    const note = files.get(join('2026-05-10', `${clip.id}.json`))!.toString();
    t.same({ ...(JSON.parse(note) as object), bytes: clip.bytes }, clip);
    for (const path of [folder, join(folder, '2026-05-10')]) t.equal(statSync(path).mode & 0o777, 0o700);
    t.equal(statSync(found.path).mode & 0o777, 0o600);

    await clips.stop();
    const next = rig(t, { dataDir: all.dataDir });
    t.same(
      await next.clips.list(),
      { clips: [clip], cursor: null, total: 1, bytes: clip.bytes },
      'the next start finds it',
    );
    t.ok(clipSpecs['clip/list'].result.safeParse(await next.clips.list()).success);
  },
);

t.test('sound of 48 kHz is kept at 32 kHz', { skip: skipWithout('ffmpeg') }, async (t) => {
  const all = rig(t, { rate: 48_000, settings: { beforeSeconds: 0, afterSeconds: 1 } });
  const clip = await oneClip(all);
  t.match(clip, { sample_rate_hz: 32_000, samples: 64_000, seconds: 2 });
  const { path } = (await all.clips.get(clip.id))!;
  const wanted = await resampleWhole(pattern(3 * 48_000, 2 * 48_000), 48_000, 32_000);
  const samples = decoded(path);
  t.equal(samples.length, 64_000);
  const off = samples.findIndex(
    (sample, index) => Math.abs(sample - Math.max(-32_768, Math.min(32_767, wanted[index]! * 32_768))) > 0.51,
  );
  t.equal(off, -1);
});

t.test('off is off: no sample of the sound is anywhere in the data folder', async (t) => {
  /** Whether 16 samples in a row of the sound are in a file, as integers or as floats. */
  const holdsSound = (file: Buffer): boolean => {
    for (let at = 0; at < 16_000 * 8; at += 16) {
      const ints = Int16Array.from({ length: 16 }, (_, index) => patternAt(at + index));
      const floats = pattern(at, 16);
      for (const { buffer } of [ints, floats]) if (file.includes(Buffer.from(buffer))) return true;
    }
    return false;
  };
  const off = rig(t, { settings: { enabled: false, speech: 'keep' } });
  const { clips, hear, event } = off;
  hear(5);
  t.same(event('bark', 3, 4), [null, null]);
  hear(3);
  clips.interrupt('main');
  await clips.stop();
  t.same(readdirSync(off.dataDir), [], 'not even a folder');
  t.match(clips.stats(), { clips: 0, bytes: 0, written: 0 });
  t.same((await clips.list()).clips, []);

  // What the same steps leave where clips are on: files, which this search would find if they were not encoded.
  const on = rig(t, { settings: { speech: 'keep' } });
  const clip = await oneClip(on);
  t.equal(filesBelow(on.dataDir).size, 2);
  const { path } = (await on.clips.get(clip.id))!;
  const raw = execFileSync('ffmpeg', ['-v', 'error', '-i', path, '-f', 's16le', '-']);
  t.ok(holdsSound(raw));
  t.notOk([...filesBelow(off.dataDir).values()].some(holdsSound));
});

t.test('turned off later, what was kept can still be found and deleted', async (t) => {
  const on = rig(t);
  const clip = await oneClip(on);
  await on.clips.stop();
  const off = rig(t, { dataDir: on.dataDir, settings: { enabled: false } });
  t.match(await off.clips.list(), { clips: [{ id: clip.id }] });
  await off.clips.delete(clip.id);
  t.equal(filesBelow(on.folder).size, 0);
  await t.rejects(off.clips.delete(clip.id), { code: 'clip_unknown' });
});

t.test('nothing with speech gets to the disk, nor what a model cannot judge', async (t) => {
  const all = rig(t);
  const { clips, hear, event, until, discarded, warnings, folder } = all;
  hear(2.8);
  hear(0.2, true);
  hear(2);
  const [id] = event('a', 3.5, 4);
  hear(3);
  await until(() => discarded.length === 1, 'the first is dropped');
  t.match(discarded, [{ id, event: 'a', reason: 'speech' }]);
  clips.modelChanged({ id: 'esc50', knowsSpeech: false });
  clips.modelChanged({ id: 'esc50', knowsSpeech: false });
  hear(5);
  t.same(event('b', 10, 11), [null, null]);
  t.match(warnings, [{ code: 'clips_without_speech_label', message: /esc50/ }]);
  t.equal(warnings.length, 1);
  t.notOk(existsSync(folder));
  t.match(clips.stats().discarded, { speech: 1, failed: 0 });
});

t.test('only what is asked for is kept, of the source that heard it', async (t) => {
  const all = rig(t, { settings: { labels: ['dog', '/m/07pp_mv', 'Alarm'] }, sources: ['yard', 'hall'] });
  const { clips, hear, msAt } = all;
  hear(5);
  const at = msAt(3 * 16_000);
  t.type(clips.started(bark('a', at, { source: 'yard' })), 'string');
  t.equal(clips.started(bark('b', at, { source: 'yard', label: 'Cat', mid: null })), null);
  t.type(
    clips.started(bark('c', at, { source: 'hall', label: 'Bell', group: 'alarm', mid: null })),
    'string',
  );
  t.type(clips.started(bark('d', at, { source: 'hall', label: 'Alarm clock', mid: '/m/07pp_mv' })), 'string');
  t.equal(clips.started(bark('e', at, { source: 'attic' })), null, 'there is no such source');
  for (const id of ['a', 'c', 'd']) {
    clips.ended({ id, source: id === 'a' ? 'yard' : 'hall', endedMs: at + 1000, peak: 0.9 });
  }
  hear(3);
  await all.until(() => all.written.length === 3, 'three clips');
  t.same(all.written.map(({ source, label }) => `${source} ${label}`).sort(), [
    'hall Alarm clock',
    'hall Bell',
    'yard Dog',
  ]);
});

t.test('deleting all takes along what is on its way, and the sound before', async (t) => {
  const all = rig(t);
  const { clips, hear, event, until, written, discarded, folder, msAt } = all;
  await oneClip(all);
  hear(5);
  for (const id of ['a', 'b', 'c']) event(id, 10, 11);
  clips.started(bark('on', msAt(12 * 16_000)));
  hear(1);
  // One is being written now, two wait for it, one is not over yet.
  t.equal(await clips.deleteAll(), 5);
  t.equal(filesBelow(folder).size, 0);
  t.same(discarded.map(({ event: id, reason }) => `${id} ${reason}`).sort(), [
    'a deleted',
    'b deleted',
    'c deleted',
    'on deleted',
  ]);
  hear(2);
  event('new', 14.5, 15);
  hear(3);
  await until(() => written.length === 2, 'a new clip');
  t.equal(written[1]!.clip_started_at, '2026-05-10T12:00:14.000Z', 'it begins with what came after');
  t.equal(await clips.forgetBefore(msAt(14 * 16_000)), 0);
  t.equal(await clips.forgetBefore(msAt(14 * 16_000) + 1), 1);
});

t.test('a full disk costs the clips of that time, with one warning', { skip: cannotMount() }, async (t) => {
  const disk = mountSmallDisk(t, '2m');
  const all = rig(t, { dataDir: disk.folder });
  await oneClip(all);
  const { hear, event, until, discarded, warnings, written, clips, folder } = all;
  disk.fill();
  for (const id of ['a', 'b']) event(id, 6, 7);
  hear(3);
  await until(() => discarded.length === 2, 'both are lost');
  t.match(discarded, [{ reason: 'failed' }, { reason: 'failed' }]);
  t.match(warnings, [{ code: 'clip_not_written', message: /ENOSPC/ }]);
  t.equal(warnings.length, 1);
  t.equal(filesBelow(folder).size, 2, 'nothing of them is left');
  disk.free();
  event('c', 8, 9);
  hear(3);
  await until(() => written.length === 2, 'clips are written again');
  disk.setReadOnly(true);
  await t.rejects(clips.deleteAll(), { code: 'disk_write', message: /EROFS/ });
  t.equal((await clips.list()).total, 2);
  hear(5);
  event('d', 17, 18);
  hear(3);
  await until(() => discarded.length === 3, 'it cannot be written');
  t.equal(warnings.length, 2, 'the row of failures had an end between');
  disk.setReadOnly(false);
  t.equal(await clips.deleteAll(), 2);
});

t.test('the bound of size holds on the disk', async (t) => {
  const all = rig(t, { settings: { maxMb: 0.5 } });
  for (let each = 0; each < 4; each += 1) await oneClip(all);
  const files = filesBelow(all.folder);
  const bytes = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  t.ok(bytes <= 500_000 && bytes > 100_000, `${bytes} bytes`);
  t.match(all.clips.stats(), { bytes, written: 4, clips: files.size / 2 });
  const small = rig(t, { settings: { maxMb: 0.1 } });
  small.hear(5);
  small.event('a', 3, 4);
  small.hear(3);
  await small.until(() => small.discarded.length === 1, 'too large');
  t.match(small.warnings, [{ code: 'clip_not_written', message: /less room/ }]);
});

/** A program in place of the one that writes clips. */
function program(t: { teardown(handler: () => void): void }, text: string): string {
  const path = join(temporaryFolder(t), 'program.mjs');
  writeFileSync(path, text);
  return path;
}

t.test('a writer that dies, hangs or talks nonsense costs one clip, and leaves nothing', async (t) => {
  const half = `
    import { mkdirSync, writeFileSync } from 'node:fs';
    process.on('message', ({ folder, id }) => {
      mkdirSync(folder, { recursive: true });
      writeFileSync(folder + '/.' + id + '.flac.' + process.pid + '.0123abcd.tmp', 'half');
      writeFileSync(folder + '/' + id + '.flac', 'whole, without a note');`;
  for (const [end, why] of [
    ["process.kill(process.pid, 'SIGKILL');", /SIGKILL/],
    ['setInterval(() => {}, 1000);', /does not answer/],
    ["process.send({ kind: 'written', bytes: -1 });", /nobody understands/],
  ] as const) {
    const all = rig(t, { tuning: { program: program(t, `${half} ${end} });`), writeMs: 2000 } });
    const { hear, event, until, discarded, warnings, folder } = all;
    hear(5);
    event('a', 3, 4);
    hear(3);
    await until(() => discarded.length === 1, 'it is given up');
    t.match(discarded, [{ reason: 'failed' }]);
    t.match(warnings, [{ code: 'clip_not_written', message: why }]);
    // What it left is removed before the next one is begun.
    event('b', 3, 4);
    hear(3);
    await until(() => discarded.length === 2, 'so is the next');
    await all.clips.stop();
    t.equal(filesBelow(folder).size, 0, String(why));
  }
});

/** The program that writes clips, with something that it does first with each; `pids` has its process for each. */
function noted(t: { teardown(handler: () => void): void }, first: string) {
  const folder = temporaryFolder(t);
  const file = join(folder, 'pids');
  writeFileSync(file, '');
  const real = new URL('../../src/clips/process.js', import.meta.url).href;
  const text = `
    import { appendFileSync, readFileSync } from 'node:fs';
    import ${JSON.stringify(real)};
    process.prependListener('message', () => {
      appendFileSync(${JSON.stringify(file)}, process.pid + '\\n');
      const count = readFileSync(${JSON.stringify(file)}, 'utf8').trim().split('\\n').length;
      ${first}
    });`;
  const pids = (): number[] => readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number);
  return { program: program(t, text), pids };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

t.test('one process writes the clips of a while, and ends when there are none', async (t) => {
  const { program: noting, pids } = noted(t, '');
  const all = rig(t, { tuning: { program: noting, idleMs: 60_000 } });
  for (let each = 0; each < 3; each += 1) await oneClip(all);
  const [pid] = pids() as [number];
  t.same(pids(), [pid, pid, pid]);
  t.ok(isAlive(pid));
  await all.clips.stop();
  await until(() => !isAlive(pid), 'a stop ends it', 30);

  const short = rig(t, { tuning: { program: noting, idleMs: 1 }, dataDir: all.dataDir });
  await oneClip(short);
  await until(() => !isAlive(pids().at(-1)!), 'it ends by itself', 30);
  await oneClip(short);
  t.equal(new Set(pids()).size, 3, 'the next clip has another');
  t.same(short.warnings, []);
  t.equal((await short.clips.list()).total, 5);
});

t.test('a clip whose process died is tried once more', async (t) => {
  const { program: dying, pids } = noted(t, "if (count === 2) process.kill(process.pid, 'SIGKILL');");
  const all = rig(t, { tuning: { program: dying } });
  await oneClip(all);
  await oneClip(all);
  const [first, second, third] = pids();
  t.equal(second, first);
  t.not(third, first, 'another process wrote it');
  t.same(all.warnings, []);
  // One that is gone before it is asked is no different.
  process.kill(third!, 'SIGKILL');
  await oneClip(all);
  t.same(all.discarded, []);
  t.equal(filesBelow(all.folder).size, 6);
});

t.test('a stop does not wait for a writer that hangs', async (t) => {
  const hangs = program(t, "process.on('message', () => {}); process.on('SIGTERM', () => {});");
  const all = rig(t, { tuning: { program: hangs, stopMs: 100 } });
  all.hear(5);
  all.event('a', 3, 4);
  all.clips.started(bark('b', all.msAt(4 * 16_000)));
  all.hear(3);
  await all.clips.stop();
  t.same(all.discarded.map(({ event, reason }) => `${event} ${reason}`).sort(), ['a stopped', 'b stopped']);
});

t.test('the service killed in the middle of a clip leaves whole clips only', async (t) => {
  const dataDir = temporaryFolder(t);
  const file = new URL('../support/clips-process.js', import.meta.url).pathname;
  for (let round = 0; round < 4; round += 1) {
    const child = spawn(process.execPath, [file, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (part: Buffer) => (said += part.toString()));
    const gone = new Promise((resolve) => child.once('exit', resolve));
    const wanted = 1 + (round % 3);
    // It says each clip that it has written; the kill comes somewhere in the next.
    await until(() => said.split('\n').length > wanted, `${wanted} clips: ${said}`, 60, 1 + 7 * round);
    child.kill('SIGKILL');
    await gone;
    const told = said.trim().split('\n');
    const next = rig(t, { dataDir });
    const { clips } = await next.clips.list({ limit: 200 });
    const ids = new Set(clips.map(({ id }) => id));
    for (const id of told) t.ok(ids.has(id), 'what was said to be written is there');
    t.same(next.warnings, []);
    const files = [...filesBelow(next.folder).keys()].sort();
    t.same(
      files,
      clips
        .flatMap(({ id, clip_started_at: at }) =>
          ['flac', 'json'].map((end) => join(at.slice(0, 10), `${id}.${end}`)),
        )
        .sort(),
      'and nothing else',
    );
    for (const { id, samples } of clips) {
      const { path } = (await next.clips.get(id))!;
      if (skipWithout('ffmpeg') === false) t.equal(decoded(path).length, samples);
    }
    await next.clips.stop();
  }
});
