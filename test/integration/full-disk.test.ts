import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createJsonMemory } from '../../src/common/json-memory.js';
import { readBounded, readPlain } from '../../src/common/bounded-read.js';
import { openStateStore } from '../../src/config/state-store.js';
import { optimizedCopy, removeAbandonedCopies } from '../../src/inference/optimized-copy.js';
import { openDiscoveryMemory } from '../../src/home-assistant/discovery-memory.js';
import { openLabelMemory } from '../../src/service/label-memory.js';
import { startMosquitto } from '../support/broker.js';
import { createRecordingLog } from '../support/recording-log.js';
import { looped, sound, beep, start } from '../support/service-rig.js';
import { cannotMount, mountSmallDisk } from '../support/small-disk.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* What is remembered, on disks that are full and in places where something else stands. */

const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');

t.test('a disk that is full', { skip: cannotMount() }, (t) => {
  t.test('what is set is written again until it stands', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    const log = createRecordingLog();
    const open = () =>
      openStateStore({ dataDir: disk.folder, log, tuning: { firstRetryMs: 10, maxRetryMs: 20 } });
    const store = await open();
    t.equal(await store.set('rate_hz', 2, 1), true);
    disk.fill();
    t.equal(await store.set('rate_hz', 3, 1), false, 'said to whoever asked');
    t.equal(await store.set('paused', true, false), false);
    t.match(
      log.lines.map(({ fields }) => fields.code),
      ['state_not_saved'],
      'told once',
    );
    t.equal((await open()).get('rate_hz', 1), 2, 'what was there is untouched');
    disk.free();
    await until(() => log.lines.some(({ level }) => level === 'info'), 'written again', 30);
    const next = await open();
    t.strictSame([next.get('rate_hz', 1), next.get('paused', false)], [3, true]);
    t.equal(await store.set('rate_hz', 4, 1), true);
    await store.stop();
  });

  t.test('the stop is one more attempt, and the last one', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    const log = createRecordingLog();
    const store = await openStateStore({ dataDir: disk.folder, log, tuning: { firstRetryMs: 3_600_000 } });
    disk.fill();
    t.equal(await store.set('rate_hz', 3, 1), false);
    disk.free();
    await store.stop();
    t.equal((await openStateStore({ dataDir: disk.folder, log })).get('rate_hz', 1), 3);
  });

  t.test('a label that could not be written down is known to be missing after a kill', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    const log = createRecordingLog();
    const memory = openLabelMemory({ dataDir: disk.folder, log });
    memory.of(null).add('dog');
    await until(
      () => readFileSync(join(disk.folder, 'labels.json'), 'utf8').includes('dog'),
      'a dog in labels.json',
      30,
    );
    disk.fill();
    memory.of(null).add('siren');
    await until(
      () => log.lines.some(({ fields }) => fields.code === 'labels_not_written'),
      'the warning',
      30,
    );
    const next = openLabelMemory({ dataDir: disk.folder, log });
    t.strictSame(next.of(null).slugs(), ['dog']);
    t.ok(next.of(null).isIncomplete);
    t.ok(
      openLabelMemory({ dataDir: disk.folder, log }).of(null).isIncomplete,
      'also where that start is cut short',
    );
    await next.stop();
    disk.free();
    await memory.stop();
    const last = openLabelMemory({ dataDir: disk.folder, log });
    t.strictSame([last.of(null).slugs(), last.of(null).isIncomplete], [['dog', 'siren'], false]);
  });
  t.end();
});

t.test('something else in the place of a file', async (t) => {
  const kinds: [string, (path: string) => void, RegExp][] = [
    ['a pipe', (path) => execFileSync('mkfifo', [path]), /is a pipe, not a plain file/],
    ['a folder', (path) => mkdirSync(path), /is a folder, not a plain file/],
    ['a device', (path) => symlinkSync('/dev/zero', path), /is a device, not a plain file/],
    ['a link to itself', (path) => symlinkSync(path, path), /leads to itself/],
    [
      'a file without end',
      (path) => {
        writeFileSync(path, '');
        truncateSync(path, 1e12);
      },
      /is larger than/,
    ],
    ['no JSON', (path) => writeFileSync(path, '\0{'), /JSON/],
  ];
  const memories: [string, (t: Test, dataDir: string) => Promise<string>][] = [
    [
      'state.json',
      async (_, dataDir) => {
        const log = createRecordingLog();
        const store = await openStateStore({ dataDir, log });
        await store.set('rate_hz', 2, 1);
        t.equal((await openStateStore({ dataDir, log })).get('rate_hz', 1), 2);
        return log.lines[0]?.message ?? '';
      },
    ],
    [
      'labels.json',
      async (_, dataDir) => {
        const log = createRecordingLog();
        const memory = openLabelMemory({ dataDir, log });
        t.ok(memory.of(null).isIncomplete);
        memory.of(null).add('dog');
        await memory.stop();
        t.strictSame(openLabelMemory({ dataDir, log }).of(null).slugs(), ['dog']);
        return log.lines[0]?.message ?? '';
      },
    ],
    [
      'homeassistant.json',
      async (_, dataDir) => {
        const log = createRecordingLog();
        const memory = openDiscoveryMemory({ dataDir, log });
        await memory.set('a', { b: 'sensor' });
        t.strictSame(openDiscoveryMemory({ dataDir, log }).topics(), ['a']);
        return log.lines[0]?.message ?? '';
      },
    ],
  ];
  for (const [kind, make, told] of kinds) {
    for (const [name, use] of memories) {
      const dataDir = temporaryFolder(t);
      make(join(dataDir, name));
      const message = await use(t, dataDir);
      t.match(message, told, `${kind} as ${name}`);
      t.match(message, join(dataDir, name), 'named');
    }
    const path = join(temporaryFolder(t), 'file');
    make(path);
    if (kind === 'no JSON') continue;
    t.match(readBounded(path, 1000), { problem: told });
    t.match(await readPlain(path, 1000), { problem: told });
  }
  t.match(readBounded('/proc/sys/kernel/random/boot_id', 100), { bytes: Buffer }, 'the kernel says 0 bytes');
});

t.test('a memory that changes while it is written ends with the last change', async (t) => {
  const path = join(temporaryFolder(t), 'memory.json');
  let content = 0;
  const memory = createJsonMemory({
    path,
    content: () => String(content),
    failing: (error) => t.fail(String(error)),
  });
  const saves: Promise<boolean>[] = [];
  for (content = 1; content < 50; content += 1) {
    saves.push(memory.save());
    if (content % 10 === 0) await saves[0];
  }
  t.ok((await Promise.all(saves)).every((isSaved) => isSaved));
  t.equal(readFileSync(path, 'utf8'), String(content));
  t.strictSame(readdirSync(join(path, '..')), ['memory.json'], 'nothing else is left');
});

t.test('what loads that were killed have left goes with the next one', async (t) => {
  const folder = join(temporaryFolder(t), 'optimized');
  mkdirSync(folder);
  const gone = execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).trim();
  const uuid = '01234567-89ab-4cde-8f01-23456789abcd';
  const left = [`.draft-${gone}-${uuid}`, `.trying-${gone}-${uuid}`];
  const mine = `.draft-${process.pid}-${uuid}`;
  for (const name of [...left, mine]) writeFileSync(join(folder, name), 'as large as a model');
  await removeAbandonedCopies(folder);
  t.strictSame(readdirSync(folder), [mine], 'who is at work keeps its own');
  execFileSync('mkfifo', [join(folder, `tiny.${'0'.repeat(16)}.${'0'.repeat(64)}.onnx`)]);
  t.equal(await optimizedCopy(folder, 'tiny', []).take(), null);
  rmSync(folder, { recursive: true });
});

t.test('a service whose disk is full', { skip: cannotMount() || noMosquitto }, async (t) => {
  const broker = await startMosquitto();
  t.teardown(() => broker.stop());
  const disk = mountSmallDisk(t, '24m');
  const started = await start(
    t,
    broker.url,
    { ...looped, DATA_DIR: disk.folder, INFERENCE_RATE_HZ: '4' },
    async () => {
      await installToneModel(disk.folder, 'waveform');
      await sound(beep(6, 0.5))(disk.folder);
    },
  );
  const { console, service } = started;
  await console.on('tags', () => true);
  t.notMatch((await console.set('paused/set', 'ON')).data, { persisted: false });
  disk.fill();
  t.match(await console.set('rate/set', '5'), { status: 'ok', data: { rate_hz: 5, persisted: false } });
  await console.set('paused/set', 'OFF');
  await console.word('label/tone_0', (text) => text === 'ON');
  service.signal('SIGKILL');
  await service.exited;

  const silent = await started.again();
  await silent.console.word('label/tone_0', (text) => text === 'OFF');
  disk.free();
  t.match(await silent.console.set('rate/set', '3'), { status: 'ok', data: { rate_hz: 3 } });
  t.equal(await silent.service.stop(), 0);
});
