import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { SoundpostError } from '../../src/common/errors.js';
import { RATE_HZ } from '../../src/common/rules.js';
import type { BrokerKind } from './broker.js';

export interface FleetOptions {
  broker: BrokerKind;
  nodes: number;
  devices: number;
  seconds: number;
  eventSeconds: number;
  rateHz: number;
  telemetrySeconds: number;
  downSeconds: number;
  autosaveSeconds: number;
  startSpreadSeconds: number;
  outboxFolder?: string;
  json?: string;
}

/** Above this the ports of the loopback address run out (Linux gives out 28,232 of them). */
const MOST_DEVICES = 20_000;

function number(what: { least: number; most: number; whole?: boolean }): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? NaN : Number(text);
    const kind = what.whole === true ? 'a whole number' : 'a number';
    if (!(value >= what.least && value <= what.most) || (what.whole === true && !Number.isInteger(value))) {
      throw new InvalidArgumentError(`It has to be ${kind} from ${what.least} to ${what.most}.`);
    }
    return value;
  };
}

/** Of an even number of nodes one more is needed for a majority, which gains nothing. */
function oddNumber(text: string): number {
  if (!/^[135]$/.test(text.trim())) throw new InvalidArgumentError('It has to be 1, 3 or 5.');
  return Number(text);
}

/** Ends the process with 2 where an option is wrong, and 0 for `--help`. Throws SoundpostError `usage`. */
export function parseFleetOptions(argv: readonly string[]): FleetOptions {
  const options = new Command('npm run bench:fleet --')
    .description(
      'Many simulated devices against a broker on this machine: connecting, traffic, an operator who switches all models, a broker (or one of its nodes) that is killed and started again. Exits with 1 where an event is lost.',
    )
    .addOption(
      new Option('--broker <name>', 'which one')
        .choices(['mosquitto', 'nats', 'rabbitmq'])
        .default('mosquitto'),
    )
    .option('--nodes <n>', 'how many nodes it has: 1, 3 or 5', oddNumber, 1)
    .option('--devices <n>', 'how many devices', number({ least: 1, most: MOST_DEVICES, whole: true }), 1000)
    .option(
      '--seconds <s>',
      'how long they work, the restart not counted',
      number({ least: 2, most: 86_400 }),
      60,
    )
    .option(
      '--event-seconds <s>',
      'each device hears a sound about this often',
      number({ least: 0.1, most: 3600 }),
      5,
    )
    .option(
      '--rate-hz <hz>',
      'inferences a second of each device',
      number({ least: RATE_HZ.min, most: RATE_HZ.max }),
      1,
    )
    .option(
      '--telemetry-seconds <s>',
      'time between two messages of telemetry',
      number({ least: 1, most: 3600 }),
      30,
    )
    .option(
      '--down-seconds <s>',
      'how long the broker, or its node, is away after it was killed',
      number({ least: 0, most: 3600 }),
      2,
    )
    .option(
      '--autosave-seconds <s>',
      'how often mosquitto writes its data to disk',
      number({ least: 1, most: 1800, whole: true }),
      5,
    )
    .option(
      '--start-spread-seconds <s>',
      'the first connects are spread over this long, as after a power cut',
      number({ least: 0, most: 60 }),
      4,
    )
    .option(
      '--outbox-folder <folder>',
      'where the outboxes of the devices are made (default: in memory, /dev/shm, for a thousand devices do not share a disk)',
    )
    .option('--json <file>', 'write what was measured as JSON')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .parse(argv, { from: 'user' })
    .opts();
  if (options.eventSeconds * options.rateHz < 2) {
    throw new SoundpostError(
      'usage',
      `A sound every ${options.eventSeconds} s cannot be told apart at ${options.rateHz} inferences a second: make --event-seconds at least ${2 / options.rateHz}, or raise --rate-hz.`,
    );
  }
  if (options.broker === 'mosquitto' && options.nodes > 1) {
    throw new SoundpostError(
      'usage',
      'mosquitto has one node: --nodes needs --broker nats or --broker rabbitmq.',
    );
  }
  if (options.broker === 'mosquitto' && options.autosaveSeconds > options.seconds / 2) {
    throw new SoundpostError(
      'usage',
      `The broker is killed after ${options.seconds / 2} s and would not have saved its sessions by then: make --autosave-seconds smaller, or --seconds at least ${options.autosaveSeconds * 2}.`,
    );
  }
  return options;
}
