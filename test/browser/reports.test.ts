/** The reports of `soundpost bench` and `soundpost soak`: one file each, in the look of the page. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { dark, light } from '../../src/common/look.js';
import { findings, picture, sizes, startBrowser, type Size } from '../support/browser.js';
import { cli } from '../support/cli.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';

const skip = skipWithout('chromium');

/** A colour as the browser tells it. */
function rgb(colour: string): string {
  const digits = colour.slice(1);
  const pairs =
    digits.length === 3 ? digits.match(/./g)!.map((digit) => digit + digit) : digits.match(/../g)!;
  return `rgb(${pairs.map((pair) => parseInt(pair, 16)).join(', ')})`;
}

const reports = [
  ['bench', ['--models', 'soundpost-home', '--seconds', '2'], 1],
  ['soak', ['--minutes', '1', '--speed', 'max', '--broker', 'embedded'], 5],
] as const;

for (const [name, words, plots] of reports) {
  t.test(name, { skip }, async (t) => {
    const folder = temporaryFolder(t);
    const file = join(folder, `${name}.html`);
    // How well this machine did is not what is looked at here: a missed limit is an exit code, and a report.
    await cli([name, ...words, '--html', file, '--data_dir', join(folder, 'data')]);
    const browser = await startBrowser(t);
    for (const size of Object.keys(sizes) as Size[]) {
      for (const colorScheme of ['light', 'dark'] as const) {
        const look = `${size}, ${colorScheme}`;
        const context = await browser.newContext({ viewport: sizes[size], colorScheme });
        context.setDefaultTimeout(10_000);
        const page = await context.newPage();
        const asked: string[] = [];
        const faults: string[] = [];
        page.on('request', (request) => asked.push(request.url()));
        page.on('pageerror', (error) => faults.push(String(error)));
        page.on('console', (message) => {
          if (message.type() === 'error') faults.push(message.text());
        });
        await page.goto(pathToFileURL(file).href);
        await page
          .locator('svg.picture')
          .nth(plots - 1)
          .waitFor();
        t.match(await page.locator('h1').textContent(), /\w/);
        const colours = colorScheme === 'dark' ? dark : light;
        const ground = (of: string): Promise<string> =>
          page.evaluate(`getComputedStyle(document.querySelector('${of}')).backgroundColor`);
        t.equal(await ground('body'), rgb(colours.back), `${look}: behind everything`);
        t.equal(await ground('.card'), rgb(colours.card), `${look}: cards`);
        t.ok(
          (await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')) <= 0,
          `${look}: wide tables and plots scroll by themselves`,
        );
        t.same(await findings(page), [], `${look}: axe-core finds nothing serious`);
        t.same(asked, [pathToFileURL(file).href], `${look}: nothing is asked of anybody`);
        t.same(faults, []);
        await picture(page, `${name}-${size}-${colorScheme}`);
        await context.close();
      }
    }
  });
}
