import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from '@commander-js/extra-typings';
import { interruptible } from '../../src/common/interrupt.js';
import { messageOf } from '../../src/common/errors.js';
import { lastingBroker } from '../../test/support/consumer.js';
import { createRandom, type Random } from '../../test/support/random.js';
import { descendants, isAlive, residentMb } from '../../test/support/service.js';
import { cannotMount, mountSmallDisk } from '../../test/support/small-disk.js';
import { makeSysFolder } from '../../test/support/sys-folders.js';
import { temporaryFolder } from '../../test/support/temporary.js';
import { startProxy } from '../../test/support/tcp-proxy.js';
import { begunIn, holdPairs, labelsOn, unpaired } from '../faults/ending.js';
import { microphoneSettings, startMicrophone } from '../faults/microphone.js';
import { heardBy, openHandles, secondsUntilGone, startRig, type Rig } from '../faults/rig.js';
import type { FaultName } from '../faults/promises.js';
import { createScope, type Scope } from '../faults/scope.js';
import { createVerdict, NotHere } from '../faults/verdict.js';
import { secondsUntil, until } from '../../test/support/waiting.js';
import { namesOf, positive, whole } from '../options.js';
import { passingFaults, type PassingFault, type World } from './faults.js';

/*
 * npm run chaos: random faults of the matrix, often several at a time, then back to normal: nothing may be left of
 * them. In the first third of the time the service itself is killed as well; memory, handles and processes are
 * compared over the rest, which is one life.
 */

interface Options {
  minutes: number;
  seed: number;
  only?: FaultName[];
  without?: FaultName[];
  json?: boolean;
}

/** How long one fault lasts, in seconds. */
const LASTS = [1, 12] as const;
const PAUSE = [0.5, 5] as const;
/** What counts as settled: so long nothing has been wrong. */
const SETTLE_SECONDS = 90;
const CALM_SECONDS = 15;
const MEMORY_PERCENT = 5;
const RESIDENT_PERCENT = 15;
const between = ([least, most]: readonly [number, number], random: Random): number =>
  least + random() * (most - least);

function progress(text: string): void {
  process.stderr.write(`chaos: ${text}\n`);
}

/**
 * Loaded into the service from outside: SIGUSR2 makes it collect its garbage and write what is in use after that,
 * so that memory that merely has not been collected yet does not count.
 */
const COLLECTOR = `data:text/javascript,
import v8 from 'node:v8'; import vm from 'node:vm'; import { writeFileSync } from 'node:fs';
if (process.argv[2] === 'run') {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  process.on('SIGUSR2', () => {
    for (let n = 0; n < 3; n += 1) gc();
    const { rss, heapUsed, external } = process.memoryUsage();
    writeFileSync(process.env.CHAOS_MEMORY, JSON.stringify({ rss, used: heapUsed + external }));
  });
}`.replaceAll('\n', '');

interface Memory {
  rss: number;
  used: number;
}

/** What the service has in use after a garbage collection, in bytes. */
async function collected({ service }: Rig, file: string): Promise<Memory> {
  await rm(file, { force: true });
  service.signal('SIGUSR2');
  const read = async (): Promise<Memory | null> => {
    try {
      return JSON.parse(await readFile(file, 'utf8')) as Memory;
    } catch {
      // It is not there yet, or being written.
      return null;
    }
  };
  await until(async () => (await read()) !== null, 'what the service has in use', 15);
  return (await read())!;
}

async function makeWorld(scope: Scope, memoryFile: string): Promise<World> {
  const broker = await lastingBroker(scope);
  const proxy = await startProxy(broker.port);
  scope.teardown(() => proxy.stop());
  const sensors = makeSysFolder('pi4');
  scope.teardown(() => sensors.remove());
  const cannot = cannotMount();
  const disk = cannot === false ? mountSmallDisk(scope, '24m') : null;
  if (cannot !== false) progress(`without a small disk: ${cannot}`);
  const microphone = await startMicrophone(scope).catch((error: unknown) => {
    if (!(error instanceof NotHere)) throw error;
    progress(`with a file in place of a microphone: ${error.message}`);
    return null;
  });
  const rig = await startRig(scope, {
    url: `mqtt://127.0.0.1:${proxy.port}`,
    watchUrl: broker.url,
    ...(disk !== null && { dataDir: disk.folder }),
    settings: {
      MQTT_KEEPALIVE_SECONDS: '5',
      TELEMETRY_SYS_ROOT: sensors.sysRoot,
      ...(microphone !== null && microphoneSettings),
    },
    env: {
      ...microphone?.env,
      NODE_OPTIONS: `--import=${encodeURI(COLLECTOR)}`,
      CHAOS_MEMORY: memoryFile,
    },
  });
  return { rig, broker, proxy, sensors, disk, microphone };
}

/** Waits until everything works: connected, sound, tags, one inference process. */
async function settle({ rig: { watcher } }: World, what: string): Promise<number> {
  const begun = performance.now();
  await watcher.nextTags(5, `tags ${what}`, SETTLE_SECONDS);
  const calm = await secondsUntil(async () => {
    if (!watcher.connected) return false;
    const reply = await watcher.request('health', '', 15).catch(() => null);
    return reply?.status === 'ok' && (reply.data as { healthy?: boolean }).healthy === true;
  }, SETTLE_SECONDS);
  if (calm === null) throw new Error(`not healthy within ${SETTLE_SECONDS} s ${what}`);
  await watcher.nextTags(CALM_SECONDS, `calm ${what}`, SETTLE_SECONDS);
  return (performance.now() - begun) / 1000;
}

interface Sizes {
  /** In use after a garbage collection: the heap and what it holds outside. */
  usedMb: number;
  memoryMb: number;
  childrenMb: number;
  handles: number;
  processes: number;
  threads: number;
}

/** The least of a few readings: garbage comes and goes. */
async function sizesOf(rig: Rig, memoryFile: string): Promise<Sizes> {
  const readings: Sizes[] = [];
  for (let reading = 0; reading < 10; reading += 1) {
    const below = await descendants(rig.service.pid);
    // One that has gone in between has nothing.
    const children = below.map(({ pid }) => residentMb(pid) || 0);
    const { rss, used } = await collected(rig, memoryFile);
    readings.push({
      usedMb: used / 1e6,
      memoryMb: rss / 1e6,
      childrenMb: children.reduce((sum, megabytes) => sum + megabytes, 0),
      handles: await openHandles(rig.service.pid),
      processes: below.length,
      threads: (await readdir(`/proc/${rig.service.pid}/task`).catch(() => [])).length,
    });
    await delay(500);
  }
  const least = (of: (sizes: Sizes) => number) => Math.min(...readings.map(of));
  return {
    usedMb: least((sizes) => sizes.usedMb),
    memoryMb: least((sizes) => sizes.memoryMb),
    childrenMb: least((sizes) => sizes.childrenMb),
    handles: least((sizes) => sizes.handles),
    processes: least((sizes) => sizes.processes),
    threads: least((sizes) => sizes.threads),
  };
}

const shown = ({ usedMb, memoryMb, childrenMb, handles, processes, threads }: Sizes): string =>
  `${usedMb.toFixed(1)} MB in use, ${memoryMb.toFixed(0)} MB resident, children ${childrenMb.toFixed(0)} MB, ${handles} handles, ${processes} processes, ${threads} threads`;

/** Random faults until the time is over; each ends before this returns. How often each came. */
async function storm(
  world: World,
  faults: readonly PassingFault[],
  random: Random,
  end: number,
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  while (performance.now() < end && !signal.aborted) {
    const chosen = new Set([faults[Math.floor(random() * faults.length)]!]);
    // Misfortunes seldom come singly.
    if (random() < 0.4) chosen.add(faults[Math.floor(random() * faults.length)]!);
    const seconds = between(LASTS, random);
    progress(`${[...chosen].map(({ name }) => name).join(' and ')} for ${seconds.toFixed(1)} s`);
    for (const fault of chosen) {
      counts.set(fault.name, (counts.get(fault.name) ?? 0) + 1);
      await fault.begin(world);
    }
    await delay(Math.min(seconds * 1000, Math.max(0, end - performance.now())));
    for (const fault of chosen) await fault.end(world);
    await delay(between(PAUSE, random) * 1000);
    if (!(await isAlive(world.rig.service.pid))) throw new Error('the service ended');
  }
  return counts;
}

async function killSome(world: World, random: Random, end: number, signal: AbortSignal): Promise<number> {
  let kills = 0;
  while (performance.now() < end && !signal.aborted) {
    await delay(between([2, 8], random) * 1000);
    const below = await descendants(world.rig.service.pid);
    world.rig.service.signal('SIGKILL');
    await world.rig.service.exited;
    kills += 1;
    progress(`power cut ${kills}`);
    if ((await secondsUntilGone(below, 20)) === null) {
      throw new Error('a child outlived the killed service by 20 s');
    }
    world.rig = await world.rig.again();
  }
  return kills;
}

async function run({ minutes, seed, only, without }: Options, scope: Scope, signal: AbortSignal) {
  const verdict = createVerdict();
  const random = createRandom(seed);
  const memoryFile = join(temporaryFolder(scope), 'memory.json');
  const world = await makeWorld(scope, memoryFile);
  const faults = passingFaults.filter(
    (fault) =>
      fault.possible(world) && (only?.includes(fault.name) ?? true) && without?.includes(fault.name) !== true,
  );
  if (faults.length === 0) throw new Error('none of these faults can happen here');
  const begun = performance.now();
  const end = begun + minutes * 60_000;
  const kills =
    only === undefined ? await killSome(world, random, begun + (minutes * 60_000) / 6, signal) : 0;
  signal.throwIfAborted();
  verdict.note(`${kills} power cuts`);
  // A first round, so that what is loaded once is loaded before the comparison.
  await storm(world, faults, random, begun + (minutes * 60_000) / 3, signal);
  signal.throwIfAborted();
  await settle(world, 'before the comparison');
  const before = await sizesOf(world.rig, memoryFile);
  progress(`before: ${shown(before)}`);
  const counts = await storm(world, faults, random, end, signal);
  signal.throwIfAborted();
  verdict.note([...counts].map(([name, count]) => `${count} ${name}`).join(', '));
  verdict.within(
    await settle(world, 'at the end').catch(() => null),
    2 * SETTLE_SECONDS,
    'back to normal after',
  );
  const more = (of: (sizes: Sizes) => number, now: Sizes) => 100 * (of(now) / of(before) - 1);
  const enough = (now: Sizes) => more(({ usedMb }) => usedMb, now) <= MEMORY_PERCENT;
  let after = await sizesOf(world.rig, memoryFile);
  // Memory that is free is given back when the engine gets to it.
  for (let wait = 0; wait < 6 && !enough(after); wait += 1) {
    await delay(10_000);
    after = await sizesOf(world.rig, memoryFile);
  }
  progress(`after:  ${shown(after)}`);
  verdict.note(`before: ${shown(before)}; after: ${shown(after)}`);
  verdict.hold(
    enough(after),
    `memory in use within ${MEMORY_PERCENT} % (${more(({ usedMb }) => usedMb, after).toFixed(1)} %)`,
  );
  // Free pages come back late: this only shows what no collection can.
  verdict.hold(
    more(({ memoryMb }) => memoryMb, after) <= RESIDENT_PERCENT,
    `resident memory within ${RESIDENT_PERCENT} % (${more(({ memoryMb }) => memoryMb, after).toFixed(1)} %)`,
  );
  verdict.hold(after.processes <= before.processes, 'no process is left');
  verdict.hold(after.handles <= before.handles, 'no handle is left');
  verdict.hold(after.threads <= before.threads, 'no thread is left');

  const { service, watcher } = world.rig;
  const below = await descendants(service.pid);
  const stopped = performance.now();
  const code = await service.stop();
  verdict.within((performance.now() - stopped) / 1000, 10, 'stopped after');
  // A timer or a handle that is left would keep the process from ending by itself.
  verdict.hold(code === 0, `exit code 0 (${code})`);
  verdict.hold((await secondsUntilGone(below, 10)) !== null, 'its children are gone');
  const begunSounds = () => begunIn(watcher.events);
  await secondsUntil(() => unpaired(watcher.events).length === 0 && begunSounds() >= heardBy(service), 30);
  verdict.note(`${begunSounds()} sounds arrived`);
  holdPairs(watcher.events, verdict);
  verdict.hold(
    begunSounds() >= heardBy(service),
    `no event lost (${heardBy(service)} heard in the last life)`,
  );
  const on = labelsOn(watcher);
  verdict.hold(on.length === 0, `no label stays on (${on.join()})`);
  return verdict;
}

const names = namesOf(
  passingFaults.map(({ name }) => name),
  'fault that passes',
);
const options = new Command('npm run chaos --')
  .description('Random faults of the matrix, then back to normal: nothing may be left of them.')
  .option('--minutes <n>', 'how long', positive, 60)
  .option('--seed <n>', 'the same seed plans the same faults', whole, Math.floor(Math.random() * 2 ** 31) + 1)
  .option('--only <names>', 'these faults, separated by commas', names)
  .option('--without <names>', 'not these faults', names)
  .option('--json', 'print JSON')
  .parse()
  .opts();

progress(`seed ${options.seed}, ${options.minutes} minutes`);
const interrupt = interruptible(() => progress('interrupted: ending what was started'));
const scope = createScope();
let pass = false;
let measured: string;
try {
  const verdict = await run(options, scope, interrupt.signal);
  ({ pass, measured } = verdict);
} catch (error) {
  measured = interrupt.signal.aborted ? 'interrupted' : `NOT KEPT: ${messageOf(error)}`;
} finally {
  await scope.close().catch((error: unknown) => progress(messageOf(error)));
  interrupt.release();
}
const result = { seed: options.seed, minutes: options.minutes, pass, measured };
process.stdout.write(
  options.json === true
    ? `${JSON.stringify(result, null, 2)}\n`
    : `${pass ? 'kept' : 'NOT KEPT'}, seed ${options.seed}: ${measured}\n`,
);
process.exitCode = interrupt.exitCode ?? (pass ? 0 : 1);
