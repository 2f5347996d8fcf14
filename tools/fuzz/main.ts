import { Command } from '@commander-js/extra-typings';
import { namesOf, whole } from '../options.js';
import { doorNames } from './doors.js';
import { runDoor, type DoorResult } from './run-door.js';
import { startWatchdog } from './watchdog.js';

/*
 * npm run fuzz: inputs through every door. It prints the seed; the same seed puts the same inputs in. It ends with 1
 * where a door did what it must not, where one hung, or where memory grew.
 */

/** In all at least 100,000. */
const RUNS = 8000;
const GROWTH_MB = 20;

const { seed, door, runs, json } = new Command('npm run fuzz --')
  .description('Puts inputs that are nearly right, and random ones, through every door.')
  .option(
    '--seed <n>',
    'the same seed puts the same inputs in',
    whole,
    Math.floor(Math.random() * 2 ** 31) + 1,
  )
  .option('--door <names>', 'these doors, separated by commas', namesOf(doorNames, 'door'))
  .option('--runs <n>', 'inputs per door', whole, RUNS)
  .option('--json', 'print JSON')
  .parse()
  .opts();

process.stderr.write(`fuzz: seed ${seed}\n`);
const watchdog = startWatchdog();
const results: DoorResult[] = [];
for (const name of door ?? doorNames) {
  watchdog.watch(`--door ${name} --seed ${seed} --runs ${runs}`);
  const result = await runDoor(name, { runs, seed, beat: () => watchdog.beat() });
  results.push(result);
  const growth = result.growthMb === null ? '' : `, memory ${result.growthMb.toFixed(1)} MB`;
  process.stderr.write(
    `fuzz: ${name.padEnd(12)} ${result.inputs} inputs in ${result.seconds.toFixed(1)} s, slowest ${result.slowestMs.toFixed(0)} ms${growth}${result.failure === null ? '' : '; FAILED'}\n`,
  );
  if (result.failure !== null) {
    process.stderr.write(
      `${result.failure.slice(0, 4000)}\nThe same again: --door ${name} --seed ${seed} --runs ${runs}\n`,
    );
  }
}
await watchdog.stop();
const inputs = results.reduce((sum, result) => sum + result.inputs, 0);
const bad = results.filter(({ failure, growthMb }) => failure !== null || (growthMb ?? 0) > GROWTH_MB);
if (json === true) process.stdout.write(`${JSON.stringify({ seed, inputs, results }, null, 2)}\n`);
else
  process.stdout.write(
    `${inputs} inputs through ${results.length} doors with seed ${seed}; failed: ${bad.map((one) => one.door).join(', ') || 'none'}\n`,
  );
process.exitCode = bad.length > 0 ? 1 : 0;
