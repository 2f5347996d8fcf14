import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from '@commander-js/extra-typings';
import { hasMosquitto } from '../../src/bench/broker-process.js';
import { hostFacts } from '../../src/bench/host-facts.js';
import { createWorkFolder, type WorkFolder } from '../../src/bench/work-folder.js';
import { messageOf } from '../../src/common/errors.js';
import { interruptible } from '../../src/common/interrupt.js';
import { silentLogger } from '../../src/common/log.js';
import { projectRoot } from '../../src/common/project.js';
import { BUNDLED_MODEL } from '../../src/models/bundled.js';
import { createRegistry } from '../../src/models/registry.js';
import { measureAlone } from './alone.js';
import { runService, type ServiceRun } from '../bench/service-run.js';
import { CHROMIUM } from './chromium.js';
import { measureFirstPaint } from './paint.js';
import { positive, whole } from '../options.js';

/*
 * npm run bench:page: what the history, the page and its viewers cost the running service, window by window. The same
 * service is measured in turns, with and without each of them; what counts are the differences.
 */

const OFF = { HISTORY_ENABLED: 'false', WEB_ENABLED: 'false' };

interface Case {
  name: string;
  settings: Readonly<Record<string, string>>;
  viewers: readonly string[];
}

const cases: readonly Case[] = [
  { name: 'neither history nor page', settings: OFF, viewers: [] },
  { name: 'history', settings: { WEB_ENABLED: 'false' }, viewers: [] },
  { name: 'history, page, nobody looks', settings: {}, viewers: [] },
  { name: '… one reads the feed', settings: {}, viewers: ['/api/feed'] },
  { name: '… and the spectrogram', settings: {}, viewers: ['/api/feed', '/api/spectrogram'] },
  {
    name: 'history, page, clips',
    settings: { CLIPS_ENABLED: 'true', CLIPS_SPEECH: 'keep' },
    viewers: [],
  },
];

function put(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** CPU of the service process itself, of its inference, and of all, in ms per window. */
function figures({ processes, cpuMsPerHop }: ServiceRun): [service: number, inference: number, all: number] {
  const of = (fits: (command: string) => boolean) =>
    processes.filter(({ command }) => fits(command)).reduce((sum, each) => sum + each.cpuMsPerHop, 0);
  const inference = of((command) => command.includes('inference'));
  return [of((command) => command.includes('main.js')), inference, cpuMsPerHop];
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const options = new Command('npm run bench:page --')
  .description('Measures what the history, the page and its viewers cost: CPU per window.')
  .option('--seconds <s>', 'how long to measure each, after warming up', positive, 60)
  .option('--rate <hz>', 'inferences per second', positive, 1)
  .option('--rounds <n>', 'how many times, in turns', whole, 2)
  .option('--only <text>', 'only the cases whose names have this in them', '')
  .option('--alone', 'only the page’s server by itself', false)
  .option('--paint', 'only how soon a browser shows the page', false)
  .parse()
  .opts();
const interrupt = interruptible(() => process.stderr.write('interrupted: stopping what was started\n'));
/** The service in turns, as each of the cases has it. */
async function measureServices(work: string, windowSeconds: number): Promise<void> {
  const wanted = cases.filter(({ name }) => name.includes(options.only));
  if (wanted.length === 0) throw new Error(`no case has "${options.only}" in its name`);
  const measured = new Map<Case, [number, number, number][]>(wanted.map((each) => [each, []]));
  for (let round = 0; round < options.rounds; round += 1) {
    for (const each of wanted) {
      const folder = join(work, `${round}-${cases.indexOf(each)}`);
      await mkdir(join(folder, 'data'), { recursive: true });
      const run = await runService({
        program: join(projectRoot(), 'dist', 'src', 'main.js'),
        folder,
        modelId: BUNDLED_MODEL,
        windowSeconds: windowSeconds,
        recording: join(projectRoot(), 'models', 'demo', 'day-at-home.wav'),
        rateHz: options.rate,
        seconds: options.seconds,
        broker: hasMosquitto() ? 'mosquitto' : 'embedded',
        eventLoop: false,
        settings: each.settings,
        viewers: each.viewers,
        signal: interrupt.signal,
        progress: () => undefined,
      });
      measured.get(each)!.push(figures(run));
      process.stderr.write(
        `${each.name}: ${figures(run)
          .map((ms) => ms.toFixed(2))
          .join(' / ')}\n`,
      );
    }
  }
  put(
    'CPU per window, in ms: the service process, its inference, all (with what each costs more than the first)',
  );
  const base = [0, 1, 2].map((column) => mean(measured.get(wanted[0]!)!.map((row) => row[column]!)));
  for (const [{ name }, rows] of measured) {
    const cells = [0, 1, 2].map((column) => {
      const value = mean(rows.map((row) => row[column]!));
      const more = value - base[column]!;
      return `${value.toFixed(2)} (${more < 0 ? '-' : '+'}${Math.abs(more).toFixed(2)})`.padStart(16);
    });
    put(`${name.padEnd(30)}${cells.join('')}`);
  }
}

async function putAlone(): Promise<void> {
  const { nobody, feed, spectrogram } = await measureAlone();
  put('CPU of the page’s server by itself, in ms per window (tags and level; 100 columns of 128 bands):');
  put(
    `nobody looks ${nobody.toFixed(3)}, one reads the feed ${feed.toFixed(3)}, the spectrogram ${spectrogram.toFixed(3)}`,
  );
}

async function putFirstPaint(dataDir: string): Promise<void> {
  const found = await measureFirstPaint(dataDir, [1, 6]);
  if (found === null) {
    put(`There is no Chromium at ${CHROMIUM}, so nothing was painted.`);
    return;
  }
  for (const { slowdown, paintMs, contentMs } of found) {
    put(
      `CPU ${slowdown === 1 ? 'as it is' : `slowed down ${slowdown} times`}: first paint after ${paintMs.toFixed(0)} ms, first text after ${contentMs.toFixed(0)} ms`,
    );
  }
}

let work: WorkFolder | undefined;
try {
  work = await createWorkFolder(join(projectRoot(), 'data'), 'page');
  const registry = createRegistry({
    bundledFolder: join(projectRoot(), 'models'),
    dataDir: work.folder,
    log: silentLogger,
  });
  const { manifest } = await registry.get(BUNDLED_MODEL);
  const { cpu, cores } = hostFacts();
  put(`${cpu}, ${cores} cores, Node ${process.version}; ${BUNDLED_MODEL} at ${options.rate} Hz`);
  if (options.paint) await putFirstPaint(work.folder);
  else await putAlone();
  if (!options.alone && !options.paint) await measureServices(work.folder, manifest.input.window_seconds);
} catch (error) {
  if (interrupt.exitCode === null) process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = interrupt.exitCode ?? 1;
} finally {
  await work?.remove();
  interrupt.release();
}
