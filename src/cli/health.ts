import { readHealth } from '../service/health-file.js';
import { loadConfig, loadConfigAnyway } from '../config/load.js';
import type { CommandContext } from './context.js';

/**
 * `soundpost health`: what the running service says of itself. Resolves to 0 when it is healthy, else to 1. As
 * JSON: `{"healthy","checks":[{"name","ok","detail"}…],"age"}`, age in seconds; with several sources also `sources`, in
 * the form of `checks`.
 *
 * Only the data folder is taken from the configuration. What is wrong with the rest is left out here as it is by the
 * service with `--keep-going`, which tells it: a typing error in a variable makes nobody ill. Flags are given to this
 * very command by somebody who reads its answer: with them everything is checked, and what is wrong is thrown as
 * SoundpostError `config`.
 */
export async function healthCommand(context: CommandContext, nowMs: number = Date.now()): Promise<number> {
  const load = Object.keys(context.flags).length > 0 ? loadConfig : loadConfigAnyway;
  const { config } = load(context);
  const health = await readHealth(config.data_dir, nowMs);
  if (context.json) {
    context.stdout.write(`${JSON.stringify(health)}\n`);
  } else {
    const sources = (health.sources ?? []).map((source) => ({ ...source, name: `audio/${source.name}` }));
    const checks = [...health.checks, ...sources];
    const width = Math.max(...checks.map((check) => check.name.length));
    for (const check of checks) {
      context.stdout.write(`${check.ok ? 'ok  ' : 'FAIL'}  ${check.name.padEnd(width)}  ${check.detail}\n`);
    }
    context.stdout.write(health.healthy ? 'healthy\n' : 'unhealthy\n');
  }
  return health.healthy ? 0 : 1;
}
