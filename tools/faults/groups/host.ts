import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { epochMs, type StatePayload, type TelemetryPayload } from '../../../src/mqtt/contract.js';
import { openDiskOutbox } from '../../../src/mqtt/disk-outbox.js';
import { silentLogger } from '../../../src/common/log.js';
import { cli } from '../../../test/support/cli.js';
import { createDevice } from '../../../test/support/event-device.js';
import { endWith, eventWith } from '../../../test/support/events.js';
import { createRandom } from '../../../test/support/random.js';
import { descendants, makeDataDir, startService, type Settings } from '../../../test/support/service.js';
import { installBadModel } from '../../../test/support/bad-models.js';
import { cannotMount, mountSmallDisk } from '../../../test/support/small-disk.js';
import { mountFailingDisk } from '../failing-disk.js';
import { makeSysFolder } from '../../../test/support/sys-folders.js';
import { firsts, lastingBroker, nameOf, startConsumer } from '../../../test/support/consumer.js';
import { allArrives, begunIn, endedWell, holdPairs, startsIn, stopsWell, unpaired } from '../ending.js';
import type { Inject } from '../inject.js';
import {
  childOf,
  heardBy,
  hears,
  openHandles,
  secondsUntilGone,
  setLimit,
  startBroker,
  startRig,
  type Rig,
} from '../rig.js';
import type { Owner } from '../scope.js';
import { NotHere, type Verdict } from '../verdict.js';
import { secondsUntil, until } from '../../../test/support/waiting.js';

/* The machine under it. */

/** The data folder on a small disk that can be filled. */
async function onSmallDisk(
  owner: Owner,
  settings: Settings = {},
): Promise<{ rig: Rig; disk: ReturnType<typeof mountSmallDisk> }> {
  const cannot = cannotMount();
  if (cannot !== false) throw new NotHere(cannot);
  const disk = mountSmallDisk(owner, '8m');
  const broker = await lastingBroker(owner);
  const rig = await startRig(owner, { url: broker.url, dataDir: disk.folder, settings });
  await hears(rig.service, 1);
  return { rig, disk };
}

/** What the service warns with where something cannot be written. */
const FULL_CODES: readonly string[] = ['outbox_disk', 'disk_full', 'state_not_saved'];

/** A state file that is not one, at the start. */
const badState =
  (spoil: (path: string) => Promise<unknown>, keeps: boolean): Inject =>
  async (owner, verdict, limit) => {
    const broker = await startBroker(owner);
    const begun = performance.now();
    const rig = await startRig(owner, {
      url: broker.url,
      prepare: (dataDir) => spoil(join(dataDir, 'state.json')),
    });
    verdict.within((performance.now() - begun) / 1000, limit, 'tags after');
    verdict.hold(
      rig.service.lines.some(({ level, message }) => level === 'warn' && message.includes('state')),
      'a warning that names the file',
    );
    if (keeps) {
      const kept = (await readdir(rig.dataDir)).filter((name) => /^state.*broken/.test(name));
      verdict.hold(kept.length > 0, 'the original is kept');
    }
    await stopsWell(rig, verdict);
  };

async function powerCuts(owner: Owner, verdict: Verdict, limit: number): Promise<void> {
  const random = createRandom(Number(process.env['SOUNDPOST_FAULTS_SEED'] ?? 1));
  const broker = await lastingBroker(owner);
  let rig = await startRig(owner, { url: broker.url, settings: { INFERENCE_RATE_HZ: '10' } });
  let certain = 0;
  let slowest = 0;
  const kills = 8;
  for (let kill = 0; kill < kills; kill += 1) {
    await hears(rig.service, 2);
    await delay(random() * 2500);
    const children = await descendants(rig.service.pid);
    rig.service.signal('SIGKILL');
    await rig.service.exited;
    // The very last one may be in the log and not yet on the disk.
    certain += Math.max(0, heardBy(rig.service) - 1);
    verdict.hold((await secondsUntilGone(children, 20)) !== null, 'its children are gone');
    const begun = performance.now();
    rig = await rig.again();
    slowest = Math.max(slowest, (performance.now() - begun) / 1000);
  }
  await hears(rig.service, 1);
  certain += heardBy(rig.service);
  const { watcher } = rig;
  const begun = () => begunIn(watcher.events);
  await stopsWell(rig, verdict);
  verdict.note(
    `${kills} kills; ${certain} sounds certain, ${begun()} arrived; slowest start ${slowest.toFixed(1)} s`,
  );
  verdict.hold(begun() >= certain, 'no event is lost');
  verdict.hold(slowest <= limit, `tags within ${limit} s of a start`);
}

/** Kills a process that does nothing but write events, so that kills fall into writes. */
async function powerCutsInWrites(owner: Owner, verdict: Verdict): Promise<void> {
  const random = createRandom(Number(process.env['SOUNDPOST_FAULTS_SEED'] ?? 1));
  const broker = await lastingBroker(owner);
  const consumer = await startConsumer(owner, broker.url, 'soundpost/writer');
  const device = createDevice(owner, broker.url, 'writer');
  const { promised } = device;
  const arrived = () => firsts(consumer.events);
  const missing = () => {
    const there = arrived();
    return promised.filter((event) => !there.has(nameOf(event)));
  };
  const lives = 25;
  for (let life = 0; life <= lives; life += 1) {
    const before = promised.length;
    device.start();
    await until(() => promised.length > before + 10, 'events of the writer', 20);
    await delay(random() * 400);
    if (life < lives) await device.kill();
    else {
      device.quiet();
      await secondsUntil(() => missing().length === 0 && unpaired(consumer.events).length === 0, 60);
      await device.stop();
    }
  }
  verdict.note(
    `${lives} kills; ${promised.length} events taken, ${arrived().size} arrived, ${missing().length} missing`,
  );
  verdict.hold(missing().length === 0, 'no event is lost');
  holdPairs(consumer.events, verdict);
  const ids = startsIn(consumer.events).map(({ id }) => id);
  verdict.hold(
    ids.every((id, index) => index === 0 || id > ids[index - 1]!),
    'in order',
  );
}

/** One bit in the middle of every file that LevelDB has, one start for each. */
async function bitFlips(owner: Owner, verdict: Verdict, limit: number): Promise<void> {
  const broker = await lastingBroker(owner);
  const good = join(await makeDataDir(owner), 'outbox');
  const sounds = 60;
  /** Twice opened, so that there are tables and a log. */
  for (let part = 0; part < 2; part += 1) {
    const outbox = await openDiskOutbox({ folder: good, maxBytes: 8_000_000, log: silentLogger });
    for (let n = 0; n < sounds / 2; n += 1) {
      const started = eventWith({ id: `sound-${part}-${n}`, label: 'Tone 0' });
      await outbox.append(started);
      await outbox.append(endWith(started, 3));
    }
    await outbox.close();
  }
  const files = (await readdir(good)).filter((name) => /\.(ldb|log)$|^MANIFEST/.test(name));
  let slowest = 0;
  for (const file of files) {
    if ((await readFile(join(good, file))).length < 64) continue;
    const begun = performance.now();
    const rig = await startRig(owner, {
      url: broker.url,
      prepare: async (dataDir) => {
        const folder = join(dataDir, 'outbox');
        await cp(good, folder, { recursive: true });
        const bytes = await readFile(join(folder, file));
        bytes[Math.floor(bytes.length / 2)]! ^= 4;
        await writeFile(join(folder, file), bytes);
      },
    }).catch((error: unknown) => {
      verdict.hold(false, `it starts with a flipped bit in ${file} (${String(error).split('\n')[0]})`);
      return null;
    });
    if (rig === null) continue;
    slowest = Math.max(slowest, (performance.now() - begun) / 1000);
    const { watcher } = rig;
    const ours = () => [...firsts(watcher.events).values()].filter(({ id }) => id.startsWith('sound-'));
    await secondsUntil(() => ours().length >= 2 * sounds, 8);
    // An end that was written says 3 s; another one is of our own making.
    const invented = ours().filter(
      ({ event_type, duration_s }) => event_type === 'ended' && duration_s !== 3,
    );
    const lost = 2 * sounds - ours().length;
    verdict.note(`${file.replace(/^0+/, '')}: ${lost} of ${2 * sounds} lost`);
    verdict.hold(invented.length === 0, `no invented end (${invented.length} in ${file})`);
    if (lost > 0) {
      verdict.hold(
        watcher.codes.includes('outbox_broken') ||
          rig.service.lines.some(({ code }) => code === 'outbox_broken'),
        `told (${file})`,
      );
      const kept = (await readdir(rig.dataDir)).filter((name) => name.startsWith('outbox.broken'));
      verdict.hold(kept.length > 0, `the original is kept (${file})`);
    }
    verdict.hold((await rig.service.stop()) === 0, `ends as it should (${file})`);
  }
  verdict.within(slowest, limit, 'tags, at the slowest start, after');
}

const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime', '/usr/lib/aarch64-linux-gnu/faketime'].map((folder) =>
  join(folder, 'libfaketimeMT.so.1'),
);

async function clockJumps(owner: Owner, verdict: Verdict): Promise<void> {
  const library = [process.env['SOUNDPOST_FAULTS_FAKETIME'] ?? '', ...FAKETIME].find(
    (path) => path !== '' && existsSync(path),
  );
  if (library === undefined) throw new NotHere('libfaketime is not installed');
  const dataDir = await makeDataDir(owner);
  const clock = join(dataDir, 'clock');
  await writeFile(clock, '+0');
  const broker = await startBroker(owner);
  const rig = await startRig(owner, {
    url: broker.url,
    dataDir,
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: clock,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
    },
  });
  for (const jump of ['+3600', '-3600', '+0']) {
    await writeFile(clock, jump);
    verdict.within(await rig.watcher.nextTags(8, 'tags', 20).catch(() => null), 20, `tags after ${jump} s`);
    await hears(rig.service, 1);
  }
  const jumped = rig.watcher.events.some(({ detected_at }) => epochMs(detected_at) > Date.now() + 1_800_000);
  verdict.hold(jumped, 'the clock did jump');
  const negative = rig.watcher.events.filter(({ duration_s }) => duration_s !== null && duration_s < 0);
  verdict.hold(negative.length === 0, `no negative duration (${negative[0]?.duration_s ?? ''})`);
  verdict.hold((await rig.watcher.request('health')).status === 'ok', 'commands are answered');
  await stopsWell(rig, verdict);
}

export const host = {
  'disk-full': async (owner, verdict, limit) => {
    const { rig, disk } = await onSmallDisk(owner);
    const { watcher } = rig;
    disk.fill();
    const during = await watcher.request('rate/set', { hz: 5 });
    await hears(rig.service, 2);
    const full = during.status === 'error' || during.data.persisted === false;
    verdict.note(`rate/set on a full disk: ${during.status}`);
    verdict.hold(full, 'a reply that says ok survives, or says that it may not');
    disk.free();
    await hears(rig.service, 2);
    // What holds in memory is written once there is room.
    const holds = watcher.json<StatePayload>('state').rate_hz;
    const written = async () =>
      new RegExp(`"value": ?${holds}\\b`).test(
        await readFile(join(disk.folder, 'state.json'), 'utf8').catch(() => ''),
      );
    if (holds === 5)
      verdict.within(await secondsUntil(written, limit), limit, 'the setting on the disk after');
    await allArrives(rig, verdict, limit);
    const warnings = rig.service.lines.filter(({ code }) => FULL_CODES.includes(code ?? ''));
    const ofState = warnings.filter(({ message }) => message.includes('state.json')).length;
    verdict.note(`${warnings.length} warnings, ${ofState} about state.json`);
    verdict.hold(ofState === 1, 'one warning about state.json');
  },
  'disk-full-kept': async (owner, verdict, limit) => {
    const { rig, disk } = await onSmallDisk(owner, {
      CLIPS_ENABLED: 'true',
      CLIPS_SPEECH: 'keep',
      CLIPS_BEFORE_SECONDS: '0.5',
      CLIPS_AFTER_SECONDS: '0.5',
    });
    const { service, watcher } = rig;
    const clips = async () => Number((await watcher.request('clip/list')).data['total']);
    const history = async () => JSON.stringify((await watcher.request('history', { limit: 500 })).data);
    const onDisk = async () => {
      const folder = join(disk.folder, 'history');
      const files = await Promise.all(
        (await readdir(folder)).map((name) => readFile(join(folder, name), 'latin1')),
      );
      return files.join('');
    };
    const seen = () => startsIn(watcher.events).map(({ id }) => id);
    const missingIn = (text: string, ids = seen()) => ids.filter((id) => !text.includes(id)).length;
    await until(async () => (await clips()) > 0, 'a clip before it', 60);
    disk.fill();
    watcher.tags.reset();
    const before = seen().length;
    await hears(service, 4);
    const arrived = await secondsUntil(() => seen().length >= before + 4, limit);
    verdict.within(arrived, limit, 'events after');
    verdict.note(`tags at most ${(watcher.tags.longestGapMs / 1000).toFixed(1)} s apart`);
    verdict.hold(watcher.tags.longestGapMs < 3000, 'tags without a gap of 3 s');
    verdict.hold(missingIn(await history()) === 0, 'the history knows what it could not write');
    const full = await clips();
    disk.free();
    const during = seen();
    const written = await secondsUntil(async () => missingIn(await onDisk(), during) === 0, limit);
    verdict.within(written, limit, 'the history on the disk after');
    verdict.within(await secondsUntil(async () => (await clips()) > full, limit), limit, 'a clip after');
    for (const code of ['history_not_written', 'clip_not_written']) {
      const warnings = service.lines.filter((line) => line.code === code).length;
      verdict.hold(warnings === 1, `one warning ${code} (${warnings})`);
    }
    await allArrives(rig, verdict, limit);
  },
  'disk-full-health': async (owner, verdict) => {
    const { rig, disk } = await onSmallDisk(owner);
    disk.fill();
    await delay(36_000);
    const { code, stdout, stderr } = await cli(['health'], { env: { SOUNDPOST_DATA_DIR: disk.folder } });
    const said = `${stdout}${stderr}`;
    verdict.note(`soundpost health ends with ${code}`);
    verdict.hold(!/hangs/.test(said), 'it does not say that the service hangs');
    verdict.hold(code === 0, 'healthy');
    disk.free();
    await stopsWell(rig, verdict);
  },
  'disk-read-only': async (owner, verdict, limit) => {
    const disk = mountFailingDisk(owner, 32);
    const broker = await lastingBroker(owner);
    const rig = await startRig(owner, { url: broker.url, dataDir: disk.folder });
    const { service, watcher } = rig;
    await hears(service, 1);
    disk.fail();
    const reply = await watcher.request('rate/set', { hz: 5 });
    verdict.hold(reply.status === 'error' || reply.data.persisted === false, 'no false promise in a reply');
    await hears(service, 2);
    const arrived = () => begunIn(watcher.events) >= heardBy(service);
    verdict.within(await secondsUntil(arrived, limit), limit, 'events go on after');
    const { code } = await cli(['health'], { env: { SOUNDPOST_DATA_DIR: disk.folder } });
    verdict.hold(code === 0, 'healthy');
    await service.stop();
    verdict.hold((await service.exited) === 0, 'exit code 0');
    await secondsUntil(arrived, 5);
    verdict.hold(arrived(), 'no event is lost');
    disk.repair();
    await allArrives(await rig.again(), verdict, limit);
  },
  'no-handles': async (owner, verdict, limit) => {
    const broker = await lastingBroker(owner);
    const rig = await startRig(owner, { url: broker.url });
    await hears(rig.service, 1);
    await setLimit(rig.service.pid, 'nofile', await openHandles(rig.service.pid));
    process.kill(await childOf(rig.service.pid, 'inference'), 'SIGKILL');
    const died = await Promise.race([rig.service.exited.then(() => true), delay(15_000, false)]);
    verdict.hold(!died, 'the service lives');
    if (died) return;
    await setLimit(rig.service.pid, 'nofile', 4096);
    verdict.within(await rig.watcher.nextTags(4, 'tags', limit).catch(() => null), limit, 'tags after');
    await allArrives(rig, verdict, 60);
  },
  'no-memory': async (owner, verdict, limit) => {
    const broker = await startBroker(owner);
    const rig = await startRig(owner, { url: broker.url });
    const pid = await childOf(rig.service.pid, 'inference');
    await setLimit(pid, 'as', 1_000_000);
    const restarts = () => rig.watcher.json<TelemetryPayload>('telemetry').inference?.restarts ?? 0;
    const noticed = await secondsUntil(() => restarts() > 0, 30);
    // A process that needs no more than it has is no fault; then it is asked to load.
    if (noticed === null) {
      verdict.note('the process did with the memory it had');
      process.kill(pid, 'SIGKILL');
    }
    verdict.within(await rig.watcher.nextTags(8, 'tags', limit).catch(() => null), limit, 'tags after');
    await stopsWell(rig, verdict);
  },
  'clock-jumps': clockJumps,
  'power-cut': powerCuts,
  'power-cut-in-writes': powerCutsInWrites,
  'kills-after-work': async (owner, verdict) => {
    const broker = await lastingBroker(owner);
    let rig = await startRig(owner, { url: broker.url });
    await rig.watcher.request('rate/set', { hz: 5 });
    await rig.watcher.request('threshold/set', { value: 0.42 });
    for (let kill = 0; kill < 3; kill += 1) {
      await rig.watcher.nextTags(10, 'good work', 30);
      rig.service.signal('SIGKILL');
      await rig.service.exited;
      rig = await rig.again();
    }
    const state = rig.watcher.json<StatePayload>('state');
    verdict.note(`after 3 kills: rate ${state.rate_hz}, threshold ${state.threshold}`);
    verdict.hold(state.rate_hz === 5 && state.threshold === 0.42, 'the settings are kept');
    await stopsWell(rig, verdict);
  },
  'outbox-bit-flip': bitFlips,
  'state-damaged': badState((path) => writeFile(path, randomBytes(700)), true),
  'state-is-fifo': badState((path) => Promise.resolve(execFileSync('mkfifo', [path])), false),
  'sensors-lie': async (owner, verdict) => {
    const broker = await startBroker(owner);
    const lies: Record<string, Record<string, string | null>> = {
      words: { temp: 'hot\n', freq: 'fast\n' },
      empty: { temp: '', freq: '' },
      absurd: { temp: '999999999999\n', freq: '-1\n' },
      'absolute zero': { temp: '-400000\n', freq: '0\n' },
      binary: { temp: '\u0000\u0001\u0002', freq: '\u0000' },
      gone: { temp: null, freq: null },
    };
    const zone = 'sys/devices/virtual/thermal/thermal_zone0/temp';
    const frequency = 'sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq';
    const sensors = makeSysFolder('pi4');
    owner.teardown(() => sensors.remove());
    const rig = await startRig(owner, {
      url: broker.url,
      settings: {
        TELEMETRY_SYS_ROOT: sensors.sysRoot,
        TELEMETRY_PROC_ROOT: sensors.procRoot,
        THERMAL_ENABLED: 'true',
      },
    });
    const soc = () => rig.watcher.json<TelemetryPayload>('telemetry').soc;
    await until(() => typeof soc()?.temperature_c === 'number', 'an honest reading', 20);
    for (const [name, { temp, freq }] of Object.entries(lies)) {
      for (const [path, text] of [
        [zone, temp],
        [frequency, freq],
      ] as const) {
        if (typeof text === 'string') sensors.write(path, text);
        else sensors.delete(path);
      }
      const nothing = await secondsUntil(
        () => soc()?.temperature_c === null && soc()?.frequency_mhz === null,
        15,
      );
      verdict.hold(nothing !== null, `null for ${name} (${JSON.stringify(soc())})`);
      verdict.hold(
        rig.watcher.json<StatePayload>('state').effective_rate_hz === 4,
        `${name} throttles nothing`,
      );
    }
    sensors.setTemperature(50);
    verdict.within(
      await secondsUntil(() => soc()?.temperature_c === 50, 20),
      20,
      'an honest reading again after',
    );
    await stopsWell(rig, verdict);
  },
  'hang-up': async (owner, verdict) => {
    const broker = await startBroker(owner);
    const rig = await startRig(owner, { url: broker.url });
    await until(() => rig.watcher.states.get('label/tone_0') === 'ON', 'a sound', 20);
    rig.service.signal('SIGHUP');
    const gone = await Promise.race([rig.service.exited, delay(15_000, 'never')]);
    verdict.note(`ended with ${gone}`);
    verdict.hold(gone === 0 || gone === 129, 'it ends in order');
    await endedWell(rig, verdict, typeof gone === 'number' ? gone : 0);
  },
  'service-killed-in-run': async (owner, verdict, limit) => {
    const broker = await startBroker(owner);
    const dataDir = await makeDataDir(owner);
    await installBadModel(dataDir, 'hang-at-once');
    const service = startService(owner, {
      DATA_DIR: dataDir,
      MQTT_URL: broker.url,
      MODEL_ID: 'bad-hang-at-once',
      AUDIO_SOURCE: 'demo',
      DEVICE_ID: 'hung',
    });
    const child = await childOf(service.pid, 'inference');
    // By its time on the processor: it hangs in run().
    const busy = async () =>
      Number((await readFile(`/proc/${child}/stat`, 'utf8').catch(() => '')).split(' ')[13] ?? 0) > 200;
    await secondsUntil(busy, 20);
    const children = await descendants(service.pid);
    service.signal('SIGKILL');
    await service.exited;
    const seconds = await secondsUntilGone(children, limit);
    if (seconds === null) for (const { pid } of children) process.kill(pid, 'SIGKILL');
    verdict.within(seconds, limit, 'no process is left after');
    await rm(dataDir, { recursive: true, force: true });
  },
} satisfies Record<string, Inject>;
