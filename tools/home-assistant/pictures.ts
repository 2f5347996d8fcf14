/**
 * Draws the pictures of the app for Home Assistant, icon.png and logo.png, from the sign of the page, with Chromium.
 *
 *   node dist/tools/home-assistant/pictures.js
 */
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { fontFamily, light, signSvg } from '../../src/common/look.js';

const folder = join(import.meta.dirname, '..', '..', '..', 'deploy', 'home-assistant', 'soundpost');

/** In pixels, as the Supervisor's documents recommend. */
const ICON = { width: 128, height: 128 };
const LOGO = { width: 250, height: 100 };

const sign = (size: number) => signSvg().replace('<svg ', `<svg width="${size}" height="${size}" `);
const pictures = [
  { name: 'icon.png', viewport: ICON, body: sign(ICON.width) },
  {
    name: 'logo.png',
    viewport: LOGO,
    body: `${sign(56)}<span style="font:600 28px ${fontFamily};color:${light.accent}">Soundpost</span>`,
  },
];

const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  chromiumSandbox: process.getuid?.() !== 0,
});
try {
  for (const { name, viewport, body } of pictures) {
    const page = await browser.newPage({ viewport });
    await page.setContent(
      `<body style="margin:0;height:100vh;display:flex;align-items:center;justify-content:center;gap:10px">${body}`,
    );
    await page.screenshot({ path: join(folder, name), omitBackground: true });
    await page.close();
  }
} finally {
  await browser.close();
}
