/**
 * What networks cost as streams: npm run bench:streaming. Both forms of each network run in turns over the same sound,
 * at 1 Hz on the average; the table has the CPU of both, their ratio beside that of the multiply-accumulates, what is
 * kept, and how far the two are apart. With `--soak-hours` streams run at full speed for so many hours of sound, and are
 * compared with whole windows all the way.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Command, Option } from '@commander-js/extra-typings';
import { table } from '../bench/text-table.js';
import { namesOf, positive, whole } from '../options.js';
import type { Measured } from './measure-network.js';
import { soakApart, summaryOf, type Soaked } from './soak-report.js';
import { NETWORKS } from './subjects.js';
import { thermalTable } from './thermal-table.js';

/** What the largest networks may take of the whole window's CPU, with the left edge exact and a window of 10 s. */
const GOALS: Readonly<Record<string, number>> = {
  Cnn14: 0.3,
  Cnn10: 0.3,
  ResNet38: 0.45,
  MobileNetV2: 0.5,
};

const options = new Command('npm run bench:streaming --')
  .description('Measures networks as streams beside the same networks for the whole window.')
  .option('--networks <names>', 'which ones, with commas between them', namesOf(NETWORKS, 'network'))
  .option('--window <s>', 'length of the window', positive, 10)
  .option('--hops <n>', 'how many windows', whole, 20)
  .addOption(
    new Option('--left-edge <how>', 'exact, or stream: cheaper, and a little different')
      .choices(['exact', 'stream'] as const)
      .default('exact' as const),
  )
  .option('--recording <file>', 'sound to run them over, in a loop; tones in noise where left out')
  .option('--soak-hours <h>', 'run streams for so many hours of sound, as fast as they compute', positive)
  .option('--soak-minutes <min>', 'end the soak of a network after so much time', positive, 24 * 60)
  .option('--compare-every <n>', 'in a soak: every so many windows are compared', whole, 97)
  .option('--thermal', 'print what a bare Raspberry Pi 4 would hold at 1 Hz, too (simulated)')
  .option('--json <file>', 'write the figures there too')
  .parse()
  .opts();

async function measureApart(name: string): Promise<Measured> {
  const script = join(import.meta.dirname, 'measure-process.js');
  const { window, hops, leftEdge, recording } = options;
  const args = [script, name, String(window), String(hops), leftEdge];
  if (recording !== undefined) args.push(resolve(recording));
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 900_000 });
  return JSON.parse(stdout) as Measured;
}

function row({ name, figures, reason }: Measured): string[] {
  if (figures === null) return [name, reason ?? ''];
  const { gridSeconds, wholeMs, streamMs, share, macsShare, firstMs, stateBytes } = figures;
  const { worstScore, worst, meanScoreOff, sameTop } = figures;
  return [
    name,
    gridSeconds.toFixed(3),
    wholeMs.toFixed(1),
    streamMs.toFixed(1),
    share.toFixed(2),
    macsShare?.toFixed(2) ?? '–',
    firstMs.toFixed(0),
    (stateBytes / 1e6).toFixed(1),
    worstScore.toExponential(0),
    worst.toExponential(0),
    meanScoreOff.toExponential(0),
    (100 * sameTop).toFixed(0),
    options.window === 10 && options.leftEdge === 'exact' ? (GOALS[name]?.toFixed(2) ?? '') : '',
  ];
}

async function compareForms(): Promise<Measured[]> {
  const head = ['network', 'grid s', 'whole ms', 'stream ms', 'ratio', 'MACs', 'first ms', 'kept MB'];
  const measured: Measured[] = [];
  const rows = [[...head, 'score off', 'off', 'mean off', 'same top %', 'goal']];
  for (const name of options.networks ?? NETWORKS) {
    process.stderr.write(`${name} …\n`);
    const result = await measureApart(name);
    measured.push(result);
    rows.push(row(result));
  }
  const isStream = (cells: readonly string[]): boolean => cells.length > 2;
  process.stdout.write(`${table(rows.filter(isStream)).join('\n')}\n`);
  for (const { name, reason } of measured) {
    if (reason !== null) process.stdout.write(`${name} is no stream: ${reason}.\n`);
  }
  if (options.thermal === true) process.stdout.write(`\n${thermalTable(measured).join('\n')}\n`);
  return measured;
}

async function soak(hours: number): Promise<Soaked[]> {
  const soaked: Soaked[] = [];
  for (const name of options.networks ?? ['Cnn14' as const]) {
    const { window, soakMinutes, compareEvery } = options;
    const result = await soakApart({
      ...{ name, hours, compareEvery, windowSeconds: window, minutes: soakMinutes },
      tell: (line) => process.stdout.write(`${line}\n`),
    });
    soaked.push(result);
    process.stdout.write(`${summaryOf(result)}\n`);
    if (result.faults.length > 0 || result.reason !== null) process.exitCode = 1;
  }
  return soaked;
}

const results = options.soakHours === undefined ? await compareForms() : await soak(options.soakHours);
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
