import { chromium, type Browser } from 'playwright-core';

/** Debian's; nothing is downloaded. */
export const CHROMIUM = '/usr/bin/chromium';

/** @param args further arguments of the program */
export function launchChromium(args: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
    // Root has no sandbox of Chromium's; nobody else is without one.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [...args],
  });
}
