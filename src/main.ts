#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander';
import { configCommand } from './cli/config.js';
import type { CommandContext } from './cli/context.js';
import { devicesCommand } from './cli/devices.js';
import { doctorCommand } from './cli/doctor.js';
import { healthCommand } from './cli/health.js';
import { listenCommand } from './cli/listen.js';
import { modelsInfoCommand, modelsListCommand, modelsVerifyCommand } from './cli/models.js';
import { runCommand } from './cli/run.js';
import { tagCommand } from './cli/tag.js';
import { programVersion } from './cli/version.js';
import { codeOf, messageOf } from './common/errors.js';
import { keys } from './config/schema.js';

const DONE = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

type Flags = Record<string, string | boolean | undefined>;

const program = new Command('soundpost')
  .description('Listens, names what it hears, and posts it over MQTT')
  .version(programVersion())
  .showHelpAfterError('(soundpost --help lists the commands)')
  .exitOverride();

let exitCode = DONE;

/** A command that reads the configuration: every key of it is a flag as well (`--mqtt.url`, `--mqtt-url`). */
function command(
  parent: Command,
  nameAndArguments: string,
  description: string,
  action: (context: CommandContext, args: string[], own: Flags) => Promise<number>,
  options: { json?: boolean; own?: Option[] } = {},
): Command {
  const made = parent
    .command(nameAndArguments)
    .description(description)
    .option('-c, --config <file>', 'a YAML file with settings')
    .exitOverride();
  if (options.json !== false) made.option('--json', 'machine-readable output on stdout and nothing else');
  for (const option of options.own ?? []) made.addOption(option);
  const taken = new Set(made.options.map(({ long }) => long));
  for (const key of keys.keys()) {
    for (const flag of new Set([`--${key}`, `--${key.replace(/[._]/g, '-')}`])) {
      if (!taken.has(flag)) made.addOption(new Option(`${flag} <value>`).hideHelp());
    }
  }
  made.addHelpText(
    'after',
    '\nEvery key of the configuration is a flag too, for example --mqtt.url mqtt://broker.',
  );
  made.action(async () => {
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
    exitCode = await action(context, made.args, given);
  });
  return made;
}

command(program, 'run', 'the service', runCommand, { json: false });
command(program, 'tag', 'tag recordings', tagCommand, {
  own: [
    new Option('--model <id>', 'the model to tag with'),
    new Option('--top <n>', 'how many tags to show for each window').default('5'),
    new Option('--hop <seconds>', 'step between two windows; the window itself where left out'),
  ],
}).argument('<files...>', 'recordings: wav, and with ffmpeg flac, mp3 and everything else');
command(program, 'listen', "the service's ears in the terminal", listenCommand, {
  own: [
    new Option('--model <id>', 'the model to listen with'),
    new Option('--top <n>', 'how many tags to show').default('5'),
    new Option('--seconds <n>', 'stop after so many seconds'),
  ],
});
command(program, 'devices', 'audio inputs', devicesCommand);
const models = program.command('models').description('what is installed').exitOverride();
command(models, 'list', 'all models', modelsListCommand);
command(models, 'info', 'one model in full', (context, [id = '']) => modelsInfoCommand(context, id)).argument(
  '<id>',
);
command(models, 'verify', 'check the digest, load the model, check its scores', (context, [id = '']) =>
  modelsVerifyCommand(context, id),
).argument('<id>');
command(program, 'config', 'the effective configuration and where each value comes from', configCommand);
command(program, 'doctor', 'check this machine and say what to do', doctorCommand);
command(program, 'health', 'exit 0 when the running service is healthy', (context) => healthCommand(context));

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
// Everything has been stopped by now; what a native library still holds open must not keep the process alive.
process.exitCode = exitCode;
