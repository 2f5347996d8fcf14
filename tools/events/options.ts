import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { hasMosquitto } from '../../src/bench/broker-process.js';
import { projectRoot } from '../../src/common/project.js';
import { number, positive, whole } from '../options.js';

export interface Options {
  models: string[];
  material: string;
  seed: number;
  repeats: number;
  rates: number[];
  lengths: number[];
  noise: number[];
  threshold: number | null;
  set: Readonly<Record<string, string>>;
  context?: number;
  lookback?: number;
  delaySeconds: number;
  costSeconds: number;
  accuracy: boolean;
  broker: 'embedded' | 'mosquitto';
  json?: string;
  markdown?: string;
}

/** Reference material that does not come with the program; `--material` and this variable say where it is. */
const MATERIAL = 'SOUNDPOST_BENCH_MATERIAL';

export function parseOptions(): Options {
  return new Command('npm run bench:events --')
    .description('Measures when the service says that sounds are, against scenes with known times.')
    .option('--models <ids>', 'models, or folders with a model.json', list, ['soundpost-home', 'mn04_as'])
    .addOption(
      new Option('--material <folder>', 'reference material: recordings, models, checkpoints')
        .env(MATERIAL)
        .default(join(resolve(projectRoot(), '..'), 'shared')),
    )
    .option('--seed <n>', 'another one mixes other scenes', whole, 1)
    .option('--repeats <n>', 'scenes per level of noise', whole, 3)
    .option('--rates <hz>', 'inferences per second; the first one is that of the accuracy', positives, [1, 2])
    .option('--lengths <s>', 'lengths of sounds', positives, [0.5, 1, 2, 4])
    .option('--noise <dbfs>', 'levels of the noise, RMS', numbers, [-62, -52, -42])
    .option('--threshold <t>', "one for all labels, in place of the models' own", fraction, null)
    .option(
      '--set <NAME=value>',
      'a setting of the service, e.g. SOUNDPOST_TAGGING_MIN_GAP_SECONDS=1',
      pair,
      {},
    )
    .option('--context <s>', 'context_seconds of the frames, in place of the manifest’s', number)
    .option('--lookback <s>', 'lookback_seconds of the frames, in place of the manifest’s', number)
    .option('--delay-seconds <s>', 'length of the scene in real time, per rate; 0 leaves it out', number, 200)
    .option('--cost-seconds <s>', 'how long the CPU is measured; 0 leaves it out', number, 60)
    .option('--no-accuracy', 'leave the scenes as fast as it can out')
    .addOption(
      new Option('--broker <kind>', 'default: mosquitto where it is installed')
        .choices(['embedded', 'mosquitto'])
        .default(hasMosquitto() ? 'mosquitto' : 'embedded'),
    )
    .option('--json <file>', 'write what was measured as JSON')
    .option('--markdown <file>', 'write the tables of docs/detection.md')
    .parse()
    .opts();
}

function numbers(text: string): number[] {
  return text.split(',').map(number);
}

function positives(text: string): number[] {
  return text.split(',').map(positive);
}

function list(text: string): string[] {
  return text.split(',').filter((name) => name !== '');
}

function fraction(text: string): number {
  const value = number(text);
  if (value < 0 || value > 1) throw new InvalidArgumentError('It must be from 0 to 1.');
  return value;
}

function pair(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const match = /^(SOUNDPOST_[A-Z0-9_]+)=(.*)$/s.exec(text);
  if (match === null) throw new InvalidArgumentError('It must be SOUNDPOST_…=value.');
  return { ...before, [match[1]!]: match[2]! };
}
