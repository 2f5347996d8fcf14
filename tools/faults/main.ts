import { writeFileSync } from 'node:fs';
import { Command, Option } from '@commander-js/extra-typings';
import { interruptible } from '../../src/common/interrupt.js';
import { namesOf } from '../options.js';
import { formatTable } from './table.js';
import { projectRoot } from '../../src/common/project.js';
import { messageOf } from '../../src/common/errors.js';
import { reliabilityDocument } from './document.js';
import { matrix } from './matrix.js';
import { faultNames, groups, promises, sentenceOf, type FaultName, type Group } from './promises.js';
import { createScope } from './scope.js';
import { createVerdict, NotHere } from './verdict.js';

/*
 * npm run faults: every fault of docs/reliability.md, injected into the built service. The table goes to stdout,
 * progress to stderr; it ends with 1 where a promise was not kept.
 */

/** The longest that one fault may take, whatever happens. */
const LIMIT_MS = 8 * 60_000;

export interface FaultRow {
  name: FaultName;
  group: Group;
  fault: string;
  promise: string;
  measured: string;
  /** null where the machine has no means for it. */
  pass: boolean | null;
  seconds: number;
}

function progress(text: string): void {
  process.stderr.write(`faults: ${text}\n`);
}

async function measure(name: FaultName, signal: AbortSignal): Promise<FaultRow> {
  const { group, fault, backSeconds } = promises[name];
  const verdict = createVerdict();
  const scope = createScope();
  const begun = performance.now();
  let notHere: string | null = null;
  let timer: NodeJS.Timeout | undefined;
  let interrupted = (): void => undefined;
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took longer than ${LIMIT_MS / 60_000} minutes`)), LIMIT_MS);
    interrupted = () => reject(new Error('interrupted'));
    signal.addEventListener('abort', interrupted);
  });
  tooLong.catch(() => undefined);
  try {
    const injected = matrix[name](scope, verdict, backSeconds ?? Infinity);
    injected.catch(() => undefined);
    await Promise.race([injected, tooLong]);
  } catch (error) {
    if (error instanceof NotHere) notHere = error.message;
    else verdict.hold(false, messageOf(error).split('\n')[0]!);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', interrupted);
    await scope.close().catch((error: unknown) => verdict.hold(false, messageOf(error)));
  }
  return {
    name,
    group,
    fault,
    promise: sentenceOf(promises[name]),
    measured: notHere === null ? verdict.measured : `not run here: ${notHere}`,
    pass: notHere === null ? verdict.pass : null,
    seconds: Math.round((performance.now() - begun) / 1000),
  };
}

async function run(chosen: readonly FaultName[], json: boolean): Promise<void> {
  const interrupt = interruptible(() => progress('interrupted: ending what was started'));
  const rows: FaultRow[] = [];
  for (const [index, name] of chosen.entries()) {
    if (interrupt.signal.aborted) break;
    progress(`${index + 1} of ${chosen.length}: ${name}`);
    const row = await measure(name, interrupt.signal);
    progress(
      `  ${row.pass === null ? 'not run' : row.pass ? 'kept' : 'NOT KEPT'} (${row.seconds} s): ${row.measured}`,
    );
    rows.push(row);
  }
  const missed = rows.filter(({ pass }) => pass === false);
  if (json) process.stdout.write(`${JSON.stringify({ rows }, null, 2)}\n`);
  else process.stdout.write(formatTable(rows));
  progress(
    `${rows.filter(({ pass }) => pass === true).length} kept, ${missed.length} not kept, ${rows.filter(({ pass }) => pass === null).length} not run here`,
  );
  process.exitCode = interrupt.exitCode ?? (missed.length > 0 ? 1 : 0);
  interrupt.release();
}

const options = new Command('npm run faults --')
  .description(
    'Injects every fault of docs/reliability.md into the built service and measures what is promised.',
  )
  .option(
    '--only <names>',
    'these faults, separated by commas',
    namesOf(faultNames, 'fault', '--list names them'),
  )
  .addOption(new Option('--group <group>', 'the faults of one group').choices(Object.keys(groups)))
  .option('--json', 'print JSON')
  .option('--list', 'print the names')
  .option('--document', 'write docs/reliability.md from the list of promises, and inject nothing')
  .parse()
  .opts();

if (options.document === true) {
  const path = `${projectRoot()}/docs/reliability.md`;
  const { format, resolveConfig } = await import('prettier');
  const text = await format(reliabilityDocument(), { ...(await resolveConfig(path)), filepath: path });
  writeFileSync(path, text);
} else if (options.list === true) {
  process.stdout.write(faultNames.map((name) => `${name.padEnd(30)} ${promises[name].fault}\n`).join(''));
} else {
  const chosen = (options.only ?? faultNames).filter(
    (name) => options.group === undefined || promises[name].group === options.group,
  );
  await run(chosen, options.json === true);
}
