import type { ConfigSources } from '../config/load.js';

/** What a command is given: where the configuration comes from, and where its output goes. */
export interface CommandContext extends ConfigSources {
  env: Readonly<Record<string, string | undefined>>;
  flags: Readonly<Record<string, string>>;
  configPath?: string | undefined;
  /** Machine-readable output on stdout and nothing else. */
  json: boolean;
  stdout: { write(text: string): unknown };
}
