import { loadConfig } from '../config/load.js';
import { maskConfig, maskEntries } from '../config/mask.js';
import type { CommandContext } from './context.js';
import { table } from './table.js';

/**
 * `soundpost config`: the effective configuration and where each value comes from, secrets hidden. As JSON:
 * `{"config": {…nested…}, "entries": [{"key","value","origin","secret"}…]}`. Resolves to the exit code; throws
 * SoundpostError `config` where the configuration is wrong.
 */
export function configCommand(context: CommandContext): Promise<number> {
  return Promise.resolve().then(() => {
    const { config, entries } = loadConfig(context);
    const shown = maskEntries(entries);
    if (context.json) {
      context.stdout.write(`${JSON.stringify({ config: maskConfig(config), entries: shown }, null, 2)}\n`);
      return 0;
    }
    const rows = shown.flatMap(({ key, value, origin }) =>
      key === 'audio.sources' ? sourceRows(key, value, origin) : [[key, textOf(value), origin]],
    );
    context.stdout.write(table([['KEY', 'VALUE', 'FROM'], ...rows]));
    return 0;
  });
}

/** A row for each source: in one line nobody could read them. */
function sourceRows(key: string, value: unknown, origin: string): string[][] {
  const sources = Array.isArray(value) ? (value as unknown[]) : [];
  if (sources.length < 2) return [[key, textOf(value), origin]];
  return sources.map((source, index) => [`${key}[${index}]`, textOf(source), origin]);
}

function textOf(value: unknown): string {
  if (value === null || value === '') return '-';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
