import { join } from 'node:path';
import { Command, Option } from '@commander-js/extra-typings';
import { projectRoot } from '../../src/common/project.js';

export interface BenchOptions {
  seconds?: number;
  rate: number;
  model: string;
  recording: string;
  dataDir: string;
  checkpoint?: string;
  python: string;
  broker?: 'embedded' | 'mosquitto';
  large: boolean;
  /** Measure several sources, and nothing else. */
  sources?: number;
  rounds: number;
  json?: string;
  check: boolean;
}

/** A positive number, for commander. */
function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`"${text}" is not a positive number.`);
  return value;
}

function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`"${text}" is not a positive whole number.`);
  return Number(text);
}

function atLeastTwo(text: string): number {
  if (!/^([2-9]|[1-9]\d)$/.test(text)) throw new Error(`"${text}" is not a number from 2 to 99.`);
  return Number(text);
}

/** Reads the command line; ends the process where it is wrong. */
export function parseOptions(): BenchOptions {
  return new Command('npm run bench --')
    .description('Measures the service as a whole: CPU per hop, memory, event-loop delay.')
    .option(
      '--seconds <s>',
      'how long to measure, after warming up (default: 60; with --sources 20, in each run)',
      positive,
    )
    .option('--rate <hz>', 'inferences per second', positive, 1)
    .option(
      '--model <id>',
      'an installed model, or a folder with model.json and model.onnx',
      'soundpost-home',
    )
    .option('--data-dir <folder>', 'where installed models are', process.env['SOUNDPOST_DATA_DIR'] ?? 'data')
    .option(
      '--recording <wav>',
      'mono 16-bit, 32 kHz; the demo recording where left out',
      join(projectRoot(), 'models', 'demo', 'day-at-home.wav'),
    )
    .option(
      '--checkpoint <pt>',
      'the EfficientAT checkpoint that the model was made of, to be compared with in PyTorch',
    )
    .option('--python <program>', 'a Python with torch', '/usr/bin/python3')
    .addOption(
      new Option('--broker <kind>', 'default: mosquitto where it is installed').choices([
        'embedded',
        'mosquitto',
      ]),
    )
    .option('--no-large', 'leave out the large synthetic model (needs 330 MB on disk)')
    .option(
      '--sources <n>',
      'measure n sources beside one, a camera and a quiet room, in turns, and nothing else',
      atLeastTwo,
    )
    .option('--rounds <n>', 'how many turns of each, with --sources', positiveInteger, 3)
    .option('--json <file>', 'write what was measured as JSON')
    .option('--check', 'exit with 1 when a limit is missed', false)
    .parse()
    .opts();
}
