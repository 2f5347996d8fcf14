import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentName, keys } from '../../../src/config/schema.js';
import { startCli } from '../../../test/support/cli.js';
import { makeDataDir } from '../../../test/support/service.js';
import { projectPath } from '../../../test/support/shared.js';
import type { Inject } from '../inject.js';
import { tryAllWrongValues, wrongText } from '../wrong-values.js';

/* Whatever stands in a file or in the environment. */

/** So many services start side by side; a start costs a second of one core. */
const AT_ONCE = 2;
/** A start that fails takes a second or two. */
const LIMIT_MS = 30_000;

export const configuration = {
  'wrong-types': async (owner, verdict) => {
    const cwd = await makeDataDir(owner);
    mkdirSync(join(cwd, 'config'));
    cpSync(projectPath('config', 'default.yaml'), join(cwd, 'config', 'default.yaml'));
    const path = join(cwd, 'tried.yaml');
    const { tried, refused, wrong } = tryAllWrongValues({
      cwd,
      writeYaml(text) {
        writeFileSync(path, text);
        return path;
      },
    });
    verdict.note(`${keys.size} keys, ${tried} values, ${refused} refused`);
    for (const { key, what } of wrong.slice(0, 5)) verdict.hold(false, `${key}: ${what}`);
    verdict.hold(wrong.length === 0, `${wrong.length} in all`);
  },
  'wrong-start': async (owner, verdict) => {
    const dataDir = await makeDataDir(owner);
    const names = [...keys.keys()];
    let right = 0;
    const next = async (): Promise<void> => {
      for (let key = names.pop(); key !== undefined; key = names.pop()) {
        const env = {
          SOUNDPOST_DATA_DIR: dataDir,
          SOUNDPOST_BROKER_PORT: '0',
          [environmentName(key)]: wrongText(keys.get(key)!),
        };
        const { child, ended } = startCli(['run'], { env, cwd: dataDir });
        // One that takes the value goes to work.
        const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
        owner.teardown(() => child.kill('SIGKILL'));
        const { code, stderr } = await ended;
        clearTimeout(timer);
        const named = stderr.includes(key) || stderr.includes(environmentName(key));
        const stack = /\n\s+at .*:\d+:\d+/.test(stderr);
        if (code === 2 && named && !stack) right += 1;
        else
          verdict.hold(
            false,
            `${key}: exit code ${code}${named ? '' : ', not named'}${stack ? ', a stack' : ''}`,
          );
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    verdict.note(`${right} of ${keys.size} keys: exit code 2, named, no stack`);
  },
} satisfies Record<string, Inject>;
