import { readHealth } from '../common/health-file.js';
import { loadConfig } from '../config/load.js';
import type { CommandContext } from './context.js';

/**
 * `soundpost health`: what the running service says of itself. Resolves to 0 when it is healthy, else to 1;
 * throws SoundpostError `config` where the configuration (which names the data folder) is wrong. As JSON:
 * `{"healthy","checks":[{"name","ok","detail"}…],"age"}`, age in seconds.
 */
export function healthCommand(context: CommandContext, nowMs: number = Date.now()): Promise<number> {
  return Promise.resolve().then(() => {
    const { config } = loadConfig(context);
    const health = readHealth(config.data_dir, nowMs);
    if (context.json) {
      context.stdout.write(`${JSON.stringify(health)}\n`);
    } else {
      const width = Math.max(...health.checks.map((check) => check.name.length));
      for (const check of health.checks) {
        context.stdout.write(`${check.ok ? 'ok  ' : 'FAIL'}  ${check.name.padEnd(width)}  ${check.detail}\n`);
      }
      context.stdout.write(health.healthy ? 'healthy\n' : 'unhealthy\n');
    }
    return health.healthy ? 0 : 1;
  });
}
