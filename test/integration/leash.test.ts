import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { installBadModel } from '../support/bad-models.js';
import { startCli } from '../support/cli.js';
import {
  descendants,
  isAlive,
  makeDataDir,
  startedInference,
  startService,
  untilGone,
} from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

t.jobs = 3;

/** Resolves when all of these are gone; rejects with one that is not. */
async function allGone(t: Test, processes: readonly { pid: number; command: string }[]): Promise<void> {
  await Promise.all(processes.map(({ pid }) => untilGone(pid)));
  for (const { pid, command } of processes) t.notOk(await isAlive(pid), `${pid} ${command} is gone`);
}

/** What a process has started, once a program of this name is among it. */
async function childrenWith(
  pid: number,
  program: string,
  stillThere: () => boolean | Promise<boolean> = () => true,
): ReturnType<typeof descendants> {
  let children: Awaited<ReturnType<typeof descendants>> = [];
  await until(
    async () => {
      if (!(await stillThere())) throw new Error(`it ended before it had started ${program}`);
      children = await descendants(pid);
      return children.some(({ command }) => command.startsWith(program));
    },
    () => `a child ${program}; there were ${children.map(({ command }) => command).join('; ')}`,
    60,
    10,
  );
  return children;
}

t.test('a service that is killed leaves no process, though its model hangs in native code', async (t) => {
  const dataDir = await makeDataDir(t);
  await installBadModel(dataDir, 'hang-at-once');
  const service = startService(t, {
    DATA_DIR: dataDir,
    BROKER_PORT: '0',
    AUDIO_SOURCE: 'demo',
    MODEL_ID: 'bad-hang-at-once',
    HOMEASSISTANT_ENABLED: 'false',
  });
  const [inference] = await startedInference(service.pid);
  // It is inside the network once it has used two seconds of the processor: everything before takes less.
  await until(async () => (await processorSeconds(inference!)) >= 2, 'a network that hangs', 120);
  const children = await descendants(service.pid);
  t.ok(children.length > 0);
  service.signal('SIGKILL');
  await service.exited;
  await allGone(t, children);
});

/** The seconds of processor time that a process has used, at the usual 100 ticks a second. */
async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

t.test('nor does one that listens through ffmpeg', { skip: skipWithout('ffmpeg') }, async (t) => {
  const dataDir = await makeDataDir(t);
  const service = startService(t, {
    DATA_DIR: dataDir,
    BROKER_PORT: '0',
    AUDIO_SOURCE: 'stream',
    // Nobody answers there: ffmpeg waits in the network, and reads nothing of ours.
    AUDIO_URL: 'udp://127.0.0.1:9',
    HOMEASSISTANT_ENABLED: 'false',
  });
  const children = await childrenWith(service.pid, 'ffmpeg');
  service.signal('SIGKILL');
  await service.exited;
  await allGone(t, children);
});

t.test('nor does a command that waits for a pipe to be written', async (t) => {
  const fifo = join(await makeDataDir(t), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const { child, ended } = startCli(['tag', fifo]);
  t.teardown(() => child.kill('SIGKILL'));
  const children = await childrenWith(child.pid!, 'cat', async () => {
    if (child.exitCode !== null) throw new Error(`it ended: ${(await ended).stderr}`);
    return true;
  });
  child.kill('SIGKILL');
  await ended;
  await allGone(t, children);
});

/** A program of ours that starts children that take no notice of anything, and says their numbers. */
async function keeper(
  t: Test,
  body: string,
): Promise<{ kill: (signal: NodeJS.Signals) => Promise<void>; pids: number[] }> {
  const file = join(await makeDataDir(t), 'keeper.mjs');
  await writeFile(
    file,
    `import { spawn } from 'node:child_process';
     import { startChild } from ${JSON.stringify(projectPath('dist', 'src', 'common', 'child.js'))};
     const deaf = () => startChild('a deaf child', () => spawn('sh', ['-c', "trap '' HUP INT TERM; while :; do sleep 1000; done"], { stdio: 'ignore' }));
     ${body}`,
  );
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return {
    pids: JSON.parse(line) as number[],
    async kill(signal) {
      child.kill(signal);
      await exited;
    },
  };
}

t.test('a hundred children that came and went, and those that are left', async (t) => {
  const { kill, pids } = await keeper(
    t,
    `const quick = () => new Promise((done) => startChild('a quick one', () => spawn('true')).once('exit', done));
     const first = deaf();
     for (let n = 0; n < 100; n += 1) await quick();
     const gone = deaf();
     gone.kill('SIGKILL');
     await new Promise((done) => gone.once('exit', done));
     console.log(JSON.stringify([first.pid, deaf().pid]));
     setInterval(() => {}, 1e6);`,
  );
  for (const pid of pids) t.ok(await isAlive(pid));
  await kill('SIGKILL');
  await allGone(
    t,
    pids.map((pid) => ({ pid, command: 'deaf' })),
  );
});

t.test('a leash that was killed is replaced with the next child', async (t) => {
  const { kill, pids } = await keeper(
    t,
    `import { readFileSync, readdirSync } from 'node:fs';
     const first = deaf();
     const isLeash = (pid) => { try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8').includes('soundpost leash') && readFileSync('/proc/' + pid + '/stat', 'utf8').split(' ')[3] === String(process.pid); } catch { return false; } };
     const leash = () => readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).find(isLeash);
     const old = Number(leash());
     process.kill(old, 'SIGKILL');
     for (let looks = 0; leash() !== undefined; looks += 1) {
       if (looks > 3000) throw new Error('the leash that was killed is still there after 30 s');
       await new Promise((done) => setTimeout(done, 10));
     }
     // This process hears of it a moment later, as of every child.
     await new Promise((done) => spawn('true').once('exit', () => setImmediate(done)));
     const second = deaf();
     console.log(JSON.stringify([first.pid, second.pid]));
     setInterval(() => {}, 1e6);`,
  );
  await kill('SIGKILL');
  await allGone(
    t,
    pids.map((pid) => ({ pid, command: 'deaf' })),
  );
});

t.test('an end through process.exit takes them along, and the leash is gone with it', async (t) => {
  const { kill, pids } = await keeper(
    t,
    `process.on('SIGTERM', () => process.exit(3));
     console.log(JSON.stringify([deaf().pid]));
     setInterval(() => {}, 1e6);`,
  );
  await kill('SIGTERM');
  await allGone(
    t,
    pids.map((pid) => ({ pid, command: 'deaf' })),
  );
});

t.test('a program whose children have ended is not kept alive by the leash', async (t) => {
  const { pids, kill } = await keeper(
    t,
    `const child = startChild('a quick one', () => spawn('true'));
     child.once('exit', () => console.log(JSON.stringify([child.pid])));`,
  );
  t.equal(pids.length, 1);
  // A signal that comes too late: it has ended by itself, or `kill` would end it; either way nothing is left.
  await kill('SIGCONT');
});

t.test('a child that is not there is the usual event of Node, and ends nobody', async (t) => {
  const { startChild, startShortage } = await import('../../src/common/child.js');
  const child = startChild('nothing', () => spawn('/nowhere/at-all'));
  const [error] = (await once(child, 'error')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'ENOENT');
  t.equal(startShortage('nothing', error), null);
  t.match(startShortage('the thing', Object.assign(new Error(), { code: 'EAGAIN' })), {
    code: 'no_resources',
    message: /^the thing could not be started.*EAGAIN/,
  });
  t.throws(() => startChild('a broken call', () => spawn('true', { stdio: 'nonsense' as 'pipe' })), {
    code: 'ERR_INVALID_ARG_VALUE',
  });
});
