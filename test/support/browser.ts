import { createRequire } from 'node:module';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { launchChromium } from '../../tools/page/chromium.js';
import {
  startScriptedDevice,
  type ScriptedDevice,
  type ScriptedDeviceOptions,
} from '../../tools/page/device/device.js';
import { createRecordingLog } from './recording-log.js';
import { projectPath } from './shared.js';
import { temporaryFolder } from './temporary.js';

type Teardown = { teardown(handler: () => unknown): void };

/** What the tests of the page look at it with. */
export const sizes = {
  phone: { width: 390, height: 844 },
  desktop: { width: 1280, height: 800 },
} as const;
export type Size = keyof typeof sizes;

/** Debian's; ends with the test. */
export async function startBrowser(t: Teardown): Promise<Browser> {
  const browser = await launchChromium(['--autoplay-policy=no-user-gesture-required', '--mute-audio']);
  t.teardown(() => browser.close());
  return browser;
}

/** A device with a page; ends with the test. */
export async function startPageDevice(
  t: Teardown,
  options: Partial<ScriptedDeviceOptions> = {},
): Promise<ScriptedDevice> {
  const device = await startScriptedDevice({
    dataDir: temporaryFolder(t),
    log: createRecordingLog(),
    telemetrySeconds: 1,
    pullMs: 1500,
    ...options,
  });
  t.teardown(() => device.stop());
  return device;
}

export interface OpenedPage {
  page: Page;
  context: BrowserContext;
  /** Errors of scripts, of the policy, of loading; and requests to anybody else. Has to stay empty. */
  faults: string[];
}

/** The page in a browser of its own choices; `faults` has everything that it complains of. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions & { size?: Size; path?: string } = {},
): Promise<OpenedPage> {
  const { size = 'desktop', path = '', ...others } = options;
  const context = await browser.newContext({
    viewport: sizes[size],
    locale: 'en-GB',
    colorScheme: 'light',
    ...(size === 'phone' && { isMobile: true, hasTouch: true, deviceScaleFactor: 2 }),
    ...others,
  });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const faults: string[] = [];
  const origin = new URL(url).origin;
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text());
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) faults.push(`asked elsewhere: ${request.url()}`);
  });
  await page.goto(`${url}${path}`);
  return { page, context, faults };
}

/** How many colours a canvas has; 1 where nothing was drawn on it. */
export function coloursOf(page: Page, selector: string): Promise<number> {
  return page
    .locator(selector)
    .first()
    .evaluate((element) => {
      const canvas = element as unknown as {
        width: number;
        height: number;
        getContext(kind: string): {
          getImageData(x: number, y: number, w: number, h: number): { data: Uint8ClampedArray };
        };
      };
      if (canvas.width === 0 || canvas.height === 0) return 0;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set<number>();
      for (let at = 0; at < data.length; at += 4)
        seen.add((data[at]! << 16) | (data[at + 1]! << 8) | data[at + 2]!);
      return seen.size;
    });
}

/** A picture of what the page shows now, for people; only where SOUNDPOST_TEST_SCREENSHOTS names a folder. */
export async function picture(page: Page, name: string): Promise<Buffer> {
  const folder = process.env['SOUNDPOST_TEST_SCREENSHOTS'];
  if (folder !== undefined) mkdirSync(folder, { recursive: true });
  return page.screenshot({
    fullPage: true,
    ...(folder !== undefined && { path: join(folder, `${name}.png`) }),
  });
}

export interface Finding {
  rule: string;
  impact: string;
  where: string;
}

const axeFile = createRequire(projectPath('package.json')).resolve('axe-core/axe.min.js');

/** What axe-core finds against WCAG 2.2 AA, serious or worse. */
export async function findings(page: Page): Promise<Finding[]> {
  // Through the debugger and not as a script of the page, which its policy would refuse.
  await page.evaluate(readFileSync(axeFile, 'utf8'));
  const result = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(options: object): Promise<{
          violations: { id: string; impact: string; nodes: { html: string; failureSummary?: string }[] }[];
        }>;
      };
    };
    return axe.run({
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    });
  });
  return result.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, impact, nodes }) =>
      nodes.slice(0, 3).map((node) => ({
        rule: id,
        impact,
        where: `${node.html.slice(0, 200)} ${node.failureSummary ?? ''}`,
      })),
    );
}

/** Plays the clip on the page for a moment. */
export const playClip = (page: Page): Promise<{ duration: number; at: number }> =>
  page.locator('audio').evaluate(async (element) => {
    const audio = element as unknown as {
      duration: number;
      currentTime: number;
      play(): Promise<void>;
      pause(): void;
      addEventListener(name: string, listener: () => void): void;
    };
    await audio.play();
    await new Promise<void>((resolve) => {
      audio.addEventListener('timeupdate', () => {
        if (audio.currentTime > 0.2) resolve();
      });
    });
    audio.pause();
    return { duration: audio.duration, at: audio.currentTime };
  });
