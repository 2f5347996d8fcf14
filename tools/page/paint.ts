import { existsSync } from 'node:fs';
import { silentLogger } from '../../src/common/log.js';
import { CHROMIUM, launchChromium } from './chromium.js';
import { startScriptedDevice } from './device/device.js';

/*
 * How long a browser of this machine takes from asking for the page until something of it is seen, as it is and with its
 * CPU slowed down, which stands in for a small computer that shows its own page.
 */

export interface FirstPaint {
  /** How many times slower than this machine. */
  slowdown: number;
  /** Medians, in ms from the beginning of the navigation: the first thing seen, and the first text or picture. */
  paintMs: number;
  contentMs: number;
}

const LOADS = 5;

/** Null where there is no Chromium. Every load has an empty cache. */
export async function measureFirstPaint(
  dataDir: string,
  slowdowns: readonly number[],
): Promise<FirstPaint[] | null> {
  if (!existsSync(CHROMIUM)) return null;
  const device = await startScriptedDevice({ dataDir, log: silentLogger, pastDays: 1 });
  const browser = await launchChromium();
  try {
    const found: FirstPaint[] = [];
    for (const slowdown of slowdowns) {
      const loads: { paintMs: number; contentMs: number }[] = [];
      for (let load = 0; load < LOADS; load += 1) {
        const context = await browser.newContext();
        const page = await context.newPage();
        const session = await context.newCDPSession(page);
        await session.send('Emulation.setCPUThrottlingRate', { rate: slowdown });
        await page.goto(device.url);
        await page.locator('main').first().waitFor();
        const paints = await page.evaluate(() =>
          performance
            .getEntries()
            .filter(({ entryType }) => (entryType as string) === 'paint')
            .map(({ name, startTime }) => ({ name, startTime })),
        );
        const at = (name: string): number => paints.find((paint) => paint.name === name)?.startTime ?? NaN;
        loads.push({ paintMs: at('first-paint'), contentMs: at('first-contentful-paint') });
        await context.close();
      }
      const median = (of: (load: (typeof loads)[number]) => number): number =>
        loads.map(of).sort((one, other) => one - other)[Math.floor(LOADS / 2)]!;
      found.push({
        slowdown,
        paintMs: median((load) => load.paintMs),
        contentMs: median((load) => load.contentMs),
      });
    }
    return found;
  } finally {
    await browser.close();
    await device.stop();
  }
}
