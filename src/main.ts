#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander';
import type { CommandContext } from './cli/context.js';
import { programVersion } from './cli/version.js';
import { exitCodeOf } from './common/signals.js';
import { codeOf, messageOf } from './common/errors.js';
import { codeOfErrno } from './common/errno.js';
import { meantKeys } from './config/meant.js';
import { keys } from './config/schema.js';
import { BUNDLED_MODEL } from './models/bundled.js';

const DONE = 0;
const FAILED = 1;
const WRONG_USAGE = 2;
/** What is still on its way when the service has stopped, such as its last words, may take so long. */
const LAST_WORDS_MS = 1000;

type Flags = Record<string, string | boolean | undefined>;

/** The forms in which a key of the configuration is a flag: `--mqtt.base_topic` and `--mqtt-base-topic`. */
const flagsOf = (key: string) => new Set([`--${key}`, `--${key.replace(/[._]/g, '-')}`]);

const program = new Command('soundpost')
  .description('Listens, names what it hears, and posts it over MQTT.')
  .version(programVersion(), '-V, --version', 'print the version')
  .helpOption('-h, --help', 'print this help')
  .helpCommand('help [command]', 'print the help of a command')
  .configureOutput({ outputError: (text, write) => write(explained(text)) })
  .showHelpAfterError(
    '(npx soundpost --help lists the commands, npx soundpost COMMAND --help the options of one)',
  )
  .addHelpText(
    'after',
    `
Try it:
  npx soundpost listen                  what this machine hears, here in the terminal
  npx soundpost tag recording.wav       what is heard in a recording
  npx soundpost run                     the service; without a broker of yours it brings its own
Settings come from a YAML file (--config), the environment (SOUNDPOST_MQTT_URL) and flags (--mqtt.url).`,
  )
  .exitOverride();

let exitCode = DONE;

/** What commander has to say in our words, with the key of the configuration that was probably meant. */
function explained(raw: string): string {
  // What is given for a flag that does not exist may be a password.
  const text = raw.replace(/(unknown option '[^'=]*)=.*'/s, "$1'");
  const flag = /^error: unknown option '([^']+)'/.exec(text)?.[1];
  const meant = flag === undefined ? [] : meantKeys(flag.replace(/^--?/, '').replace(/=.*$/s, ''));
  const suggestion =
    meant.length === 0
      ? "('npx soundpost config' lists the keys of the configuration, each of which is a flag)"
      : `(Did you mean ${meant.map((key) => `--${key}`).join(' or ')}?)`;
  const more = flag === undefined || text.includes('Did you mean') ? '' : `${suggestion}\n`;
  return `${text.replace(/^error: /, 'soundpost: ')}${more}`;
}

/**
 * Whoever reads our output may stop reading (`| head`): that is no fault. A command has then done what it was
 * wanted for; the service goes on.
 */
function outliveClosedPipes(isService: boolean): void {
  process.stdout.on('error', (error) => {
    // A terminal that is gone; SIGHUP says what is to be done.
    if (codeOfErrno(error) === 'EIO') return;
    if (codeOfErrno(error) !== 'EPIPE') throw error;
    if (!isService) process.exit(DONE);
  });
  process.stderr.on('error', (error) => {
    if (!['EPIPE', 'EIO'].includes(codeOfErrno(error))) throw error;
  });
}

/**
 * Ctrl-C ends a command at once, but through `process.exit`: the processes it has started are ended there, even
 * one that hangs in a network. 128 + the signal's number is what a shell expects.
 */
function endOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(exitCodeOf(signal)));
  }
}

/**
 * A child that cannot be killed or a disk that hangs would keep a service alive that has stopped, and nobody would
 * start it again.
 */
function leaveSoon(): void {
  setTimeout(() => process.exit(exitCode), LAST_WORDS_MS).unref();
}

type Action = (context: CommandContext, args: string[], own: Flags) => Promise<number>;

/**
 * A command that reads the configuration: every key of it is a flag as well (`--mqtt.url`, `--mqtt-url`). What it
 * needs is loaded when it is called: `health`, which a container engine runs twice a minute, needs no MQTT.
 */
function command(
  parent: Command,
  nameAndArguments: string,
  description: string,
  load: () => Promise<Action>,
  options: {
    json?: boolean;
    own?: Option[];
    /** It has an orderly end of its own for SIGINT and SIGTERM. */
    handlesSignals?: boolean;
    isService?: boolean;
  } = {},
): Command {
  const made = parent
    .command(nameAndArguments)
    .description(description)
    .option('-c, --config <file>', 'a YAML file with settings')
    .helpOption('-h, --help', 'print this help')
    .exitOverride();
  if (options.json !== false) made.option('--json', 'print JSON on stdout and nothing else');
  for (const option of options.own ?? []) made.addOption(option);
  const taken = new Set(made.options.map(({ long }) => long));
  for (const key of keys.keys()) {
    for (const flag of flagsOf(key)) {
      if (!taken.has(flag)) made.addOption(new Option(`${flag} <value>`).hideHelp());
    }
  }
  made.addHelpText(
    'after',
    "\nEvery key of the configuration is a flag too (--mqtt.url mqtt://broker);\n'npx soundpost config' lists them.",
  );
  made.action(async () => {
    outliveClosedPipes(options.isService === true);
    if (options.handlesSignals !== true) endOnSignals();
    const given: Flags = made.opts();
    const flags: Record<string, string> = {};
    for (const option of made.options) {
      const name = option.long?.slice(2) ?? '';
      const value = given[option.attributeName()];
      if (option.hidden && typeof value === 'string') flags[name] = value;
    }
    const context: CommandContext = {
      env: process.env,
      flags,
      configPath: typeof given['config'] === 'string' ? given['config'] : undefined,
      json: given['json'] === true,
      stdout: process.stdout,
    };
    const action = await load();
    exitCode = await action(context, made.args, given);
    if (options.isService === true) leaveSoon();
  });
  return made;
}

command(
  program,
  'run',
  'the service: listen, tag, publish over MQTT',
  async () => {
    const { runCommand } = await import('./cli/run.js');
    return (context, _, own) => runCommand(context, { keepGoing: own['keepGoing'] === true });
  },
  {
    json: false,
    handlesSignals: true,
    isService: true,
    own: [
      new Option(
        '--keep-going',
        'for a device that nobody sits at: do without settings that are wrong, and without a model that ends it again and again, and tell over MQTT',
      ),
    ],
  },
);
command(program, 'tag', 'tag recordings', async () => (await import('./cli/tag.js')).tagCommand, {
  own: [
    new Option('--model <id>', 'the model to tag with; model.id of the configuration where left out'),
    new Option('--top <n>', 'how many tags to show for each window').default('5', '5'),
    new Option(
      '--hop <seconds>',
      "step between two windows; the model's window where left out, with --events that of inference.rate_hz",
    ),
    new Option('--events', 'the sounds with their onsets and offsets, in place of the tags of each window'),
    new Option('--csv', 'the events as CSV'),
    new Option('--audacity', 'the events as a label track for Audacity'),
    new Option('--track <n>', 'the audio track of a file that has several').default(undefined, '1'),
    new Option('--channel <n>', 'the one channel to listen to').default(undefined, 'the mean of all'),
  ],
}).argument(
  '<files...>',
  'recordings: WAV; with ffmpeg also FLAC, MP3 and everything else it reads; - is standard input',
);
command(
  program,
  'listen',
  'level and top tags, live in the terminal; no broker needed',
  async () => (await import('./cli/listen.js')).listenCommand,
  {
    handlesSignals: true,
    own: [
      new Option('--model <id>', 'the model to listen with; model.id of the configuration where left out'),
      new Option('--top <n>', 'how many tags to show').default('5', '5'),
      new Option('--seconds <n>', 'stop after so many seconds; else with Ctrl-C'),
    ],
  },
);
command(
  program,
  'devices',
  'list the audio inputs',
  async () => (await import('./cli/devices.js')).devicesCommand,
);
const models = program
  .command('models')
  .description('list, describe, install, check and remove models')
  .helpOption('-h, --help', 'print this help')
  .helpCommand('help [command]', 'print the help of a command')
  .exitOverride();
command(
  models,
  'list',
  'all models: here, and to be had',
  async () => (await import('./cli/models.js')).modelsListCommand,
);
command(
  models,
  'info',
  'all about one model',
  async () => (await import('./cli/models.js')).modelsInfoCommand,
).argument('<id>', 'as "npx soundpost models list" names it');
command(
  models,
  'labels',
  'the labels of a model and their recommended thresholds',
  async () => (await import('./cli/model-labels.js')).modelsLabelsCommand,
)
  .argument('<id>', 'as "npx soundpost models list" names it')
  .argument('[search]', 'only those with this in their name, or with this MID');
command(
  models,
  'verify',
  'check its digest, load it, check its scores',
  async () => (await import('./cli/models.js')).modelsVerifyCommand,
).argument('<id>', 'as "npx soundpost models list" names it');
command(
  models,
  'pull',
  'download, convert, check and install a model of the catalogue',
  async () => (await import('./cli/model-install.js')).modelsPullCommand,
  {
    handlesSignals: true,
    own: [
      new Option('--accept-digest <sha256>', 'trust this SHA-256 where the catalogue knows none of the file'),
    ],
  },
).argument('<id>', 'as "npx soundpost models list" names it');
command(
  models,
  'import',
  'convert, check and install a checkpoint or an ONNX network of your own',
  async () => (await import('./cli/model-install.js')).modelsImportCommand,
  {
    handlesSignals: true,
    own: [
      new Option('--architecture <name>', 'what network it is, as "models info" names it: Cnn14, mn10, …'),
      new Option('--id <id>', 'what to call the model'),
      new Option(
        '--labels <file>',
        'its classes: a JSON list, CSV, or one name a line; those of the released weights where left out',
      ),
      new Option(
        '--state-dict <path>',
        'where in the checkpoint the weights are, for instance ema.weights; found where left out',
      ),
      new Option('--title <text>', 'a name for people'),
      new Option('--sample-rate <hz>', 'ONNX: of the sound it takes'),
      new Option('--window <seconds>', 'ONNX: how much sound it looks at'),
      new Option(
        '--min-seconds <seconds>',
        'ONNX: the least that it takes; 1, or the window where that is less',
      ),
      new Option(
        '--frontend <name>',
        'ONNX that takes a log-mel: panns, efficientat, efficientsed, convnext, or the architecture whose log-mel it takes',
      ),
      new Option('--layout <order>', 'ONNX that takes a log-mel: NCTF or NCFT'),
      new Option(
        '--activation <what>',
        'ONNX: what is still to be done to its scores: none, sigmoid (each label by itself), softmax (one of all)',
      ).default(undefined, 'none'),
      new Option('--scores <name>', 'ONNX: the output with the scores'),
      new Option('--frames-hop <seconds>', 'ONNX: from one frame to the next of its output with frames'),
    ],
  },
).argument('<file>', 'a PyTorch checkpoint, a safetensors file, or an ONNX network (.onnx)');
command(
  models,
  'remove',
  'remove an installed model',
  async () => (await import('./cli/model-install.js')).modelsRemoveCommand,
).argument('<id>', 'as "npx soundpost models list" names it');
command(
  program,
  'bench',
  'latency, memory and temperature of each model on this machine',
  async () => (await import('./cli/bench.js')).benchCommand,
  {
    json: false,
    handlesSignals: true,
    own: [
      new Option('--models <ids>', 'which: "all", or a list with commas').default(undefined, 'all'),
      new Option('--seconds <n>', 'how long for each model, after its warm-up').default('60', '60'),
      new Option('--threads <list>', 'threads of a network: 1,2,4 measures three times').default(
        undefined,
        'model.threads',
      ),
      new Option(
        '--architectures',
        'also every architecture with synthetic weights (those that --models names, if any): no download',
      ),
      new Option('--json <file>', 'write all that was measured as JSON; - is stdout'),
      new Option('--html <file>', 'write the report as one page that needs no network'),
      new Option('--markdown <file>', 'write the table as Markdown'),
    ],
  },
);
command(
  program,
  'learn',
  'teach a sound of your own from recordings',
  async () => (await import('./cli/learn.js')).learnCommand,
  {
    own: [
      new Option('--list', 'the sounds that were taught, and how good each may be expected to be'),
      new Option('--remove', 'forget the sound of this name'),
      new Option('--replace', 'in place of what was taught under this name'),
      new Option('--model <id>', 'the model to teach; model.id of the configuration where left out'),
    ],
  },
)
  .argument('[name]', 'what the sound is to be called')
  .argument('[files...]', 'at least three recordings, each with the sound once');
command(
  program,
  'evaluate',
  'how good models are on labelled recordings of your own',
  async () => (await import('./cli/evaluate.js')).evaluateCommand,
  {
    json: false,
    handlesSignals: true,
    own: [
      new Option('--model <ids>', '"all", or a list with commas').default(undefined, 'model.id'),
      new Option('--audio <folder>', 'where the recordings are').default(undefined, 'the folder of the list'),
      new Option('--precision <part>', 'wanted of each threshold, 0 to 1').default('0.9', '0.9'),
      new Option('--write-thresholds <file>', 'write thresholds with that precision as tagging.thresholds'),
      new Option('--least <n>', 'only thresholds of labels that are in so many pieces').default('5', '5'),
      new Option('--piece <seconds>', 'how recordings with times are cut up for mAP').default('10', '10'),
      new Option('--keep-going', 'leave out what is wrong with the list or its recordings, and say so'),
      new Option('--json <file>', 'write all of it as JSON; - is stdout'),
      new Option('--csv <file>', 'write a line for each label of each model'),
      new Option('--html <file>', 'write the report with its curves as one page that needs no network'),
    ],
  },
).argument(
  '<list>',
  "CSV of file and labels, AudioSet's CSV of segments, or filename onset offset event_label with tabs",
);
command(
  program,
  'recommend',
  'measure this board and name the models that hold the rate',
  async () => (await import('./cli/recommend.js')).recommendCommand,
  {
    handlesSignals: true,
    own: [
      new Option('--rate <hz>', 'inferences per second').default(undefined, 'inference.rate_hz'),
      new Option('--max-temp <celsius>', 'how warm the chip may become').default('70', '70'),
      new Option('--seconds <n>', 'how long it may take, about').default(
        undefined,
        '90, or more for many models',
      ),
    ],
  },
);
command(
  program,
  'soak',
  'a long run of the whole service, with a verdict',
  async () => (await import('./cli/soak.js')).soakCommand,
  {
    json: false,
    handlesSignals: true,
    own: [
      new Option('--hours <n>', 'how long it takes; with --speed max, how much sound').default(
        undefined,
        '24',
      ),
      new Option('--minutes <n>', 'the same in minutes'),
      new Option('--speed <1|max>', 'in real time, or as fast as the machine can').default('1', '1'),
      new Option('--model <id>', 'the model; model.id of the configuration where left out'),
      new Option('--swap-every <seconds>', 'change the model every so many seconds of sound'),
      new Option('--swap-to <id>', `the other model; ${BUNDLED_MODEL} where left out`),
      new Option('--source <what>', 'demo, microphone, or a recording to play over and over').default(
        'demo',
        'demo',
      ),
      new Option('--broker <kind>', 'embedded, mosquitto, or auto: mosquitto where it is installed').default(
        'auto',
        'auto',
      ),
      new Option('--html <file>', 'write the report as a page with plots'),
      new Option('--json <file>', 'write the report as JSON; - is stdout'),
      new Option('--max-latency-drift <ratio>', 'p99 of the last tenth over that of the first; 1.1'),
      new Option('--max-memory-growth <ratio>', 'resident memory of a process, end over start; 1.05'),
      new Option('--max-gaps <n>', 'windows missing in the row; 0'),
      new Option('--max-drops <n>', 'windows dropped; 0'),
      new Option('--max-restarts <n>', 'restarts of processes; 0'),
      new Option('--max-loop-delay <ms>', 'p99 of the event-loop delay of the service is below; 20'),
      new Option('--max-clock-drift <ppm>', 'audio time against wall time, either way; 1000'),
      new Option(
        '--max-swap-ms <ms>',
        'the slowest swap, from the command to the first tags of the new model; not judged where left out',
      ),
    ],
  },
);
command(
  program,
  'config',
  'the effective configuration and where each value comes from',
  async () => (await import('./cli/config.js')).configCommand,
);
command(
  program,
  'doctor',
  'check this machine and say what to do',
  async () => (await import('./cli/doctor.js')).doctorCommand,
);
command(program, 'health', 'exit 0 when the running service is healthy', async () => {
  const { healthCommand } = await import('./cli/health.js');
  return (context) => healthCommand(context);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version were asked for; everything else is wrong usage, which commander has explained.
    exitCode = error.exitCode === 0 ? DONE : WRONG_USAGE;
  } else {
    process.stderr.write(`soundpost: ${messageOf(error)}\n`);
    if (codeOf(error) === 'internal' && error instanceof Error)
      process.stderr.write(`${error.stack ?? ''}\n`);
    exitCode = ['config', 'usage'].includes(codeOf(error)) ? WRONG_USAGE : FAILED;
  }
}
process.exitCode = exitCode;
