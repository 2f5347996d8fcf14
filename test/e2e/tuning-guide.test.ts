/** The guide to tuning shows what the commands print: they are run. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { cli } from '../support/cli.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

t.test('the worked example of docs/tuning.md', async (t) => {
  const guide = readFileSync(projectPath('docs', 'tuning.md'), 'utf8');
  const blocks = [...guide.matchAll(/<!-- run -->\s*```\n\$ npx soundpost (.+)\n([^`]+)```/g)];
  t.equal(blocks.length, 4);
  const env = { SOUNDPOST_DATA_DIR: temporaryFolder(t) };
  for (const [, command, expected] of blocks) {
    // As a shell takes it: what stands in single quotes is one argument.
    const args = [...command!.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
    const { stdout } = await cli(args, { env, cwd: projectPath('.') });
    t.equal(stdout, expected, command!);
  }
});
